//! WP-33 to WP-37: what waits for a user agent.

use crate::{
    server::Server,
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT, KEPT_FOR_A_SECOND, NOT_KEPT, Subscribed, let_a_second_pass},
};
use serde_json::Value;

/// PROTOCOL.md section 1.10.
pub const BATCH_SIZE: usize = 10;
pub(crate) const MSG_LIMIT: usize = 150;

/// Messages that each channel may have besides.
pub(crate) const MSG_RESERVE: usize = 8;

/// Stores this many messages and returns their ids.
pub async fn stored(server: &Server, endpoint: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..count {
        ids.push(server.message(endpoint, &index.to_string()).await);
    }
    ids
}

pub(crate) async fn expect_refused(
    server: &Server,
    endpoint: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) {
    let answer = server.post(endpoint, headers, body).await;
    assert_eq!(answer.status().as_u16(), 429, "{answer:?}");
    assert_eq!(answer.headers()["retry-after"], "3600", "{answer:?}");
    let error: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&error["code"], &error["errno"]), (&429.into(), &Value::Null), "{error}");
}

pub(crate) async fn wp_33_of_a_topic_only_the_last_message_is_kept(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    let send = async |endpoint: &str, topic: &str, body: &str| {
        server.accepted(endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], body.to_owned()).await
    };
    let replaced = send(&endpoint, "a", "replaced").await;
    let other_topic = send(&endpoint, "b", "b").await;
    let other_channel = send(&second_endpoint, "a", "other channel").await;
    let last = send(&endpoint, "a", "last").await;
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &other_topic, "b").await;
    client.expect_message(&second, &other_channel, "other channel").await;
    client.expect_message(&channel, &last, "last").await;
    client.expect_nothing().await;
    // Acknowledged, the replaced one does not take its successor with it.
    client.ack(&channel, &replaced).await;
    client.ack_all(&channel, &[&other_topic]).await;
    client.ack(&second, &other_channel).await;
    client.settle(&channel).await;
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &last, "last").await;
    // What was sent and not acknowledged is replaced too, live as it is.
    let live = send(&endpoint, "a", "live").await;
    client.expect_message(&channel, &live, "live").await;
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &live, "live").await;
    client.expect_nothing().await;
    client.ack(&channel, &live).await;
    client.settle(&channel).await;
    server.resumed(&uaid).await.expect_nothing().await;
}

pub(crate) async fn wp_34_topics_come_first_and_then_the_oldest(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let (mut with_topic, mut without) = (Vec::new(), Vec::new());
    for topic in ["z", "a", "m"] {
        without.push(server.message(&endpoint, "x").await);
        with_topic.push(server.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], "x").await);
        without.push(server.message(&endpoint, "x").await);
    }
    // The replacement is as old as it is, not as what it replaces.
    with_topic.remove(0);
    with_topic.push(server.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", "z")], "x").await);
    let mut client = server.resumed(&uaid).await;
    client.expect_ids(&channel, &with_topic).await;
    client.expect_ids(&channel, &without).await;
    client.expect_nothing().await;
}

pub(crate) async fn wp_35_a_batch_follows_when_the_last_is_acknowledged(server: Server) {
    const MESSAGES: usize = 25;
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let ids = stored(&server, &endpoint, MESSAGES).await;
    let batches: Vec<_> = ids.chunks(BATCH_SIZE).collect();
    let mut client = server.resumed(&uaid).await;
    client.expect_ids(&channel, batches[0]).await;
    client.expect_nothing().await;
    // Out of order, some twice, and all but one.
    client.ack_all(&channel, &batches[0][5..]).await;
    client.ack_all(&channel, &batches[0][1..7]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    client.ack(&channel, &batches[0][0]).await;
    client.expect_ids(&channel, batches[1]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    client.ack_all(&channel, batches[1]).await;
    client.expect_ids(&channel, batches[2]).await;
    client.ack_all(&channel, batches[2]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    server.resumed(&uaid).await.expect_nothing().await;
}

pub(crate) async fn wp_36_expired_messages_hold_nothing_up(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    for index in 0..3 * BATCH_SIZE {
        let topic = format!("t{index}");
        let mut headers = vec![KEPT_FOR_A_SECOND, ENCRYPTED];
        if index % 2 == 0 {
            headers.push(("topic", &topic));
        }
        server.accepted(&endpoint, &headers, "x").await;
    }
    let ids = stored(&server, &endpoint, BATCH_SIZE + 1).await;
    let_a_second_pass().await;
    let mut client = server.resumed(&uaid).await;
    client.expect_ids(&channel, &ids[..BATCH_SIZE]).await;
    client.expect_nothing().await;
    client.ack_all(&channel, &ids[..BATCH_SIZE]).await;
    client.expect_ids(&channel, &ids[BATCH_SIZE..]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
}

pub(crate) async fn wp_37_a_full_backlog_refuses_and_loses_nothing(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    let topic = [KEPT, ENCRYPTED, ("topic", "t")];
    server.accepted(&endpoint, &topic, "replaced").await;
    let mut ids = stored(&server, &endpoint, MSG_LIMIT - 1 + MSG_RESERVE).await;
    // The other channel has a reserve of its own.
    let others = stored(&server, &second_endpoint, MSG_RESERVE).await;
    for endpoint in [&endpoint, &second_endpoint] {
        for headers in [&[KEPT, ENCRYPTED][..], &[KEPT], &[KEPT, ENCRYPTED, ("topic", "another")]] {
            let body = if headers.len() == 1 { "" } else { "x" };
            expect_refused(&server, endpoint, headers, body).await;
        }
    }
    // These take no more room.
    server.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await;
    ids.insert(0, server.accepted(&endpoint, &topic, "x").await);
    let mut client = server.resumed(&uaid).await;
    let of_channel =
        |channel: &str, ids: Vec<String>| ids.into_iter().map(|id| (channel.to_owned(), id)).collect();
    let all: [Vec<_>; 2] = [of_channel(&channel, ids), of_channel(&second, others)];
    for batch in all.concat().chunks(BATCH_SIZE) {
        for (channel, id) in batch {
            client.expect_ids(channel, std::slice::from_ref(id)).await;
        }
        for (channel, id) in batch {
            client.ack_all(channel, std::slice::from_ref(id)).await;
        }
    }
    client.settle(&channel).await;
    client.expect_nothing().await;
    // There is room again.
    let id = server.message(&second_endpoint, "room").await;
    client.expect_message(&second, &id, "room").await;
    assert_eq!(client.register(&channel).await, endpoint);
}
