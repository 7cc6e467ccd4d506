//! The Web Push dialect (PROTOCOL.md sections 4 and 5). A notification has an id that the server chose; its number
//! is where an encrypted body has its salt, which nothing between the two ends reads.

use super::words::{FOREIGN, Notification, Notified, Said, UaidText, channel_number, channel_text, welcome};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_client::webpush::message::{Acknowledged, Received, Reply, Request};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, io::Write as _};

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

/// Appends the message that acknowledges notifications.
pub(super) fn ack(output: &mut Vec<u8>, notified: &[Notified<'_>]) {
    let updates =
        notified.iter().map(|one| Acknowledged { channel: &one.name, version: &one.id, code: DELIVERED });
    Request::Ack { updates: &updates.collect::<Vec<_>>() }.append_to(output);
}

/// A notification with an encrypted body: nearly every message of a run. Nothing of it is copied.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Borrowed<'a> {
    message_type: &'a str,
    #[serde(rename = "channelID")]
    channel: &'a str,
    version: &'a str,
    data: &'a str,
    headers: Headers<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers<'a> {
    encoding: &'a str,
}

impl<'a> Borrowed<'a> {
    /// `None`: it is something else, or has something more; [`Reply`] tells what.
    fn parse(text: &'a str) -> Option<Self> {
        let message: Self = serde_json::from_str(text).ok()?;
        let is_usual = message.message_type == "notification" && message.headers.encoding == "aes128gcm";
        is_usual.then_some(message)
    }
}

/// Understands a message to a client.
pub(super) fn understand(client: u32, text: &str) -> Said<'_> {
    if let Some(Borrowed { channel, version, data, .. }) = Borrowed::parse(text)
        && let Some(number) = number_in(data)
    {
        return notified(client, channel.into(), number, version.into());
    }
    match Reply::parse(text) {
        Ok(Reply::Hello { uaid, .. }) => welcome(&uaid),
        Ok(Reply::Registered { channel, endpoint }) => match channel_number(client, &channel) {
            Some(channel) => Said::Registered { channel, endpoint },
            None => Said::Refused("an endpoint for another's channel".to_owned()),
        },
        Ok(Reply::Notification(Received { channel, version, payload })) => {
            let number = payload.map_or(FOREIGN, |payload| number_of(&payload.body));
            notified(client, channel.into(), number, version.into())
        }
        Ok(Reply::Pong | Reply::Unregistered { .. } | Reply::Broadcast(_) | Reply::Urgency) => Said::Nothing,
        Ok(Reply::Error { status, error, .. }) => Said::Refused(format!("{status} {error}")),
        Err(_) => Said::Refused("a message that is not of this dialect".to_owned()),
    }
}

/// A notification, unless it is for another's channel.
fn notified<'a>(client: u32, name: Cow<'a, str>, number: u64, id: Cow<'a, str>) -> Said<'a> {
    let channel = channel_number(client, &name);
    Said::Notified(channel.map(|channel| Notified { channel, name, number, id }).into_iter().collect())
}

/// The number in a body in base64url, all of which is decoded. `None`: it is not in base64url.
fn number_in(data: &str) -> Option<u64> {
    let mut body = [0; 3 * GROUPS];
    let mut number = None;
    for groups in data.as_bytes().chunks(4 * GROUPS) {
        let length = URL_SAFE_NO_PAD.decode_slice(groups, &mut body).ok()?;
        number.get_or_insert_with(|| number_of(&body[..length]));
    }
    Some(number.unwrap_or(FOREIGN))
}

/// How many times three bytes are decoded at a time: enough for the usual body.
const GROUPS: usize = 128;

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
    // What is text already needs no formatting.
    for text in ["POST ", path, " HTTP/1.1\r\nHost: ", authority] {
        output.extend_from_slice(text.as_bytes());
    }
    if !authorization.is_empty() {
        output.extend_from_slice(b"\r\nAuthorization: ");
        output.extend_from_slice(authorization.as_bytes());
    }
    // A vector takes every write.
    let _ = write!(output, "\r\nTTL: {ttl}\r\nContent-Encoding: aes128gcm\r\nContent-Length: {data}\r\n\r\n");
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
        let name = channel_text(5, 1);
        let expected =
            Notified { channel: 1, name: name.into(), number: 1_234_567_890_123_456, id: "m1.x".into() };
        assert_eq!(understand(5, &message), Said::Notified(vec![expected.clone()]));
        let updates = r#"{"messageType":"ack","updates":[{"channelID":"#;
        let mut output = Vec::new();
        ack(&mut output, &[expected]);
        let ack = String::from_utf8(output).unwrap();
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

    /// A notification for the first channel of client 5 with this data, `further` after its encoding, and `more` at
    /// its end.
    fn notification(data: &str, further: &str, more: &str) -> String {
        let channel = channel_text(5, 0);
        format!(
            r#"{{"messageType":"notification","channelID":"{channel}","version":"v\u002e1","data":"{data}",
                "headers":{{"encoding":"aes128gcm"{further}}}{more}}}"#
        )
    }

    #[test]
    fn a_notification_that_cannot_be_borrowed_is_understood_as_well() {
        let mut body = b"\0\0\0\0\0\0\0\x07loadgen\0".to_vec();
        body.resize(200, FILLER);
        let data = URL_SAFE_NO_PAD.encode(body);
        let escaped = notification(&data, "", "");
        let plain = escaped.replace("\\u002e", ".");
        assert!(Borrowed::parse(&plain).is_some() && Borrowed::parse(&escaped).is_none());
        let further = notification(&data, r#","crypto_key":"k""#, "");
        let more = notification(&data, "", r#","ttl":5"#);
        let name = channel_text(5, 0);
        let expected = Notified { channel: 0, name: name.into(), number: 7, id: "v.1".into() };
        for message in [plain, escaped, further, more] {
            assert_eq!(understand(5, &message), Said::Notified(vec![expected.clone()]), "{message}");
            assert_eq!(understand(6, &message), Said::Notified(vec![]), "another's: {message}");
        }
        let refused = Said::Refused("500 no".to_owned());
        assert_eq!(understand(5, &notification(&data, "", r#","status":500,"error":"no""#)), refused);
    }

    #[test]
    fn all_data_has_to_be_base64() {
        for length in [0, 15, 16, 3 * GROUPS - 1, 3 * GROUPS, 3 * GROUPS + 1, 9 * GROUPS + 2] {
            let mut body = 7_u64.to_be_bytes().to_vec();
            body.extend_from_slice(&MARK);
            body.resize(length, FILLER);
            let data = URL_SAFE_NO_PAD.encode(&body);
            assert_eq!(number_in(&data), Some(if length < 16 { FOREIGN } else { 7 }), "{length}");
            for wrong in [format!("{data}*"), format!("{data}=")] {
                assert_eq!(number_in(&wrong), None, "{length}");
                let message = notification(&wrong, "", "").replace("\\u002e", ".");
                assert!(matches!(understand(5, &message), Said::Refused(_)), "{length}");
            }
        }
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
