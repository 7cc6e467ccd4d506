//! SIGTERM asks for the end; a second one doesn't wait for it.

use beckon_ops::shutdown::{Drained, Shutdown};
use std::{process::Command, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn terminate_this_process() {
    let status = Command::new("kill").arg("-TERM").arg(std::process::id().to_string()).status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_short() {
    let shutdown = Shutdown::new();
    shutdown.on_signal().unwrap();
    let stuck = shutdown.spawn(std::future::pending::<()>());
    assert!(!shutdown.is_requested());

    terminate_this_process();
    timeout(PATIENCE, shutdown.requested()).await.unwrap();

    let (drained, ()) = tokio::join!(timeout(PATIENCE, shutdown.drain(PATIENCE * 10)), async {
        terminate_this_process();
    });
    assert_eq!(drained.unwrap(), Drained::CutShort { tasks: 1 });
    stuck.abort();
}
