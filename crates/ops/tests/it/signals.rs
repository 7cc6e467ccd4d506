//! The first signal requests the stop, the second one ends every wait.

use beckon_ops::{
    config::{Digests, Source},
    reload::Reload,
    shutdown::{Shutdown, Signals},
    stage::{Stage, Stopped},
};
use std::{future::pending, process::Command, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn send_to_this_process(signal: &str) {
    let status = Command::new("kill").arg(signal).arg(std::process::id().to_string()).status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn a_second_signal_ends_a_wait_and_then_the_program() {
    let shutdown = Shutdown::new();
    let signals = Signals::catch().unwrap();
    let obeyed = Stage::new(&shutdown, "signals").spawn({
        let shutdown = shutdown.clone();
        async move {
            let read = || Source::new([""; 0], [("", ""); 0]);
            let reload = Reload::new(&[], Digests::of(&read(), &[]), read);
            shutdown.obey(signals, &reload).await;
        }
    });
    let stage = Stage::new(&shutdown, "tested");
    let stuck = stage.spawn(pending::<()>());
    assert!(!shutdown.is_requested());

    send_to_this_process("-TERM");
    timeout(PATIENCE, shutdown.requested()).await.unwrap();
    assert!(!stage.is_stopping() && !obeyed.is_finished());

    let (stopped, ()) = tokio::join!(timeout(PATIENCE, stage.stop(PATIENCE * 10)), async {
        send_to_this_process("-INT");
    });
    assert_eq!(stopped.unwrap(), Stopped::CutShort { tasks: 1 });
    timeout(PATIENCE, obeyed).await.unwrap().unwrap();
    stuck.abort();
}
