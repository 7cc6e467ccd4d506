//! WP-21 to WP-27, WP-30 to WP-32: messages, live and stored.

use crate::{
    server::Server,
    webpush::{
        ENCRYPTED, KEPT, KEPT_FOR_A_SECOND, NOT_KEPT, Subscribed, id_of, let_a_second_pass, location_of,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

pub(crate) async fn wp_21_a_post_arrives_live(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    // Whatever else is not acknowledged.
    for round in 0..5 {
        let body = format!("message {round}");
        let id = server.message(&endpoint, &body).await;
        client.expect_message(&channel, &id, &body).await;
    }
    let headers = [NOT_KEPT, ENCRYPTED, ("topic", "t"), ("urgency", "high")];
    let id = server.accepted(&endpoint, &headers, "at once").await;
    client.expect_message(&channel, &id, "at once").await;
    client.expect_nothing().await;
}

pub(crate) async fn wp_22_data_is_the_body_in_base64url(server: Server) {
    let Subscribed { mut client, uaid, endpoint, .. } = server.subscribed().await;
    let all: Vec<u8> = (0..=255).collect();
    let bodies = [&b"\0"[..], b"\xff\xfe", b"{}\r\n", &all, &all.repeat(16)];
    let mut expected = Vec::new();
    for body in bodies {
        let id = server.accepted(&endpoint, &[KEPT, ENCRYPTED], body.to_vec()).await;
        expected.push((id, URL_SAFE_NO_PAD.encode(body)));
    }
    // Live, and from the store.
    for _ in 0..2 {
        for (id, data) in &expected {
            let message = client.notification().await;
            assert_eq!((&message["version"], &message["data"]), (&json!(id), &json!(data)));
        }
        client.leave().await;
        client = server.resumed(&uaid).await;
    }
}

pub(crate) async fn wp_23_headers_are_those_of_the_encryption(server: Server) {
    let Subscribed { mut client, uaid, endpoint, .. } = server.subscribed().await;
    let salt = "2rG0pFv7vE4zqvS1b9kG_w";
    let dh = "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    let quoted_salt = format!("keyid=\"p256dh\";salt=\"{salt}==\"");
    let cleaned_salt = format!("keyid=p256dh;salt={salt}");
    let (plain_salt, plain_dh) = (format!("salt={salt}"), format!("dh={dh}"));
    let (quoted_dh, with_key) = (format!("keyid=p256dh;dh=\"{dh}=\""), format!("dh={dh};p256ecdsa=BOp81s"));
    let (cleaned_dh, padded_with_key) =
        (format!("keyid=p256dh;dh={dh}"), format!("dh=\"{dh}\";p256ecdsa=\"BOp81s==\""));
    for (headers, expected) in [
        (vec![("content-encoding", "aes128gcm")], json!({"encoding": "aes128gcm"})),
        (vec![("content-encoding", "AES128GCM")], json!({"encoding": "aes128gcm"})),
        (
            vec![("content-encoding", "aes128gcm"), ("crypto-key", "p256ecdsa=BOp81s")],
            json!({"encoding": "aes128gcm"}),
        ),
        (
            vec![("content-encoding", "aesgcm"), ("encryption", &*plain_salt), ("crypto-key", &plain_dh)],
            json!({"encoding": "aesgcm", "encryption": plain_salt, "crypto_key": plain_dh}),
        ),
        (
            vec![("content-encoding", "AesGcm"), ("encryption", &quoted_salt), ("crypto-key", &quoted_dh)],
            json!({"encoding": "aesgcm", "encryption": cleaned_salt, "crypto_key": cleaned_dh}),
        ),
        (
            vec![
                ("content-encoding", "aesgcm"),
                ("encryption", &quoted_salt),
                ("crypto-key", &padded_with_key),
            ],
            json!({"encoding": "aesgcm", "encryption": cleaned_salt, "crypto_key": with_key}),
        ),
    ] {
        let mut headers = headers;
        headers.push(KEPT);
        let id = server.accepted(&endpoint, &headers, "x").await;
        // Live, and from the store.
        for _ in 0..2 {
            let message = client.notification().await;
            assert_eq!((&message["version"], &message["headers"]), (&json!(id), &expected), "{headers:?}");
            client.leave().await;
            client = server.resumed(&uaid).await;
        }
        let message = client.notification().await;
        client.ack(message["channelID"].as_str().unwrap(), &id).await;
    }
}

pub(crate) async fn wp_24_an_empty_body_only_wakes_up(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    for headers in [
        vec![KEPT],
        vec![KEPT, ENCRYPTED],
        vec![KEPT, ("content-encoding", "aesgcm"), ("encryption", "salt=AAAA"), ("crypto-key", "dh=AAAA")],
        vec![KEPT, ("content-encoding", "gzip"), ("encryption", "nonsense")],
    ] {
        let id = server.accepted(&endpoint, &headers, "").await;
        let expected = json!({"messageType": "notification", "channelID": channel, "version": id});
        assert_eq!(client.notification().await, expected, "{headers:?}");
        client.leave().await;
        client = server.resumed(&uaid).await;
        assert_eq!(client.notification().await, expected, "{headers:?}");
        client.ack(&channel, &id).await;
    }
}

pub(crate) async fn wp_25_the_version_is_the_end_of_the_location(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let mut seen = Vec::new();
    for headers in [vec![KEPT], vec![NOT_KEPT], vec![KEPT, ("topic", "t")], vec![NOT_KEPT, ("topic", "t")]] {
        let answer = server.post(&endpoint, &headers, "").await;
        let id = id_of(&answer);
        assert!(location_of(&answer).ends_with(&format!("/m/{id}")), "{answer:?}");
        assert!(!id.contains(&uaid) && !id.contains(&channel), "{id}");
        assert_eq!(client.notification().await["version"], *id);
        assert!(!seen.contains(&id), "{id} twice");
        seen.push(id);
    }
}

pub(crate) async fn wp_26_a_stored_message_comes_until_it_is_acknowledged(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let id = server.message(&endpoint, "x").await;
    // On any node, after a good end and after a lost network.
    for round in 0..4 {
        let mut client = server.resumed(&uaid).await;
        client.expect_message(&channel, &id, "x").await;
        client.expect_nothing().await;
        if round % 2 == 0 {
            client.leave().await;
        }
    }
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &id, "x").await;
    client.ack(&channel, &id).await;
    client.settle(&channel).await;
    client.leave().await;
    server.resumed(&uaid).await.expect_nothing().await;
}

pub(crate) async fn wp_27_after_one_ack_only_the_other_comes_again(server: Server) {
    for acknowledged in 0..2 {
        let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
        client.leave().await;
        let ids = [server.message(&endpoint, "0").await, server.message(&endpoint, "1").await];
        let mut client = server.resumed(&uaid).await;
        client.expect_ids(&channel, &ids).await;
        client.ack(&channel, &ids[acknowledged]).await;
        client.settle(&channel).await;
        client.expect_nothing().await;
        for _ in 0..2 {
            let mut client = server.resumed(&uaid).await;
            let other = 1 - acknowledged;
            client.expect_message(&channel, &ids[other], &other.to_string()).await;
            client.expect_nothing().await;
            client.leave().await;
        }
    }
}

pub(crate) async fn wp_30_a_live_message_comes_again_unless_it_was_not_to_be_kept(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let kept = server.message(&endpoint, "kept").await;
    client.expect_message(&channel, &kept, "kept").await;
    let dropped = server.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "not kept").await;
    client.expect_message(&channel, &dropped, "not kept").await;
    client.leave().await;
    for _ in 0..2 {
        let mut client = server.resumed(&uaid).await;
        client.expect_message(&channel, &kept, "kept").await;
        client.expect_nothing().await;
    }
    // An ack of what is not kept is ignored.
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &kept, "kept").await;
    client.ack(&channel, &dropped).await;
    client.settle(&channel).await;
    server.resumed(&uaid).await.expect_message(&channel, &kept, "kept").await;
}

pub(crate) async fn wp_31_a_message_not_to_be_kept_is_dropped_for_who_is_away(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    server.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await;
    server.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED, ("topic", "t")], "x").await;
    let mut client = server.resumed(&uaid).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
}

pub(crate) async fn wp_32_an_expired_message_is_not_delivered(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    server.accepted(&endpoint, &[KEPT_FOR_A_SECOND, ENCRYPTED], "x").await;
    server.accepted(&endpoint, &[KEPT_FOR_A_SECOND, ENCRYPTED, ("topic", "t")], "x").await;
    let_a_second_pass().await;
    let mut client = server.resumed(&uaid).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    // Sent and not acknowledged, it is gone all the same.
    let id = server.accepted(&endpoint, &[KEPT_FOR_A_SECOND, ENCRYPTED], "x").await;
    client.expect_message(&channel, &id, "x").await;
    let_a_second_pass().await;
    server.resumed(&uaid).await.expect_nothing().await;
}
