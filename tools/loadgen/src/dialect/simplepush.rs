//! SimplePush (PROTOCOL.md sections 2 and 3): the number of a notification is its version.

use super::words::{Notification, Notified, Said, UaidText, channel_number, channel_text, welcome};
use beckon_client::message::{Acknowledged, Reply, Request};
use std::{borrow::Cow, io::Write as _};

/// The first message of a client that has these channels.
pub(super) fn hello(client: u32, uaid: Option<UaidText>, channels: u32) -> String {
    let uaid = uaid.map(UaidText::text);
    let channels: Vec<String> = (0..channels).map(|channel| channel_text(client, channel)).collect();
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    Request::Hello { uaid: uaid.as_deref(), channels: &channels }.to_text()
}

/// Asks for the endpoint of a channel.
pub(super) fn register(client: u32, channel: u32) -> String {
    Request::Register { channel: &channel_text(client, channel) }.to_text()
}

/// Appends the message that acknowledges notifications.
pub(super) fn ack(output: &mut Vec<u8>, notified: &[Notified<'_>]) {
    let updates = notified.iter().map(|one| Acknowledged { channel: &one.name, version: one.number });
    Request::Ack { updates: &updates.collect::<Vec<_>>() }.append_to(output);
}

/// Understands a message to a client.
pub(super) fn understand(client: u32, text: &str) -> Said<'_> {
    match Reply::parse(text) {
        Ok(Reply::Hello { status: 200, uaid, .. }) => welcome(&uaid),
        Ok(Reply::Hello { status, .. }) => Said::Refused(format!("hello answered with {status}")),
        Ok(Reply::Registered { channel, endpoint }) => match channel_number(client, &channel) {
            Some(channel) => Said::Registered { channel, endpoint },
            None => Said::Refused("an endpoint for another's channel".to_owned()),
        },
        Ok(Reply::Notification(updates)) => {
            let notified = updates.into_iter().filter_map(|update| {
                let channel = channel_number(client, &update.channel)?;
                let name = Cow::from(update.channel);
                Some(Notified { channel, name, number: update.version, id: Cow::default() })
            });
            Said::Notified(notified.collect())
        }
        Ok(Reply::Pong | Reply::Unregistered { .. }) => Said::Nothing,
        Ok(Reply::Error { status, error, .. }) => Said::Refused(format!("{status} {error}")),
        Err(_) => Said::Refused("a message that is not of this dialect".to_owned()),
    }
}

/// Appends the request that sends a notification.
pub(super) fn notify(output: &mut Vec<u8>, notification: &Notification<'_>) {
    let Notification { authority, path, number, data, .. } = *notification;
    let digits = number.checked_ilog10().unwrap_or(0) + 1;
    let data_length = if data > 0 { DATA.len() + data as usize } else { 0 };
    let length = VERSION.len() + digits as usize + data_length;
    // A vector takes every write.
    let _ = write!(
        output,
        "PUT {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{VERSION}{number}"
    );
    if data > 0 {
        output.extend_from_slice(DATA.as_bytes());
        output.resize(output.len() + data as usize, b'x');
    }
}

const VERSION: &str = "version=";
const DATA: &str = "&data=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let channel = channel_text(5, 1);
        let notification = format!(
            r#"{{"messageType":"notification","updates":[{{"channelID":"{channel}","version":7}}]}}"#
        );
        let expected = Notified { channel: 1, name: (&channel).into(), number: 7, id: "".into() };
        assert_eq!(understand(5, &notification), Said::Notified(vec![expected]));
        let registered = format!(
            r#"{{"messageType":"register","channelID":"{channel}","status":200,"pushEndpoint":"http://a/u"}}"#
        );
        let expected = Said::Registered { channel: 1, endpoint: "http://a/u".to_owned() };
        assert_eq!(understand(5, &registered), expected);
        let redirect = r#"{"messageType":"hello","uaid":"u","status":307,"redirect":"ws://b/"}"#;
        assert_eq!(understand(5, redirect), Said::Refused("hello answered with 307".to_owned()));
        assert_eq!(understand(5, "{}"), Said::Nothing);
    }

    #[test]
    fn a_client_that_comes_back_says_who_it_was() {
        let answer = r#"{"messageType":"hello","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6","status":200}"#;
        let Said::Hello(uaid) = understand(5, answer) else { panic!("not welcome") };
        let again = hello(5, Some(uaid), 1);
        assert!(again.contains(r#""uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#), "{again}");
        assert!(again.contains(&channel_text(5, 0)), "{again}");
        assert!(!hello(5, None, 0).contains("uaid"));
    }

    #[test]
    fn the_length_of_a_request_is_right() {
        for (number, data) in [(0, 0), (9, 1), (10, 4_096), (1_234_567_890_123_456, 0)] {
            let mut request = Vec::new();
            let notification =
                Notification { authority: "a:1", path: "/update/x", number, data, ..Notification::default() };
            notify(&mut request, &notification);
            let text = String::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            let (version, rest) = body.split_once('&').unwrap_or((body, ""));
            assert_eq!(version, format!("version={number}"));
            assert_eq!(rest.len(), if data > 0 { "data=".len() + data as usize } else { 0 });
        }
    }
}
