//! What the standalone server says of a data directory that it cannot use.

use beckon_cluster_tests::stage::{Registered, Stage};
use beckon_testbed::plan::{Plan, Shape};
use std::{fs, path::Path};

/// Starts a server that was ended, with a changed data directory, and returns what it writes before it refuses.
fn refusal(stage: &Stage, change: impl FnOnce(&Path)) -> String {
    let node = &stage.nodes()[0];
    let before = node.log().len();
    change(&stage.folder().join("data"));
    node.launch();
    let status = node.wait();
    let log = node.log()[before..].to_owned();
    assert_eq!(status.code(), Some(64), "{log}");
    log
}

#[tokio::test]
async fn keys_and_database_belong_together() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let node = &stage.nodes()[0];
    let Registered { client, endpoint, .. } = stage.registered().await;
    client.leave().await;
    node.terminate();
    let keys = fs::read(stage.folder().join("data/token-keys")).unwrap();
    let log = refusal(&stage, |data| fs::remove_file(data.join("token-keys")).unwrap());
    assert!(log.contains("token-keys: it is missing") && log.contains("backup"), "{log}");
    let log = refusal(&stage, |data| fs::write(data.join("token-keys"), "").unwrap());
    assert!(log.contains("token-keys") && log.contains("backup"), "{log}");
    let other = beckon_testbed::plan::key(9);
    let log = refusal(&stage, |data| fs::write(data.join("token-keys"), &other).unwrap());
    assert!(log.contains("are not those") && log.contains("backup"), "{log}");
    // Nothing is lost by trying.
    fs::write(stage.folder().join("data/token-keys"), keys).unwrap();
    node.start();
    assert_eq!(stage.put(&endpoint, 1).await, 202);
}

#[tokio::test]
async fn a_damaged_or_incomplete_database_is_refused() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let node = &stage.nodes()[0];
    let Registered { client, endpoint, .. } = stage.registered().await;
    client.leave().await;
    node.terminate();
    let [database, log] = ["store.redb", "store.log"].map(|name| stage.folder().join("data").join(name));
    let whole = [&database, &log].map(|path| fs::read(path).unwrap());
    for (what, path, content) in [
        ("not a database", &database, &b"a text of somebody else"[..]),
        ("cut off", &database, &whole[0][..whole[0].len() / 2]),
        ("no log", &log, b""),
        ("the log of another database", &log, &[7; 8192]),
    ] {
        let said = refusal(&stage, |_| fs::write(path, content).unwrap());
        assert!(said.contains("is damaged") && said.contains("beckon restore"), "{what}: {said}");
        fs::write(&database, &whole[0]).unwrap();
        fs::write(&log, &whole[1]).unwrap();
    }
    node.start();
    assert_eq!(stage.put(&endpoint, 1).await, 202);
}
