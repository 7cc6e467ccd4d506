//! `POST /wpush/v1/<token>`: an application server sends a message (PROTOCOL.md section 5).

use super::{
    answer, authorization,
    authorization::NoCredential,
    encryption::{self, CRYPTO_KEY},
    handler::{Handler, Head},
    message_headers::{self, TOPIC, TTL, URGENCY, value},
    reject::MessageRejection,
};
use crate::dispatch::MessageRefused;
use beckon_listener::body::{self, BodyError};
use beckon_node::store_room::Newcomer;
use beckon_types::{
    Draft, Endpoint, FindChannel, MESSAGE_PATH, Nonce, Payload, PutMessage, TopicTag, Urgency,
};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use std::time::Duration;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, EXPECT, LOCATION},
    },
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// A message that was accepted.
#[derive(Debug)]
struct Sent {
    id: String,
    /// How long it is stored.
    ttl: Duration,
}

/// Answers one request.
pub(super) async fn respond<S, B, E>(handler: &Handler, path: &str, head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut response = if head.method == Method::OPTIONS {
        answer::empty(StatusCode::OK)
    } else {
        match send(handler, path, &head, body).await {
            Ok(sent) => created(handler, &sent),
            Err(rejection) => {
                let refusal = rejection.refusal(METHODS);
                handler.metrics.count_refusal(refusal.errno);
                answer::error(refusal)
            }
        }
    };
    answer::add_webpush_headers(response.headers_mut(), METHODS, handler.settings().hsts.as_ref());
    response
}

/// The table of PROTOCOL.md section 5.2, in its order: the first row that fails answers.
async fn send<S, B, E>(handler: &Handler, path: &str, head: &Head, body: S) -> Result<Sent, MessageRejection>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let (body_len, time_limit) = (head.body_len(), handler.settings().body_timeout);
    let target = match admit(handler, path, head) {
        Ok(target) => target,
        Err(rejection) => {
            // With `Expect: 100-continue` the body was never sent, so there is nothing to discard.
            if !head.headers.contains_key(EXPECT) {
                body::discard(body, body_len, time_limit).await;
            }
            return Err(rejection);
        }
    };
    let body_len_max = handler.settings().wp_max_data;
    let body = body::read(body, body_len, body_len_max, time_limit).await;
    // Not a row of the table. The client may have left, so the store is not asked about rows 5 and 6.
    if let Err(error @ (BodyError::TooSlow | BodyError::Broken)) = body {
        return Err(MessageRejection::Body(error));
    }
    // The store cannot take a message without a name, so this is answered like its failures.
    let nonce = getrandom::u64().map_err(|_| MessageRejection::Refused(MessageRefused::Storage))?;
    let message = match message(handler, target, &head.headers, body, Nonce(nonce)) {
        Ok(message) => message,
        Err(rejection) => {
            return Err(match handler.dispatcher.find_channel(target).await {
                // Rows 5 and 6 come first. For a good request, storing the message checks them.
                Err(gone @ (MessageRefused::UaidGone | MessageRefused::ChannelGone)) => {
                    MessageRejection::Refused(gone)
                }
                // Row 12 comes last.
                Ok(()) | Err(MessageRefused::Full | MessageRefused::Storage) => rejection,
            });
        }
    };
    let (key, ttl) = (message.key, message.draft.ttl);
    let is_dispensable = message.draft.urgency < Urgency::Normal && !ttl.is_zero();
    if is_dispensable && !handler.room.has_room_for(Newcomer::Message) {
        return Err(MessageRejection::NoRoom);
    }
    let accepted = handler.dispatcher.accept_message(message, &head.cause).await;
    let id = accepted.map_err(MessageRejection::Refused)?.seal(&handler.keys, key);
    Ok(Sent { id, ttl })
}

/// Rows 1 to 4: whether the endpoint exists, and whether this application server may send to it.
fn admit(handler: &Handler, path: &str, head: &Head) -> Result<FindChannel, MessageRejection> {
    if head.method != Method::POST {
        return Err(MessageRejection::Method);
    }
    let Ok(Endpoint::WebPush { client, channel, restricted }) = Endpoint::from_path(&handler.keys, path)
    else {
        if handler.lacks_keys() {
            return Err(MessageRejection::Refused(MessageRefused::Storage));
        }
        return Err(MessageRejection::Endpoint);
    };
    let now_us = handler.clock.now_us();
    handler.rates.admit_channel(client, channel, now_us).map_err(MessageRejection::TooOften)?;
    let target = FindChannel { client, channel, restricted };
    let Some(authorization) = value(&head.headers, &AUTHORIZATION) else {
        return match restricted {
            Some(_) => Err(MessageRejection::Credential(NoCredential::Missing)),
            None => Ok(target),
        };
    };
    let crypto_key = value(&head.headers, &CRYPTO_KEY).unwrap_or_default();
    let credential =
        authorization::credential(&authorization, &crypto_key).map_err(MessageRejection::Credential)?;
    let key = handler.vapid.verify(credential, handler.clock.unix_seconds());
    let key = key.map_err(MessageRejection::Vapid)?;
    handler.rates.admit_key(key, now_us).map_err(MessageRejection::TooOften)?;
    match restricted {
        Some(registered) if registered != key => Err(MessageRejection::ForeignKey),
        Some(_) | None => Ok(target),
    }
}

/// Rows 7 to 11: the message.
fn message(
    handler: &Handler,
    target: FindChannel,
    headers: &HeaderMap,
    body: Result<Bytes, BodyError>,
    nonce: Nonce,
) -> Result<PutMessage, MessageRejection> {
    let FindChannel { client, channel, restricted } = target;
    let body = body.map_err(MessageRejection::Body)?;
    let ttl = message_headers::ttl(value(headers, &TTL).as_deref(), handler.settings().ttl_max)
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
    let key = handler.keys.newest();
    let (messages_max, reserve) = {
        let settings = handler.settings();
        (settings.messages_max, settings.channel_reserve)
    };
    let draft = Draft { urgency, ttl, payload };
    Ok(PutMessage { client, channel, restricted, key, nonce, topic, draft, messages_max, reserve })
}

/// The answer to a message that was accepted, whatever became of it.
fn created(handler: &Handler, sent: &Sent) -> Response {
    let mut response = answer::empty(StatusCode::CREATED);
    // Neither the URL of the settings nor an id has a character that a header cannot have.
    let location = format!("{}{MESSAGE_PATH}{}", handler.url, sent.id);
    let location = HeaderValue::from_maybe_shared(Bytes::from(location));
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(TTL, sent.ttl.as_secs().into());
    response
}
