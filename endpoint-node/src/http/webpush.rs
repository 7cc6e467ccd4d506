//! `POST /wpush/v1/<token>`: an application server sends a message (PROTOCOL.md section 5).

use super::{
    Endpoint, authorization,
    body::{self, BodyError},
    cors,
    encryption::{self, CRYPTO_KEY},
    message_headers::{self, TOPIC, TTL, URGENCY, value},
    reject::{self, MessageRejection},
};
use crate::delivery::{Unaccepted, WebPushChannel};
use authorization::NoCredential;
use beckon_types::{ChannelId, Dialect, Draft, MESSAGE_PATH, Payload, TopicTag};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use std::time::Duration;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, LOCATION},
    },
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const ALLOW_VALUE: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// What a request for this path is made of.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

/// A message that was accepted.
#[derive(Debug)]
struct Sent {
    id: String,
    /// The time to live that it has got.
    ttl: Duration,
}

/// Answers one request.
pub(super) async fn respond<S, B, E>(endpoint: &Endpoint, path: &str, head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut response = if head.method == Method::OPTIONS {
        Response::default()
    } else {
        match post(endpoint, path, &head, body).await {
            Ok(sent) => created(endpoint, &sent),
            Err(rejection) => reject::message(&rejection, ALLOW_VALUE),
        }
    };
    cors::add(response.headers_mut(), ALLOW_VALUE, &endpoint.url);
    endpoint.metrics.count_request(Dialect::WebPush, response.status());
    response
}

/// The table of PROTOCOL.md section 5.2, in its order: the first row that fails answers.
async fn post<S, B, E>(
    endpoint: &Endpoint,
    path: &str,
    head: &Head,
    body: S,
) -> Result<Sent, MessageRejection>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let settings = &endpoint.settings;
    let body_len = declared_len(&head.headers);
    let channel = match admit(endpoint, path, head) {
        Ok(channel) => channel,
        Err(rejection) => {
            // A client that waits for a word before it sends the body has got one.
            if !head.headers.contains_key(EXPECT) {
                body::discard(body, body_len, settings.body_timeout).await;
            }
            return Err(rejection);
        }
    };
    let body = body::read(body, body_len, settings.wp_max_data, settings.body_timeout).await;
    // Neither is a row of the table, and nobody may be there any more to hear of rows 5 and 6.
    if let Err(error @ (BodyError::TooSlow | BodyError::Broken)) = body {
        return Err(MessageRejection::Body(error));
    }
    let (topic, draft) = match draft(endpoint, channel.channel, &head.headers, body) {
        Ok(read) => read,
        Err(rejection) => {
            return Err(match endpoint.delivery.find(channel).await {
                // Rows 5 and 6 come first. Good requests learn of them when their message is stored.
                Err(gone @ (Unaccepted::UaidGone | Unaccepted::ChannelGone)) => gone.into(),
                // Row 12 comes last.
                Ok(()) | Err(Unaccepted::Full | Unaccepted::Storage(_)) => rejection,
            });
        }
    };
    let ttl = draft.ttl;
    let id = endpoint.delivery.post(channel, topic, draft, settings.messages_max).await?;
    Ok(Sent { id, ttl })
}

/// Rows 1 to 4: whether there is such an endpoint, and whether this application server may send to it.
fn admit(endpoint: &Endpoint, path: &str, head: &Head) -> Result<WebPushChannel, MessageRejection> {
    if head.method != Method::POST {
        return Err(MessageRejection::Method);
    }
    let channel = endpoint.delivery.open(path).map_err(|_| MessageRejection::Endpoint)?;
    let is_restricted = channel.restricted.is_some();
    let Some(authorization) = value(&head.headers, &AUTHORIZATION) else {
        return if is_restricted {
            Err(MessageRejection::Credential(NoCredential::Missing))
        } else {
            Ok(channel)
        };
    };
    let crypto_key = value(&head.headers, &CRYPTO_KEY).unwrap_or_default();
    let credential =
        authorization::credential(&authorization, &crypto_key).map_err(MessageRejection::Credential)?;
    let key = endpoint.vapid.verify(credential, endpoint.clock.unix_seconds());
    let key = key.map_err(MessageRejection::Vapid)?;
    match channel.restricted {
        Some(registered) if registered != key => Err(MessageRejection::ForeignKey),
        Some(_) | None => Ok(channel),
    }
}

/// Rows 7 to 11: the message.
fn draft(
    endpoint: &Endpoint,
    channel: ChannelId,
    headers: &HeaderMap,
    body: Result<Bytes, BodyError>,
) -> Result<(Option<TopicTag>, Draft), MessageRejection> {
    let body = body.map_err(MessageRejection::Body)?;
    let ttl = message_headers::ttl(value(headers, &TTL).as_deref(), endpoint.settings.ttl_max)
        .map_err(MessageRejection::Ttl)?;
    let topic = value(headers, &TOPIC).map(|topic| TopicTag::parse(channel, &topic));
    let topic = topic.transpose().map_err(|_| MessageRejection::Topic)?;
    let urgency = message_headers::urgency(value(headers, &URGENCY).as_deref())
        .map_err(|_| MessageRejection::Urgency)?;
    let payload = if body.is_empty() {
        None
    } else {
        let encoding = encryption::encoding(headers).map_err(MessageRejection::Encryption)?;
        // A copy: the original is a piece of the connection's read buffer, which is many times as large and would
        // live as long as the message does.
        Some(Payload { encoding, body: Bytes::copy_from_slice(&body) })
    };
    Ok((topic, Draft { urgency, ttl, payload }))
}

/// The length of the body that a client tells. The HTTP server has refused what is no number.
fn declared_len(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The answer to a message that was accepted, whatever has become of it.
fn created(endpoint: &Endpoint, sent: &Sent) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::CREATED;
    // Neither the URL of the settings nor an id has a character that a header cannot have.
    let location =
        HeaderValue::from_maybe_shared(Bytes::from(format!("{}{MESSAGE_PATH}{}", endpoint.url, sent.id)));
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(TTL, sent.ttl.as_secs().into());
    response
}
