//! What one host makes the store do, and keep, is bounded; others are served meanwhile.

use crate::crowds::{assert_all_are_served, sockets};
use beckon_cluster_tests::{
    bare::{self, BareSocket},
    stage::Stage,
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT},
};
use beckon_testbed::{PATIENCE, now, plan::Plan, redis::RedisServer};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long the stranger goes on.
const ATTACK: Duration = Duration::from_secs(6);

/// Sends a message, and returns the answer, which may come after notifications; `None` if the socket is closed instead.
async fn ask(socket: &mut BareSocket, message: &Value) -> Option<Value> {
    socket.try_send(bare::TEXT, message.to_string().as_bytes()).await;
    loop {
        let frame = socket.receive_within(PATIENCE).await?;
        let received: Value = serde_json::from_slice(&frame.payload).ok()?;
        if received["messageType"] == message["messageType"] {
            return Some(received);
        }
    }
}

/// Others are served for as long as the attack goes on. Returns how many seconds that was: a busy machine ends it late.
async fn serve_others(stage: &Stage) -> u64 {
    let start = now();
    let others = async {
        loop {
            assert_all_are_served(stage).await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    let _over = timeout(ATTACK, others).await;
    start.elapsed().as_secs() + 1
}

/// Registers a channel and unregisters it, each as soon as the one before is answered. Counts the answers.
async fn churn(stage: Arc<Stage>, answers: Arc<AtomicU64>) {
    let mut socket = BareSocket::connect(sockets(&stage)).await;
    ask(&mut socket, &json!({"messageType": "hello", "channelIDs": []})).await.expect("hello is answered");
    let channel = new_channel();
    for what in ["register", "unregister"].into_iter().cycle() {
        let message = json!({"messageType": what, "channelID": channel});
        ask(&mut socket, &message).await.expect("it is answered");
        answers.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn sockets_that_register_and_unregister_without_end_are_slowed_down() {
    const SOCKETS: u64 = 20;
    const BURST: u64 = 240;
    let stage = Arc::new(Stage::own(Plan::cluster(1, 1).all("BECKON_SOCKET_REQUESTS", "240/m")));
    let answers = Arc::new(AtomicU64::new(0));
    let mut attack: JoinSet<()> =
        (0..SOCKETS).map(|_| churn(Arc::clone(&stage), Arc::clone(&answers))).collect();
    let seconds = serve_others(&stage).await;
    let answers = answers.load(Relaxed);
    assert!(attack.try_join_next().is_none(), "a socket was closed");
    // Then one each 250 ms.
    let bound = SOCKETS * (BURST + 4 * seconds);
    assert!((SOCKETS * BURST..=bound).contains(&answers), "{answers} answers of at most {bound}");
}

/// New clients with three channels each, and a message of 4 000 bytes to each channel. Counts those that are accepted.
async fn gorge(stage: &Stage, accepted: &AtomicU64) {
    loop {
        let mut socket = BareSocket::connect(sockets(stage)).await;
        let hello = json!({"messageType": "hello", "use_webpush": true});
        if ask(&mut socket, &hello).await.is_none() {
            continue;
        }
        for _ in 0..3 {
            let register = json!({"messageType": "register", "channelID": new_channel()});
            let Some(answer) = ask(&mut socket, &register).await else { break };
            let Some(endpoint) = answer["pushEndpoint"].as_str() else { break };
            let status = stage.post(endpoint, &[KEPT, ENCRYPTED], "a".repeat(4_000)).await.status();
            accepted.fetch_add(u64::from(status == 201), Relaxed);
        }
    }
}

#[tokio::test]
async fn what_one_source_can_store_is_bounded() {
    const HELLOS: u64 = 30;
    const REGISTERS: u64 = 40;
    const REQUESTS: u64 = 60;
    let redis = RedisServer::start();
    let plan = Plan::cluster(1, 1)
        .store(redis.url())
        .all("BECKON_LIMIT_PRIVATE_SOURCES", "true")
        .all("BECKON_SOURCE_HELLOS", "30/m")
        .all("BECKON_SOURCE_REGISTERS", "40/m")
        .all("BECKON_SOURCE_REQUESTS", "60/m");
    let stage = Stage::own(plan);
    let used = || redis.info("used_memory").trim().parse::<u64>().expect("a number");
    let before = used();
    let accepted = AtomicU64::new(0);
    let seconds = tokio::select! {
        () = gorge(&stage, &accepted) => unreachable!("it does not end"),
        seconds = serve_others(&stage) => seconds,
    };
    let accepted = accepted.load(Relaxed);
    // The burst, and what was granted during the attack.
    let grown = |count: u64| count + (count * seconds).div_ceil(60);
    let bound = grown(HELLOS) * 600 + grown(REGISTERS) * 400 + grown(REQUESTS) * 5_000 + 256 * 1_024;
    let stored = used() - before;
    assert!(stored <= bound, "{stored} bytes, at most {bound}; {accepted} messages were accepted");
    assert!((REGISTERS..=grown(REGISTERS)).contains(&accepted), "{accepted} messages were accepted");
}
