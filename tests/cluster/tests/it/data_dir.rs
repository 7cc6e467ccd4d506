//! The data directory of the standalone server: what it says of one that it cannot use, and backups.

use beckon_cluster_tests::{
    stage::{Registered, Stage},
    webpush::Subscribed,
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    process,
    programs::Program,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

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
    for (file, misfit) in [("token-keys", "are not those"), ("uaid-key", "is not the one")] {
        let keys = fs::read(stage.folder().join("data").join(file)).unwrap();
        let log = refusal(&stage, |data| fs::remove_file(data.join(file)).unwrap());
        assert!(log.contains(&format!("{file}: it is missing")) && log.contains("backup"), "{log}");
        let log = refusal(&stage, |data| fs::write(data.join(file), "").unwrap());
        assert!(log.contains(file) && log.contains("backup"), "{log}");
        let other = beckon_testbed::plan::key(9);
        let log = refusal(&stage, |data| fs::write(data.join(file), &other).unwrap());
        assert!(log.contains(misfit) && log.contains("backup"), "{log}");
        // Nothing is lost by trying.
        fs::write(stage.folder().join("data").join(file), keys).unwrap();
    }
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
        ("not a database", &database, &b"a text of another program"[..]),
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

/// Runs a command on this data directory: its exit code and what it has written.
fn command(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let settings = [("BECKON_DATA_DIR", data.to_str().unwrap())];
    let (status, output) = process::run(&Program::Beckon.path(), arguments, &settings);
    (status.code(), output)
}

/// The value of a metric.
async fn metric(stage: &Stage, node: &Node, name: &str) -> u64 {
    let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("beckon_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Somebody wants a backup while the server cannot open another file.
async fn run_out_of_files(stage: &Stage, node: &Node) {
    let pid = Pid::from_raw(node.pid().cast_signed());
    let none = Rlimit { current: Some(0), maximum: getrlimit(Resource::Nofile).maximum };
    let limit = prlimit(pid, Resource::Nofile, none).unwrap();
    let waiting = UnixStream::connect(stage.folder().join("data/control")).unwrap();
    beckon_testbed::until("it is logged", async || node.log().contains("cannot accept").then_some(())).await;
    prlimit(pid, Resource::Nofile, limit).unwrap();
    drop(waiting);
}

#[tokio::test]
async fn a_backup_is_made_while_the_server_runs_and_restored_with_its_keys() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let node = &stage.nodes()[0];
    let [data, file, other] = ["data", "saved", "other"].map(|name| stage.folder().join(name));
    let saved = file.to_str().unwrap();
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    assert_eq!(stage.put(&endpoint, 7).await, 202);
    let Subscribed { client: browser, uaid: browser_uaid, channel: subscription, endpoint: messages } =
        stage.subscribed().await;
    browser.leave().await;
    let id = stage.message(&messages, "kept").await;
    stage.set_broadcast("news/main", "42").await;
    assert_eq!(command(&data, &["backup", saved]), (Some(0), String::new()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // What comes later is not in it.
    assert_eq!(stage.put(&endpoint, 8).await, 202);
    stage.message(&messages, "too late").await;
    beckon_testbed::until("the messages are counted", async || {
        (metric(&stage, node, "store_messages").await == 2).then_some(())
    })
    .await;
    for name in ["store_database_bytes", "store_log_bytes", "store_content_bytes"] {
        assert!(metric(&stage, node, name).await > 0, "{name}");
    }
    run_out_of_files(&stage, node).await;
    let again = command(&data, &["backup", saved]);
    assert!(again.0 == Some(64) && again.1.contains("there already"), "{again:?}");
    node.terminate();

    let none = command(&data, &["backup", other.to_str().unwrap()]);
    assert!(none.0 == Some(69) && none.1.contains("no server"), "{none:?}");
    let occupied = command(&data, &["restore", saved]);
    assert!(occupied.0 == Some(64) && occupied.1.contains("there already"), "{occupied:?}");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let longer = [&whole[..], b"x"].concat();
    for bad in [&whole[..whole.len() - 1], &longer, &flipped, b"something else entirely"] {
        let path: PathBuf = stage.folder().join("bad");
        fs::write(&path, bad).unwrap();
        let refused = command(&other, &["restore", path.to_str().unwrap()]);
        assert!(refused.0 == Some(64) && refused.1.contains("bad"), "{refused:?}");
        assert!(!other.join("store.redb").exists());
    }
    // A database is of no use without its keys.
    let (own, kept) = (other.join("uaid-key"), data.join("uaid-key"));
    fs::write(&own, beckon_testbed::plan::key(9)).unwrap();
    let misfit = command(&other, &["restore", saved]);
    assert!(misfit.0 == Some(64) && misfit.1.contains("uaid-key: it differs"), "{misfit:?}");
    assert!(!other.join("store.redb").exists() && !other.join("token-keys").exists());
    fs::write(&own, format!("{}\n\n", fs::read_to_string(&kept).unwrap())).unwrap();
    assert_eq!(command(&other, &["restore", saved]), (Some(0), String::new()));
    let (code, output) = command(&other, &["compact"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("bytes"), "{output}");

    node.set("BECKON_DATA_DIR", other.to_str().unwrap());
    node.start();
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 7).await;
    assert_eq!(client.register(&channel).await, endpoint);
    assert_eq!(stage.put(&endpoint, 9).await, 200);
    client.expect_update(&channel, 9).await;
    let mut browser = stage.resumed(&browser_uaid).await;
    browser.expect_message(&subscription, &id, "kept").await;
    stage.until_broadcast("news/main", "42").await;
}
