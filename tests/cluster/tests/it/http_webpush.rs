//! HTTP-13, HTTP-21 to HTTP-24, HTTP-31, HTTP-32 and HTTP-35 to HTTP-37: the Web Push endpoint.

use beckon_client::vapid::{Claims, Scheme};
use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT, NOT_KEPT, Subscribed, location_of, new_signer, unix_time},
};
use beckon_conformance::refusal::{expect_refusal, header};
use beckon_testbed::{
    plan::{Plan, Shape, key},
    redis::{Options, RedisServer},
};
use serde_json::json;
use std::time::Duration;

on_both_shapes![http_24_what_is_gone_is_410, an_endpoint_url_of_https_is_said_to_stay_so,];

async fn http_24_what_is_gone_is_410(shape: Shape) {
    // The store is emptied in the middle: for the token, its client was deleted.
    let redis = RedisServer::start_with(Options::default());
    let mut plan = Plan::new(shape).all("BECKON_TOKEN_KEYS", &key(1));
    if shape == Shape::Cluster {
        plan = plan.store(redis.url());
    }
    let stage = Stage::own(plan);
    let Subscribed { mut client, channel, endpoint, .. } = stage.subscribed().await;
    client.unregister(&channel).await;
    let gone = async |errno: u32| {
        for headers in [&[KEPT, ENCRYPTED][..], &[NOT_KEPT, ENCRYPTED], &[], &[("topic", "a b")]] {
            let answer = stage.post(&endpoint, headers, "x").await;
            expect_refusal(&answer, 410, Some(errno));
            assert_eq!(header(&answer, "cache-control"), Some("max-age=86400"), "{answer:?}");
        }
    };
    gone(106).await;
    assert_eq!(client.register(&channel).await, endpoint);
    let id = stage.message(&endpoint, "x").await;
    client.expect_message(&channel, &id, "x").await;
    match shape {
        Shape::Standalone => {
            let server = &stage.nodes()[0];
            server.terminate();
            server.set("BECKON_DATA_DIR", stage.folder().join("empty").to_string_lossy());
            server.start();
        }
        Shape::Cluster => {
            redis.command(&["FLUSHALL"]);
        }
    }
    gone(103).await;
}

async fn an_endpoint_url_of_https_is_said_to_stay_so(shape: Shape) {
    let stage = Stage::apart(Plan::new(shape).all("BECKON_ENDPOINT_URL", "https://push.example"));
    let signer = new_signer();
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    let endpoint = client.register_for(&new_channel(), signer.public_key()).await;
    assert!(endpoint.starts_with("https://push.example/wpush/v2/"), "{endpoint}");
    let claims =
        |audience| Claims { audience, expires: unix_time() + Duration::from_secs(60), subject: None };
    for (audience, status) in [
        ("https://push.example", 201),
        ("http://push.example", 401),
        ("https://push.example.evil.example", 401),
    ] {
        let credential = signer.credential(Scheme::Vapid, &claims(audience)).unwrap().authorization;
        let answer = stage.post(&endpoint, &[KEPT, ("authorization", &credential)], "").await;
        assert_eq!(answer.status().as_u16(), status, "{audience}");
        let kept = header(&answer, "strict-transport-security");
        assert_eq!(kept, Some("max-age=31536000"), "{answer:?}");
        if status == 201 {
            assert!(location_of(&answer).starts_with("https://push.example/m/"), "{answer:?}");
        }
    }
    // Without TLS there is nothing to promise.
    let plain = Stage::shared(shape, Profile::Defaults);
    let Subscribed { endpoint, .. } = plain.subscribed().await;
    let answer = plain.post(&endpoint, &[KEPT], "").await;
    assert_eq!(header(&answer, "strict-transport-security"), None, "{answer:?}");
    assert_eq!(answer.status().as_u16(), 201, "{}", json!(String::from_utf8_lossy(answer.body())));
}
