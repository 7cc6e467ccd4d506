//! The standalone server is killed again and again in the middle of commits, and a ledger says what it has accepted.

use beckon_cluster_tests::{requests::send_until_gone, stage::Stage, webpush::Subscribed};
use beckon_testbed::plan::{Plan, Shape};
use std::{collections::BTreeSet, time::Duration};
use tokio::task::JoinSet;

/// Names how often the server is killed, if it is not [`KILLS`] times: docs/reliability.md.
const VARIABLE: &str = "BECKON_TEST_KILLS";

/// How often the server is killed.
const KILLS: u64 = 25;

/// How many application servers send at the same time, each to its own channel of one user agent.
const SENDERS: usize = 8;

/// The longest time between the start of the senders and the kill.
const LIFE_MAX_MS: u64 = 60;

#[tokio::test]
async fn kills_in_the_middle_of_commits_lose_nothing_accepted() {
    let kills = std::env::var_os(VARIABLE).map_or(KILLS, |kills| kills.to_str().unwrap().parse().unwrap());
    let stage = Stage::own(Plan::new(Shape::Standalone).http("BECKON_MSG_LIMIT", "10000"));
    let node = &stage.nodes()[0];
    let Subscribed { mut client, uaid, endpoint, .. } = stage.subscribed().await;
    let mut endpoints = vec![endpoint];
    while endpoints.len() < SENDERS {
        endpoints.push(client.register(&beckon_cluster_tests::talk::new_channel()).await);
    }
    client.leave().await;
    let (mut total, mut seed) = (0, 1_u64);
    for _ in 0..kills {
        let mut senders: JoinSet<_> = endpoints.iter().cloned().map(send_until_gone).collect();
        // Numerical Recipes' generator: its upper bits are random enough.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        tokio::time::sleep(Duration::from_millis((seed >> 16) % LIFE_MAX_MS)).await;
        node.kill();
        let mut accepted = BTreeSet::new();
        while let Some(ids) = senders.join_next().await {
            accepted.extend(ids.unwrap());
        }
        total += accepted.len();
        node.start();
        let mut client = stage.resumed(&uaid).await;
        client.receive_all(accepted).await;
        // The server has stored the acknowledgements when it lets go of the client.
        client.leave().await;
    }
    assert!(total > 0, "nothing was accepted");
    println!("{kills} kills, {total} messages accepted, none lost");
}
