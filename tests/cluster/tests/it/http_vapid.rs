//! HTTP-25 to HTTP-30: who may send.

use beckon_client::vapid::{Credential, Scheme};
use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    webpush::{Subscribed, authorization, new_signer},
};
use beckon_conformance::parts::{claims, post, post_as, token};
use beckon_conformance::refusal::expect_refusal;
use beckon_testbed::plan::{Plan, Shape};
use serde_json::{Value, json};

on_both_shapes![a_token_is_good_again_and_again,];

/// The server has moved to a name in Punycode, and endpoints of its former name are in use.
#[tokio::test]
async fn a_server_that_has_moved_believes_its_former_name() {
    const URL: &str = "https://push.xn--bcher-kva.example";
    let plan = Plan::standalone()
        .all("BECKON_ENDPOINT_URL", URL)
        .all("BECKON_FORMER_ENDPOINT_URLS", "https://old.example, http://older.example:8081");
    let stage = Stage::own(plan);
    let signer = new_signer();
    let Subscribed { mut client, endpoint, .. } = stage.subscribed_for(&signer).await;
    for (aud, is_believed) in [
        (json!(URL), true),
        (json!("https://push.b\u{fc}cher.example"), true),
        (json!("https://old.example"), true),
        (json!(["https://elsewhere.example", "http://older.example:8081"]), true),
        (json!("https://older.example"), false),
        (json!("https://push.example"), false),
    ] {
        let mut claims = claims(&endpoint);
        claims["aud"] = aud.clone();
        let authorization = format!("vapid t={}, k={}", token(&signer, &claims), signer.public_key());
        let answer = post_as(&stage, &endpoint, &authorization).await;
        if is_believed {
            assert_eq!(answer.status(), 201, "{aud}: {answer:?}");
            client.notification().await;
        } else {
            expect_refusal(&answer, 401, Some(109));
            let body: Value = serde_json::from_slice(answer.body()).unwrap();
            let message = body["message"].as_str().unwrap();
            assert!(message.contains(URL) && message.contains(&aud.to_string()), "{message}");
        }
    }
}

async fn a_token_is_good_again_and_again(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let (signer, other) = (new_signer(), new_signer());
    let mut first = stage.subscribed_for(&signer).await;
    let second = stage.subscribed_for(&other).await;
    let credential = authorization(&signer, &first.endpoint);
    // Known to be valid, it still is not the key of the other endpoint, nor good with another key.
    let token = credential.split_once("t=").unwrap().1.split_once(',').unwrap().0;
    let mixed = Credential::new(Scheme::Vapid, token, other.public_key());
    for _ in 0..3 {
        assert_eq!(post_as(&stage, &first.endpoint, &credential).await.status().as_u16(), 201);
        first.client.notification().await;
        expect_refusal(&post_as(&stage, &second.endpoint, &credential).await, 401, Some(109));
        expect_refusal(&post(&stage, &second.endpoint, &mixed).await, 401, Some(109));
    }
}
