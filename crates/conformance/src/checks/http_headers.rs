//! HTTP-14 to HTTP-20: the headers of a message.

use crate::{
    refusal::{expect_refusal, header},
    server::Server,
    webpush::{ENCRYPTED, KEPT, Subscribed},
};

pub(crate) async fn http_14_a_ttl_is_required_and_is_a_number(server: Server) {
    let Subscribed { mut client, endpoint, .. } = server.subscribed().await;
    for (ttl, errno) in [
        (None, Some(111)),
        (Some(""), Some(111)),
        (Some("soon"), Some(112)),
        (Some("1.5"), Some(112)),
        (Some("0x10"), Some(112)),
        (Some("1 2"), Some(112)),
        (Some("+5"), Some(112)),
        (Some("-1"), Some(114)),
        (Some("-5"), Some(114)),
    ] {
        let mut headers = vec![ENCRYPTED];
        headers.extend(ttl.map(|ttl| ("ttl", ttl)));
        let answer = server.post(&endpoint, &headers, "x").await;
        expect_refusal(&answer, 400, errno);
    }
    client.expect_nothing().await;
}

pub(crate) async fn http_15_a_long_ttl_is_cut(server: Server) {
    let Subscribed { endpoint, .. } = server.subscribed().await;
    let digits = "9".repeat(200);
    for (ttl, effective) in [
        ("0", "0"),
        ("007", "7"),
        ("2592000", "2592000"),
        ("2592001", "2592000"),
        ("2147483648", "2592000"),
        ("4294967296", "2592000"),
        ("99999999999", "2592000"),
        ("18446744073709551616", "2592000"),
        (&digits, "2592000"),
    ] {
        let answer = server.post(&endpoint, &[("ttl", ttl)], "").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "ttl")), (201, Some(effective)), "{ttl}");
    }
}

pub(crate) async fn http_16_a_topic_is_short_and_url_safe(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    let long = "x".repeat(33);
    for topic in [&*long, "", "a+b", "a/b", "a b", "a,b", "a.b", "=", "a=b"] {
        let answer = server.post(&endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], "x").await;
        expect_refusal(&answer, 400, Some(113));
    }
    for topic in ["x", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", "ghijklmnopqrstuvwxyz0123456789-_", "YQ=="] {
        let id = server.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], "x").await;
        client.expect_message(&channel, &id, "x").await;
    }
}

pub(crate) async fn http_17_an_urgency_is_given_once(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    for urgencies in [&["high, low"][..], &["high,low"], &["high", "low"], &["low", "low"]] {
        let mut headers = vec![KEPT, ENCRYPTED];
        headers.extend(urgencies.iter().map(|urgency| ("urgency", *urgency)));
        let answer = server.post(&endpoint, &headers, "x").await;
        expect_refusal(&answer, 400, None);
    }
    for urgency in ["very-low", "low", "normal", "high", "urgent", "High", ""] {
        let id = server.accepted(&endpoint, &[KEPT, ENCRYPTED, ("urgency", urgency)], "x").await;
        client.expect_message(&channel, &id, "x").await;
    }
}

pub(crate) async fn http_18_a_body_needs_a_known_encoding(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    for encodings in [
        &[][..],
        &[""],
        &["gzip"],
        &["identity"],
        &["aesgcm128"],
        &["aesgcm-128"],
        &["aes128gcm, gzip"],
        &["aes128gcm", "aesgcm"],
        &["aes128gcm", "aes128gcm"],
    ] {
        let mut headers = vec![KEPT];
        headers.extend(encodings.iter().map(|encoding| ("content-encoding", *encoding)));
        let answer = server.post(&endpoint, &headers, "x").await;
        expect_refusal(&answer, 400, Some(110));
    }
    client.expect_nothing().await;
    let headers = [KEPT, ENCRYPTED, ("content-type", "text/plain; charset=nonsense")];
    let id = server.accepted(&endpoint, &headers, "x").await;
    client.expect_message(&channel, &id, "x").await;
}

pub(crate) async fn http_19_aesgcm_needs_salt_and_dh(server: Server) {
    let Subscribed { mut client, endpoint, .. } = server.subscribed().await;
    let (salt, dh) = (Some("salt=2rG0pFv7vE4zqvS1b9kG_w"), Some("dh=BKkQ2p"));
    for (encryption, crypto_key) in [
        (None, None),
        (salt, None),
        (None, dh),
        (Some("rs=4096"), dh),
        (salt, Some("p256ecdsa=BOp81s")),
        (Some("salt="), dh),
        (Some("salt"), dh),
        (Some("salt=\"\""), dh),
        (Some("salt=*"), dh),
        (salt, Some("dh=")),
        (salt, Some("dh=a b")),
        (Some(""), Some("")),
        (Some("=;="), dh),
        (salt, Some("\"")),
    ] {
        let mut headers = vec![KEPT, ("content-encoding", "aesgcm")];
        headers.extend(encryption.map(|value| ("encryption", value)));
        headers.extend(crypto_key.map(|value| ("crypto-key", value)));
        let answer = server.post(&endpoint, &headers, "x").await;
        expect_refusal(&answer, 400, Some(110));
    }
    client.expect_nothing().await;
    for (encryption, crypto_key) in [
        ("salt=2rG0pFv7vE4zqvS1b9kG_w", "dh=BKkQ2p"),
        ("SALT=\"2rG0pFv7vE4zqvS1b9kG_w==\"; rs=4096; keyid=a", "p256ecdsa=\"BOp81s\"; DH=\"BKkQ2p==\""),
    ] {
        let headers =
            [KEPT, ("content-encoding", "aesgcm"), ("encryption", encryption), ("crypto-key", crypto_key)];
        let id = server.accepted(&endpoint, &headers, "x").await;
        assert_eq!(client.notification().await["version"], *id);
    }
}

pub(crate) async fn http_20_aes128gcm_has_them_in_the_body(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    for header in [
        ("encryption", "salt=2rG0pFv7vE4zqvS1b9kG_w"),
        ("encryption", "rs=4096;salt=\"2rG0pFv7vE4zqvS1b9kG_w\""),
        ("crypto-key", "dh=BKkQ2p"),
        ("crypto-key", "p256ecdsa=BOp81s;dh=BKkQ2p"),
        ("crypto-key", "p256ecdsa=BOp81s,dh=BKkQ2p"),
    ] {
        let answer = server.post(&endpoint, &[KEPT, ENCRYPTED, header], "x").await;
        expect_refusal(&answer, 400, Some(110));
    }
    client.expect_nothing().await;
    let headers = [KEPT, ENCRYPTED, ("crypto-key", "p256ecdsa=BOp81s")];
    let id = server.accepted(&endpoint, &headers, "x").await;
    client.expect_message(&channel, &id, "x").await;
}
