//! Who may send: VAPID over HTTP (PROTOCOL.md section 5.4).

use crate::{
    http_client::{Answer, send},
    test_node::{TestNode, connected_to},
    webpush::assert_error,
};
use beckon_client::vapid::{Claims, Credential, Scheme, Signer};
use beckon_types::{KeyHash, NodeId, VapidKey};
use std::time::Duration;

const ORIGIN: &str = "http://push.example.net";

fn now() -> Duration {
    Duration::from_secs(beckon_ops::clock::Clock::start().unix_seconds())
}

fn claims() -> Claims<'static> {
    let expires = now() + Duration::from_secs(3600);
    Claims { audience: ORIGIN, expires, subject: Some("mailto:a@example.net") }
}

fn hash(signer: &Signer) -> KeyHash {
    VapidKey::parse(signer.public_key()).unwrap().hash()
}

fn headers(credential: &Credential) -> String {
    let crypto_key = credential.crypto_key.as_ref().map(|key| format!("Crypto-Key: {key}\r\n"));
    format!("Authorization: {}\r\n{}", credential.authorization, crypto_key.unwrap_or_default())
}

/// A node with an open endpoint and one that is restricted to a key.
struct Bed {
    node: TestNode,
    owner: Signer,
    open: String,
    restricted: String,
}

impl Bed {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let node = TestNode::start_with(settings).await;
        let presence = connected_to(NodeId(1), 1);
        let (owner, _) = Signer::generate().unwrap();
        let open = node.subscribe(1, presence, None).await;
        let restricted = node.subscribe(2, presence, Some(hash(&owner))).await;
        Self { node, owner, open, restricted }
    }

    async fn post(&self, path: &str, headers: &str) -> Answer {
        self.node.post(path, headers, b"secret").await
    }
}

fn assert_unauthorized(answer: &Answer) {
    assert_error(answer, 401, Some(109));
    assert_eq!(answer.header("www-authenticate"), "vapid");
}

#[tokio::test]
async fn the_owner_of_the_key_may_send_in_three_spellings() {
    let bed = Bed::start(&[]).await;
    for scheme in [Scheme::Vapid, Scheme::WebPush, Scheme::Bearer] {
        let credential = bed.owner.credential(scheme, &claims()).unwrap();
        for path in [&bed.restricted, &bed.open] {
            assert_eq!(bed.post(path, &headers(&credential)).await.status, 201, "{scheme:?}");
        }
    }
    let token = bed.owner.token(&Claims { subject: None, ..claims() }).unwrap();
    let key = bed.owner.public_key();
    for key in [format!("{key}="), key.replace('-', "+").replace('_', "/")] {
        let headers = format!("Authorization: VAPID k={key},t={token}\r\n");
        assert_eq!(bed.post(&bed.restricted, &headers).await.status, 201, "{key}");
    }
    bed.node.stop().await;
}

#[tokio::test]
async fn a_draft_spelling_works_together_with_aesgcm() {
    let bed = Bed::start(&[]).await;
    let token = bed.owner.token(&claims()).unwrap();
    let key = bed.owner.public_key();
    let one_line = format!("Crypto-Key: keyid=a;dh=BKk;p256ecdsa=\"{key}=\"\r\n");
    let two_groups = format!("Crypto-Key: dh=BKk,p256ecdsa={key}\r\n");
    let two_lines = format!("Crypto-Key: dh=BKk\r\nCrypto-Key: p256ecdsa={key}\r\n");
    for crypto_key in [one_line, two_groups, two_lines] {
        let headers = format!(
            "TTL: 1\r\nContent-Encoding: aesgcm\r\nEncryption: salt=x\r\nAuthorization: WebPush {token}\r\n{crypto_key}"
        );
        let answer = send(bed.node.http, "POST", &bed.restricted, &headers, b"secret").await;
        assert_eq!(answer.status, 201, "{crypto_key}{answer:?}");
    }
    bed.node.stop().await;
}

#[tokio::test]
async fn another_key_is_accepted_only_by_an_open_endpoint() {
    let bed = Bed::start(&[]).await;
    let (stranger, _) = Signer::generate().unwrap();
    let credential = headers(&stranger.credential(Scheme::Vapid, &claims()).unwrap());
    assert_eq!(bed.post(&bed.open, &credential).await.status, 201);
    assert_unauthorized(&bed.post(&bed.restricted, &credential).await);
    assert_unauthorized(&bed.post(&bed.restricted, "").await);
    assert_eq!(bed.post(&bed.open, "").await.status, 201);
    bed.node.stop().await;
}

#[tokio::test]
async fn an_invalid_credential_is_refused_even_by_an_open_endpoint() {
    let bed = Bed::start(&[]).await;
    let day = Duration::from_secs(86_400);
    let key = bed.owner.public_key();
    let good = bed.owner.token(&claims()).unwrap();
    let token = |claims| bed.owner.token(&claims).unwrap();
    let vapid = |token: &str| format!("vapid t={token},k={key}");
    let (stranger, _) = Signer::generate().unwrap();
    for authorization in [
        vapid(&token(Claims { audience: "https://push.example.net", ..claims() })),
        vapid(&token(Claims { expires: now() - Duration::from_secs(120), ..claims() })),
        vapid(&token(Claims { expires: now() + day + Duration::from_secs(120), ..claims() })),
        vapid(&stranger.token(&claims()).unwrap()),
        vapid("a.b.c"),
        format!("vapid t={good}"),
        format!("vapid k={key}"),
        format!("vapid t={good},k={}", &key[1..]),
        format!("WebPush {good}"),
        format!("Bearer {good}"),
        "Basic dTpw".to_owned(),
        "vapid".to_owned(),
        String::new(),
        "\u{e4}".to_owned(),
    ] {
        for path in [&bed.open, &bed.restricted] {
            assert_unauthorized(&bed.post(path, &format!("Authorization: {authorization}\r\n")).await);
        }
    }
    let line = format!("Authorization: {}\r\n", vapid(&good));
    assert_unauthorized(&bed.post(&bed.restricted, &line.repeat(2)).await);
    assert_eq!(bed.post(&bed.restricted, &line).await.status, 201);
    bed.node.stop().await;
}

#[tokio::test]
async fn a_credential_is_verified_once_unless_the_cache_is_off() {
    for (size, remembered, verified) in [("10", 4, 1), ("0", 0, 5)] {
        let bed = Bed::start(&[("BECKON_VAPID_CACHE_SIZE", size)]).await;
        let credential = headers(&bed.owner.credential(Scheme::Vapid, &claims()).unwrap());
        for _ in 0..5 {
            assert_eq!(bed.post(&bed.restricted, &credential).await.status, 201);
        }
        assert_unauthorized(&bed.post(&bed.restricted, &credential.replace("t=ey", "t=ex")).await);
        let metrics = send(bed.node.admin, "GET", "/metrics", "", b"").await.body;
        for (result, expected) in [("remembered", remembered), ("verified", verified), ("invalid", 1)] {
            let start = format!("beckon_endpoint_vapid_total{{result=\"{result}\"}} ");
            // A label that was never counted is not in the output.
            let count = metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("0");
            assert_eq!(count.parse(), Ok(expected), "{result} with {size}");
        }
        bed.node.stop().await;
    }
}
