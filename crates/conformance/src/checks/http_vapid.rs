//! HTTP-25 to HTTP-30: who may send.

use crate::{
    refusal::expect_refusal,
    server::Server,
    webpush::{ENCRYPTED, KEPT, Subscribed, audience_of, new_signer, unix_time},
};
use beckon_client::vapid::{Credential, LIFETIME_MAX, Scheme, Signer};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

/// The claims of a token that is good for an hour.
pub fn claims(endpoint: &str) -> Value {
    let expires = (unix_time() + HOUR).as_secs();
    json!({"aud": audience_of(endpoint), "exp": expires, "sub": "mailto:test@app.example"})
}

/// A token of these claims.
pub fn token(signer: &Signer, claims: &Value) -> String {
    signer.sign(&json!({"typ": "JWT", "alg": "ES256"}), claims).unwrap()
}

/// Sends with this credential.
pub async fn post(server: &Server, endpoint: &str, credential: &Credential) -> http::Response<bytes::Bytes> {
    let mut headers = vec![KEPT, ENCRYPTED, ("authorization", &*credential.authorization)];
    headers.extend(credential.crypto_key.as_deref().map(|key| ("crypto-key", key)));
    server.post(endpoint, &headers, "x").await
}

/// Sends with this `Authorization`.
pub async fn post_as(server: &Server, endpoint: &str, authorization: &str) -> http::Response<bytes::Bytes> {
    server.post(endpoint, &[KEPT, ENCRYPTED, ("authorization", authorization)], "x").await
}

/// Tokens that are not valid, and why.
pub(crate) fn bad_tokens(signer: &Signer, endpoint: &str) -> Vec<(&'static str, String)> {
    let good = claims(endpoint);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(signer, &claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        token(signer, &claims)
    };
    let seconds = |time: Duration| json!(time.as_secs());
    let past = seconds(unix_time() - Duration::from_secs(100));
    let far = seconds(unix_time() + LIFETIME_MAX + Duration::from_secs(100));
    let right = token(signer, &good);
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let foreign = new_signer().sign(&json!({"typ": "JWT", "alg": "ES256"}), &good).unwrap();
    let algorithm = |header: Value| signer.sign(&header, &good).unwrap();
    vec![
        ("altered signature", format!("{signed}.{flipped}{}", &signature[1..])),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{right}.{signature}")),
        ("one part", header.to_owned()),
        ("short signature", format!("{signed}.{}", &signature[..40])),
        ("claims of another", format!("{header}.{payload}A.{signature}")),
        ("signed by another", foreign),
        ("no ES256", algorithm(json!({"typ": "JWT", "alg": "HS256"}))),
        ("alg none", algorithm(json!({"typ": "JWT", "alg": "none"}))),
        ("no alg", algorithm(json!({"typ": "JWT"}))),
        ("header is no object", algorithm(json!("ES256"))),
        ("wrong aud", with("aud", json!("https://other.example"))),
        ("aud with path", with("aud", json!(endpoint))),
        ("aud without scheme", with("aud", json!("127.0.0.1"))),
        ("aud is a number", with("aud", json!(5))),
        ("aud of others", with("aud", json!(["https://other.example"]))),
        ("no aud", without("aud")),
        ("expired", with("exp", past)),
        ("too far ahead", with("exp", far)),
        ("exp is a string", with("exp", json!(good["exp"].to_string()))),
        ("exp is null", with("exp", json!(null))),
        ("exp is negative", with("exp", json!(-1))),
        ("exp is in milliseconds", with("exp", json!(unix_time().as_millis() as u64))),
        ("no exp", without("exp")),
        ("claims are no object", token(signer, &json!([good]))),
    ]
}

pub(crate) async fn http_25_a_restricted_endpoint_needs_an_authorization(server: Server) {
    let signer = new_signer();
    let Subscribed { mut client, endpoint, .. } = server.subscribed_for(&signer).await;
    expect_refusal(&server.post(&endpoint, &[KEPT, ENCRYPTED], "x").await, 401, Some(109));
    let key = format!("p256ecdsa={}", signer.public_key());
    expect_refusal(
        &server.post(&endpoint, &[KEPT, ENCRYPTED, ("crypto-key", &key)], "x").await,
        401,
        Some(109),
    );
    client.expect_nothing().await;
}

pub(crate) async fn http_26_a_restricted_endpoint_takes_its_key_in_each_spelling(server: Server) {
    let signer = new_signer();
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed_for(&signer).await;
    let (token, key) = (token(&signer, &claims(&endpoint)), signer.public_key());
    let in_crypto_key = |scheme: &str, crypto_key: String| Credential {
        authorization: format!("{scheme} {token}"),
        crypto_key: Some(crypto_key),
    };
    let in_one = |authorization: String| Credential { authorization, crypto_key: None };
    for credential in [
        Credential::new(Scheme::Vapid, &token, key),
        Credential::new(Scheme::WebPush, &token, key),
        Credential::new(Scheme::Bearer, &token, key),
        in_one(format!("vapid t={token},k={key}")),
        in_one(format!("vapid k={key}, t={token}")),
        in_one(format!("Vapid  k={key} ,  t={token}")),
        in_one(format!("VAPID t={token}, k={key}=")),
        in_crypto_key("webpush", format!("p256ecdsa=\"{key}=\"")),
        in_crypto_key("BEARER", format!("keyid=p256dh; P256ECDSA={key}")),
    ] {
        let answer = post(&server, &endpoint, &credential).await;
        assert_eq!(answer.status().as_u16(), 201, "{credential:?}: {answer:?}");
        assert_eq!(client.notification().await["channelID"], channel);
    }
    // With the headers of the older encryption in the same place.
    let crypto_key = format!("dh=BKkQ2p;p256ecdsa={key}");
    let headers = [
        KEPT,
        ("content-encoding", "aesgcm"),
        ("encryption", "salt=AAAA"),
        ("crypto-key", &crypto_key),
        ("authorization", &format!("WebPush {token}")),
    ];
    let id = server.accepted(&endpoint, &headers, "x").await;
    assert_eq!(client.notification().await["version"], *id);
}

pub(crate) async fn http_27_a_foreign_key_is_refused_where_the_endpoint_is_restricted(server: Server) {
    let (signer, foreign) = (new_signer(), new_signer());
    let restricted = server.subscribed_for(&signer).await;
    let mut open = server.subscribed().await;
    for scheme in [Scheme::Vapid, Scheme::WebPush, Scheme::Bearer] {
        let token = token(&foreign, &claims(&open.endpoint));
        let credential = Credential::new(scheme, &token, foreign.public_key());
        expect_refusal(&post(&server, &restricted.endpoint, &credential).await, 401, Some(109));
        assert_eq!(post(&server, &open.endpoint, &credential).await.status().as_u16(), 201, "{scheme:?}");
        open.client.notification().await;
        // Its own key does not make it the other's token.
        let mixed = Credential::new(scheme, &token, signer.public_key());
        expect_refusal(&post(&server, &restricted.endpoint, &mixed).await, 401, Some(109));
        expect_refusal(&post(&server, &open.endpoint, &mixed).await, 401, Some(109));
    }
    let mut client = restricted.client;
    client.expect_nothing().await;
}

pub(crate) async fn http_28_a_token_that_is_not_valid_is_refused_everywhere(server: Server) {
    let signer = new_signer();
    let restricted = server.subscribed_for(&signer).await;
    let open = server.subscribed().await;
    for (why, token) in bad_tokens(&signer, &open.endpoint) {
        for scheme in [Scheme::Vapid, Scheme::Bearer] {
            let credential = Credential::new(scheme, &token, signer.public_key());
            for endpoint in [&open.endpoint, &restricted.endpoint] {
                let answer = post(&server, endpoint, &credential).await;
                assert_eq!(answer.status().as_u16(), 401, "{why}: {answer:?}");
                expect_refusal(&answer, 401, Some(109));
            }
        }
    }
    for mut client in [open.client, restricted.client] {
        client.expect_nothing().await;
    }
}

pub(crate) async fn http_29_what_is_unusual_and_right_is_accepted(server: Server) {
    let signer = new_signer();
    let key = signer.public_key();
    let Subscribed { mut client, endpoint, .. } = server.subscribed_for(&signer).await;
    let good = claims(&endpoint);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&signer, &claims)
    };
    let mut no_subject = good.clone();
    no_subject.as_object_mut().unwrap().remove("sub");
    let seconds = |time: Duration| json!(time.as_secs());
    let standard = key.replace('-', "+").replace('_', "/");
    let right = token(&signer, &good);
    for (why, token, key) in [
        ("no sub", token(&signer, &no_subject), key),
        ("sub is a number", with("sub", json!(5)), key),
        ("sub is no URL", with("sub", json!("nonsense")), key),
        ("aud is a list", with("aud", json!(["https://other.example", good["aud"]])), key),
        ("exp is a fraction", with("exp", json!((unix_time() + HOUR).as_secs() as f64 + 0.5)), key),
        ("exp is a moment ago", with("exp", seconds(unix_time() - Duration::from_secs(20))), key),
        ("exp is just a day ahead", with("exp", seconds(unix_time() + LIFETIME_MAX)), key),
        ("more claims", with("x", json!({"y": [1]})), key),
        ("padding", right.clone(), &format!("{key}=")),
        ("standard alphabet", right.clone(), &standard),
        ("both", right.clone(), &format!("{standard}=")),
        ("no typ", signer.sign(&json!({"alg": "ES256"}), &good).unwrap(), key),
    ] {
        for scheme in [Scheme::Vapid, Scheme::WebPush] {
            let answer = post(&server, &endpoint, &Credential::new(scheme, &token, key)).await;
            assert_eq!(answer.status().as_u16(), 201, "{why}: {answer:?}");
            client.notification().await;
        }
    }
}

pub(crate) async fn http_30_a_credential_that_is_none_is_refused(server: Server) {
    let signer = new_signer();
    let restricted = server.subscribed_for(&signer).await;
    let open = server.subscribed().await;
    let (token, key) = (token(&signer, &claims(&open.endpoint)), signer.public_key());
    for authorization in [
        format!("vapid t={token}"),
        format!("vapid k={key}"),
        format!("vapid t=,k={key}"),
        format!("vapid t={token},k="),
        format!("vapid t={token},k={}", &key[1..]),
        format!("vapid t={token},k=x"),
        format!("vapid {token}"),
        format!("vapid t={token};k={key}"),
        "vapid".to_owned(),
        "vapid ".to_owned(),
        String::new(),
        "WebPush".to_owned(),
        "Bearer ".to_owned(),
        // No key for it.
        format!("WebPush {token}"),
        format!("Bearer {token}"),
        "Basic dXNlcjpwYXNz".to_owned(),
        format!("Basic t={token},k={key}"),
        token.clone(),
    ] {
        for endpoint in [&open.endpoint, &restricted.endpoint] {
            let answer = post_as(&server, endpoint, &authorization).await;
            assert_eq!(answer.status().as_u16(), 401, "{authorization}: {answer:?}");
            expect_refusal(&answer, 401, Some(109));
        }
    }
    for crypto_key in ["", "p256ecdsa=", "p256ecdsa=x", "dh=BKkQ2p"] {
        let credential =
            Credential { authorization: format!("WebPush {token}"), crypto_key: Some(crypto_key.to_owned()) };
        expect_refusal(&post(&server, &restricted.endpoint, &credential).await, 401, Some(109));
    }
}
