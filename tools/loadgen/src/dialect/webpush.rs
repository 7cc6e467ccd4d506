//! The Web Push dialect (PROTOCOL.md sections 4 and 5). A notification has an id that the server chose; its number
//! is where an encrypted body has its salt, which nobody between the two ends looks at.

use super::{FOREIGN, Notification, Notified, Said, UaidText, channel_number, channel_text, welcome};
use client::webpush::message::{Acknowledged, Received, Reply, Request};
use std::{collections::BTreeMap, io::Write as _};

/// Bytes of an aes128gcm body before its first record: salt, record size, length of the key id, and the sender's
/// key (RFC 8291 section 4).
const HEADER_LEN: usize = 16 + 4 + 1 + KEY_LEN;

const KEY_LEN: usize = 65;

/// The shortest body that could be one: a record has a tag of 16 bytes and its delimiter.
pub const BODY_MIN: u32 = HEADER_LEN as u32 + 17;

/// Stands behind the number, in the second half of the salt.
const MARK: [u8; 8] = *b"loadgen\0";

/// The code of an acknowledgement: all is well.
const DELIVERED: u16 = 100;

/// The first message of a client.
pub(super) fn hello(uaid: Option<UaidText>) -> String {
    let uaid = uaid.map(UaidText::text);
    Request::Hello { use_webpush: true, uaid: uaid.as_deref(), broadcasts: BTreeMap::new() }.to_text()
}

/// Asks for the endpoint of a channel, restricted to a VAPID key if there is one.
pub(super) fn register(client: u32, channel: u32, key: Option<&str>) -> String {
    Request::Register { channel: &channel_text(client, channel), key }.to_text()
}

/// Acknowledges notifications.
pub(super) fn ack(client: u32, notified: &[Notified]) -> String {
    let channels: Vec<String> = notified.iter().map(|one| channel_text(client, one.channel)).collect();
    let updates: Vec<Acknowledged<'_>> = channels
        .iter()
        .zip(notified)
        .map(|(channel, one)| Acknowledged { channel, version: &one.id, code: DELIVERED })
        .collect();
    Request::Ack { updates: &updates }.to_text()
}

/// Understands a message to a client.
pub(super) fn understand(client: u32, text: &str) -> Said {
    match Reply::parse(text) {
        Ok(Reply::Hello { uaid, .. }) => welcome(&uaid),
        Ok(Reply::Registered { channel, endpoint }) => match channel_number(client, &channel) {
            Some(channel) => Said::Registered { channel, endpoint },
            None => Said::Refused("an endpoint for another's channel".to_owned()),
        },
        Ok(Reply::Notification(Received { channel, version, payload })) => {
            let number = payload.map_or(FOREIGN, |payload| number_of(&payload.body));
            let notified =
                channel_number(client, &channel).map(|channel| Notified { channel, number, id: version });
            Said::Notified(notified.into_iter().collect())
        }
        Ok(Reply::Pong | Reply::Unregistered { .. } | Reply::Broadcast(_) | Reply::Urgency) => Said::Nothing,
        Ok(Reply::Error { status, error, .. }) => Said::Refused(format!("{status} {error}")),
        Err(_) => Said::Refused("a message that is not of this dialect".to_owned()),
    }
}

/// The number in a body.
fn number_of(body: &[u8]) -> u64 {
    match body.split_first_chunk::<8>() {
        Some((number, rest)) if rest.starts_with(&MARK) => u64::from_be_bytes(*number),
        Some(_) | None => FOREIGN,
    }
}

/// Appends the request that sends a notification.
pub(super) fn notify(output: &mut Vec<u8>, notification: &Notification<'_>) {
    let Notification { authority, path, number, data, ttl, authorization } = *notification;
    // A vector takes every write.
    let _ = write!(output, "POST {path} HTTP/1.1\r\nHost: {authority}\r\nTTL: {ttl}\r\n");
    if !authorization.is_empty() {
        let _ = write!(output, "Authorization: {authorization}\r\n");
    }
    let _ = write!(output, "Content-Encoding: aes128gcm\r\nContent-Length: {data}\r\n\r\n");
    let end = output.len() + data as usize;
    output.extend_from_slice(&number.to_be_bytes());
    output.extend_from_slice(&MARK);
    output.extend_from_slice(&4096_u32.to_be_bytes());
    output.push(KEY_LEN as u8);
    // An uncompressed point, as far as its first byte tells.
    output.push(4);
    output.resize(end, FILLER);
}

/// What the rest of a body is made of.
const FILLER: u8 = 0xa7;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    #[test]
    fn a_number_comes_back_in_the_data_of_a_notification() {
        let mut request = Vec::new();
        let notification = Notification {
            authority: "a:1",
            path: "/wpush/v1/x",
            number: 1_234_567_890_123_456,
            data: 200,
            ttl: 60,
            authorization: "",
        };
        notify(&mut request, &notification);
        let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = request.split_at(end);
        let head = String::from_utf8(head.to_vec()).unwrap();
        assert!(
            head.starts_with("POST /wpush/v1/x HTTP/1.1\r\n") && head.contains("\r\nTTL: 60\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nContent-Length: 200\r\n") && !head.contains("Authorization"), "{head}");
        assert_eq!(body.len(), 200);
        let message = format!(
            r#"{{"messageType":"notification","channelID":"{}","version":"m1.x","data":"{}",
                "headers":{{"encoding":"aes128gcm"}}}}"#,
            channel_text(5, 1),
            URL_SAFE_NO_PAD.encode(body),
        );
        let expected = Notified { channel: 1, number: 1_234_567_890_123_456, id: "m1.x".to_owned() };
        assert_eq!(understand(5, &message), Said::Notified(vec![expected.clone()]));
        let updates = r#"{"messageType":"ack","updates":[{"channelID":"#;
        let ack = ack(5, &[expected]);
        assert!(ack.starts_with(updates) && ack.contains(r#""version":"m1.x""#), "{ack}");
    }

    #[test]
    fn the_shortest_body_is_as_long_as_it_says() {
        let mut request = Vec::new();
        notify(&mut request, &Notification { data: BODY_MIN, ..Notification::default() });
        assert!(request.ends_with(&[FILLER; 17]));
        let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(request.len() - end, BODY_MIN as usize);
    }

    #[test]
    fn what_was_sent_by_others_is_foreign() {
        for body in [&b""[..], b"short", &[7; 40], b"12345678loadge"] {
            assert_eq!(number_of(body), FOREIGN, "{body:?}");
        }
        assert_eq!(number_of(b"\0\0\0\0\0\0\0\x07loadgen\0"), 7);
    }

    #[test]
    fn answers_are_understood() {
        let answer = r#"{"messageType":"hello","uaid":"b7d1f0a94c3e4d2fa1065e8c9b3d7f20","status":200,
            "use_webpush":true,"broadcasts":{}}"#;
        let Said::Hello(uaid) = understand(5, answer) else { panic!("not welcome") };
        let again = hello(Some(uaid));
        assert!(again.contains(r#""uaid":"b7d1f0a94c3e4d2fa1065e8c9b3d7f20""#), "{again}");
        assert!(again.contains(r#""use_webpush":true"#) && !hello(None).contains("uaid"), "{again}");
        let registered = format!(
            r#"{{"messageType":"register","channelID":"{}","status":200,"pushEndpoint":"http://a/w"}}"#,
            channel_text(5, 0)
        );
        let expected = Said::Registered { channel: 0, endpoint: "http://a/w".to_owned() };
        assert_eq!(understand(5, &registered), expected);
        let refused = r#"{"messageType":"register","channelID":"x","status":400,"error":"Invalid Key"}"#;
        assert_eq!(understand(5, refused), Said::Refused("400 Invalid Key".to_owned()));
        assert_eq!(understand(5, "{}"), Said::Nothing);
    }

    #[test]
    fn a_channel_is_restricted_by_a_key() {
        assert!(register(1, 0, Some("BKey")).contains(r#""key":"BKey""#));
        assert!(!register(1, 0, None).contains("key"));
    }
}
