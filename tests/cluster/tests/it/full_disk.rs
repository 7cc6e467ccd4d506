//! The standalone server on a disk that is full for a while: a small file system of its own.

use beckon_cluster_tests::{
    stage::Stage,
    webpush::{ENCRYPTED, KEPT, Subscribed, id_of},
};
use beckon_testbed::{
    folder,
    node::http_status,
    plan::{Plan, Shape},
    programs::{Program, Programs},
    until, until_within,
};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::Duration,
};

/// Bytes of the file system: the database takes 1.5 MB at first.
const DISK_BYTES: u64 = 4 * 1024 * 1024;

/// Programs of which `beckon` has its data directory on a file system of its own, which exists as long as the process.
/// That takes root, or a kernel that lets users make namespaces.
fn on_a_small_disk(folder: &Path) -> Programs {
    let built = Programs::built();
    for program in [Program::ConnectionNode, Program::EndpointNode] {
        symlink(built.path(program), folder.join(program.name())).unwrap();
    }
    let script = format!(
        "#!/bin/sh\n\
         exec unshare --user --map-root-user --mount sh -ec '\n\
         mkdir -p \"$BECKON_DATA_DIR\"\n\
         mount -t tmpfs -o size={DISK_BYTES},mode=755 none \"$BECKON_DATA_DIR\"\n\
         exec \"$0\" \"$@\"' '{}' \"$@\"\n",
        built.path(Program::Beckon).display()
    );
    let path = folder.join(Program::Beckon.name());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Programs::in_folder(folder).unwrap()
}

#[tokio::test]
async fn a_disk_that_was_full_for_a_while_loses_nothing_and_needs_no_restart() {
    let programs = folder::temporary();
    let plan = Plan::new(Shape::Standalone).build(on_a_small_disk(programs.path()));
    let stage = Stage::own(plan.http("BECKON_MSG_LIMIT", "5000"));
    let node = &stage.nodes()[0];
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    // The process's own view of its file system.
    let root = Path::new("/proc").join(node.pid().to_string()).join("root");
    let data = root.join(stage.folder().join("data").strip_prefix("/").unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        assert_eq!(mode(&entry.as_ref().unwrap().path()), 0o600, "{entry:?}");
    }

    let body = "x".repeat(4000);
    let mut accepted = BTreeSet::new();
    let mut post = async || {
        let answer = stage.post(&endpoint, &[KEPT, ENCRYPTED], body.clone()).await;
        match answer.status().as_u16() {
            201 => drop(accepted.insert(id_of(&answer))),
            status => assert_eq!(status, 503, "{answer:?}"),
        }
        answer.status()
    };
    for _ in 0..20 {
        assert_eq!(post().await, 201);
    }
    let ballast = data.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0xff; 4096]).is_ok() {}
    until("the disk is full", async || (post().await == 503).then_some(())).await;
    assert_eq!(post().await, 503, "it is still full");
    assert_eq!(node.ended(), None);
    let health = format!("http://{}/health", node.addresses().admin);
    assert_eq!(stage.get(&health).await.status(), 503);

    drop(file);
    fs::remove_file(&ballast).unwrap();
    until_within(Duration::from_secs(15), "the server works again", async || {
        (post().await == 201).then_some(())
    })
    .await;
    let mut client = stage.resumed(&uaid).await;
    while !accepted.is_empty() {
        let message = client.notification().await;
        let id = message["version"].as_str().unwrap();
        // One whose outcome was unknown may come too.
        accepted.remove(id);
        client.ack(&channel, id).await;
    }
    let log = node.log();
    assert_eq!(log.matches("the database failed").count(), 1, "{log}");
    assert_eq!(log.matches("the database works again").count(), 1, "{log}");
}

/// While the disk is full, the file of the database is overwritten: there is nothing to go on with.
#[tokio::test]
async fn a_server_whose_database_is_lost_ends_with_exit_code_70_and_says_which_task_has_ended() {
    let programs = folder::temporary();
    let plan = Plan::new(Shape::Standalone).build(on_a_small_disk(programs.path()));
    let stage = Stage::own(plan.http("BECKON_MSG_LIMIT", "5000"));
    let node = &stage.nodes()[0];
    let Subscribed { client, endpoint, .. } = stage.subscribed().await;
    client.leave().await;
    let mut other = stage.connect_webpush().await;
    other.hello().await;
    let root = Path::new("/proc").join(node.pid().to_string()).join("root");
    let data = root.join(stage.folder().join("data").strip_prefix("/").unwrap());
    let mut ballast = fs::File::create(data.join("ballast")).unwrap();
    while ballast.write_all(&[0xff; 4096]).is_ok() {}
    let body = "x".repeat(4000);
    until("the disk is full", async || {
        let answer = stage.post(&endpoint, &[KEPT, ENCRYPTED], body.clone()).await;
        (answer.status() == 503).then_some(())
    })
    .await;
    let database = data.join("store.redb");
    // In place, because the disk is full, and only what has a page already: the file has holes.
    let mut file = fs::OpenOptions::new().write(true).open(&database).unwrap();
    file.write_all(&[0xff; 4096]).unwrap();
    // Each attempt to use the database opens it again.
    until_within(Duration::from_secs(30), "the program ends", async || {
        let _ = http_status(node.addresses().admin, "/health");
        node.ended().map(drop)
    })
    .await;
    // It has drained.
    other.expect_close(1001).await;
    let log = node.log();
    assert_eq!(node.wait().code(), Some(70), "{log}");
    assert!(log.contains("the database is lost") && log.contains("a vital task has"), "{log}");
}
