//! HTTP-33 and HTTP-34: taking a message back.

use crate::{
    refusal::{expect_cors, expect_refusal, header, tokens_of},
    server::Server,
    webpush::{ENCRYPTED, KEPT, NOT_KEPT, Subscribed, id_of, location_of},
};
use http::Method;

pub(crate) async fn http_33_a_message_can_be_taken_back(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let acknowledged = server.post(&endpoint, &[KEPT, ENCRYPTED], "x").await;
    client.expect_message(&channel, &id_of(&acknowledged), "x").await;
    client.ack(&channel, &id_of(&acknowledged)).await;
    client.settle(&channel).await;
    client.leave().await;
    let topic = ("topic", "t");
    let cancelled = [
        acknowledged,
        server.post(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await,
        server.post(&endpoint, &[KEPT, ENCRYPTED], "x").await,
        server.post(&endpoint, &[KEPT, ENCRYPTED, topic], "x").await,
    ];
    let last = server.post(&endpoint, &[KEPT, ENCRYPTED, topic], "last").await;
    let other = server.message(&endpoint, "other").await;
    for answer in &cancelled {
        for _ in 0..2 {
            let deleted = server.request(Method::DELETE, location_of(answer), &[], "").await;
            assert_eq!((deleted.status().as_u16(), deleted.body().len()), (204, 0), "{deleted:?}");
            expect_cors(&deleted, "DELETE, OPTIONS");
        }
    }
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &id_of(&last), "last").await;
    client.expect_message(&channel, &other, "other").await;
    client.expect_nothing().await;
    // What a user agent has is not recalled, but does not come again.
    let deleted = server.request(Method::DELETE, location_of(&last), &[], "").await;
    assert_eq!(deleted.status().as_u16(), 204);
    client.expect_nothing().await;
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &other, "other").await;
    client.ack_all(&channel, &[&id_of(&last), &other]).await;
    client.settle(&channel).await;
    server.resumed(&uaid).await.expect_nothing().await;
}

pub(crate) async fn http_34_what_is_no_message_id_is_refused(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let answer = server.post(&endpoint, &[KEPT, ENCRYPTED], "x").await;
    let location = location_of(&answer);
    let (base, id) = location.rsplit_once('/').unwrap();
    let (token, _) = tokens_of(&endpoint);
    let (_, altered) = tokens_of(location);
    for bad in altered.iter().map(|altered| &**altered).chain([token, "m1.9mXzq0v5T0eQ2sLw"]) {
        let answer = server.request(Method::DELETE, &format!("{base}/{bad}"), &[], "").await;
        expect_refusal(&answer, 400, None);
        expect_cors(&answer, "DELETE, OPTIONS");
    }
    for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH] {
        let answer = server.request(method.clone(), location, &[KEPT], "").await;
        expect_refusal(&answer, 405, None);
        assert_eq!(header(&answer, "allow"), Some("DELETE, OPTIONS"), "{method}");
    }
    server.resumed(&uaid).await.expect_message(&channel, id, "x").await;
}
