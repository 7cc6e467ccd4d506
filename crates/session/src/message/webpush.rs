//! Messages of Web Push (PROTOCOL.md section 4).

use super::{NotAnArray, NotAnObject, Request, for_each_element, for_each_member, push_string, string};
use crate::{api::ClientReport, identity::Identity, limits::BROADCASTS_NAMED_MAX, violation::Violation};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{ChannelId, Encoding, InvalidVapidKey, Payload, Spelling, Urgency, VapidKey};
use std::{borrow::Cow, collections::BTreeMap};

/// One entry of an ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageAck<'a> {
    /// What should be the id of a message.
    pub(crate) version: Cow<'a, str>,
    /// What the code of the entry reports.
    pub(crate) report: ClientReport,
}

/// One of the broadcasts that a user agent names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedBroadcast {
    /// Its id as raw JSON.
    pub(crate) raw_id: Box<str>,
    /// The version that the user agent has.
    pub(crate) version: Box<str>,
}

/// The broadcasts that a user agent names, by id.
pub(crate) type NamedBroadcasts = BTreeMap<Box<str>, NamedBroadcast>;

impl<'a> Request<'a> {
    /// The member `key`, unless it is absent or null (section 4.3).
    pub(crate) fn key(&self) -> Result<Option<VapidKey>, InvalidVapidKey> {
        let Some(raw) = self.key.filter(|raw| *raw != "null") else { return Ok(None) };
        VapidKey::parse(&string(raw).ok_or(InvalidVapidKey)?).map(Some)
    }

    /// What the code of an unregister reports (section 4.4).
    pub(crate) fn unregister_report(&self) -> ClientReport {
        match self.code {
            None | Some("null" | "200") => ClientReport::Unregistered,
            Some("201") => ClientReport::QuotaExceeded,
            Some("202") => ClientReport::PermissionRevoked,
            Some(_) => ClientReport::UnregisteredOtherwise,
        }
    }

    /// The entries of an ack (section 4.6). The list may be empty, but not absent.
    pub(crate) fn message_acks(&self) -> Result<Vec<MessageAck<'a>>, Violation> {
        let mut acks = Vec::new();
        let mut ill_formed = false;
        for_each_element(self.updates.ok_or(Violation::IllFormed)?, |raw| match ack_entry(raw) {
            Ok(ack) => acks.push(ack),
            Err(_) => ill_formed = true,
        })
        .map_err(|NotAnArray| Violation::IllFormed)?;
        if ill_formed { Err(Violation::IllFormed) } else { Ok(acks) }
    }

    /// What a nack reports (section 4.6). It has to name a message; which one does not matter.
    pub(crate) fn nack_report(&self) -> Result<ClientReport, Violation> {
        self.version.and_then(string).ok_or(Violation::IllFormed)?;
        Ok(match self.code {
            Some("301") => ClientReport::HandlerThrew,
            Some("302") => ClientReport::HandlerRejected,
            Some("303") => ClientReport::OtherFailure,
            Some(_) | None => ClientReport::UnknownFailure,
        })
    }

    /// The member `min` (section 4.7).
    pub(crate) fn min(&self) -> Result<Urgency, Violation> {
        let name = self.min.and_then(string).ok_or(Violation::IllFormed)?;
        Urgency::parse(&name).ok_or(Violation::IllFormed)
    }

    /// The member `broadcasts`, an object of strings; `None` if it is absent or null (section 4.8). Beyond the first
    /// [`BROADCASTS_NAMED_MAX`] ids it is not kept.
    pub(crate) fn broadcasts(&self) -> Result<Option<NamedBroadcasts>, Violation> {
        let Some(raw) = self.broadcasts.filter(|raw| *raw != "null") else { return Ok(None) };
        let mut named = NamedBroadcasts::new();
        let mut ill_formed = false;
        for_each_member(raw, |raw_id, version| match (string(raw_id), string(version)) {
            (Some(id), Some(version)) => {
                if named.len() < BROADCASTS_NAMED_MAX || named.contains_key(&*id) {
                    let version = NamedBroadcast { raw_id: raw_id.into(), version: version.into() };
                    named.insert(id.into(), version);
                }
            }
            (None, _) | (_, None) => ill_formed = true,
        })
        .map_err(|NotAnObject| Violation::IllFormed)?;
        if ill_formed { Err(Violation::IllFormed) } else { Ok(Some(named)) }
    }
}

fn ack_entry(raw: &str) -> Result<MessageAck<'_>, Violation> {
    let (mut channel, mut version, mut code) = (None, None, None);
    for_each_member(raw, |name, value| match &*string(name).unwrap_or_default() {
        "channelID" => channel = Some(value),
        "version" => version = Some(value),
        "code" => code = Some(value),
        _ => {}
    })
    .map_err(|NotAnObject| Violation::IllFormed)?;
    // The id alone identifies the message, so the channel only has to be there.
    channel.and_then(string).ok_or(Violation::IllFormed)?;
    let version = version.and_then(string).ok_or(Violation::IllFormed)?;
    let report = match code {
        Some("101") => ClientReport::NotDecrypted,
        Some("102") => ClientReport::NoReceiver,
        Some(_) | None => ClientReport::Delivered,
    };
    Ok(MessageAck { version, report })
}

/// The reply to a hello; `broadcasts` is raw JSON.
pub(crate) fn hello_reply(identity: Identity, broadcasts: &str) -> String {
    let mut out = String::with_capacity(128 + broadcasts.len());
    out.push_str(r#"{"messageType":"hello","uaid":""#);
    identity.uaid.write(identity.spelling, &mut out);
    out.push_str(r#"","status":200,"use_webpush":true,"broadcasts":"#);
    out.push_str(broadcasts);
    out.push('}');
    out
}

/// The reply to a successful register.
pub(crate) fn register_reply(channel: ChannelId, spelling: Spelling, push_endpoint: &str) -> String {
    let mut out = String::with_capacity(112 + push_endpoint.len());
    out.push_str(r#"{"messageType":"register","channelID":""#);
    channel.write(spelling, &mut out);
    out.push_str(r#"","status":200,"pushEndpoint":"#);
    push_string(&mut out, push_endpoint);
    out.push('}');
    out
}

/// The reply to an `urgency` request.
pub(crate) const URGENCY_REPLY: &str = r#"{"messageType":"urgency","status":200}"#;

/// A message with the versions of broadcasts; `broadcasts` is raw JSON.
pub(crate) fn broadcast(broadcasts: &str) -> String {
    [r#"{"messageType":"broadcast","broadcasts":"#, broadcasts, "}"].concat()
}

/// What a reply says about broadcasts: the versions of some, and the reasons why others have none.
#[derive(Debug, Default)]
pub(crate) struct BroadcastsJson {
    values: String,
    errors: String,
}

impl BroadcastsJson {
    /// Adds the version of a broadcast.
    pub(crate) fn value(&mut self, id: &str, version: &str) {
        push_name(&mut self.values, id);
        push_string(&mut self.values, version);
    }

    /// Adds the reason why a broadcast cannot be subscribed to; `raw_id` is raw JSON.
    pub(crate) fn error(&mut self, raw_id: &str, error: &str) {
        if !self.errors.is_empty() {
            self.errors.push(',');
        }
        self.errors.push_str(raw_id);
        self.errors.push(':');
        push_string(&mut self.errors, error);
    }

    /// Whether it has neither versions nor errors.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.errors.is_empty()
    }

    /// The object.
    pub(crate) fn finish(self) -> String {
        let Self { mut values, errors } = self;
        if !errors.is_empty() {
            push_name(&mut values, "errors");
            values.extend(["{", &errors, "}"]);
        }
        ["{", &values, "}"].concat()
    }
}

/// Appends the name of a member, after a comma if it is not the first.
fn push_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    push_string(out, name);
    out.push(':');
}

/// The notification of one message, whose id is `version` (section 4.5).
pub(crate) fn notification(
    channel: ChannelId,
    spelling: Spelling,
    version: &str,
    payload: Option<&Payload>,
) -> String {
    let mut out = String::with_capacity(96 + version.len() + payload.map_or(0, payload_len));
    out.push_str(r#"{"messageType":"notification","channelID":""#);
    channel.write(spelling, &mut out);
    out.push_str(r#"","version":"#);
    push_string(&mut out, version);
    if let Some(Payload { encoding, body }) = payload {
        out.push_str(r#","data":""#);
        URL_SAFE_NO_PAD.encode_string(body, &mut out);
        match encoding {
            Encoding::Aes128gcm => out.push_str(r#"","headers":{"encoding":"aes128gcm"}"#),
            Encoding::Aesgcm { encryption, crypto_key } => {
                out.push_str(r#"","headers":{"encoding":"aesgcm","encryption":"#);
                push_string(&mut out, encryption);
                out.push_str(r#","crypto_key":"#);
                push_string(&mut out, crypto_key);
                out.push('}');
            }
        }
    }
    out.push('}');
    out
}

/// About how many characters a payload takes. One allocation is enough then, unless its headers need many escapes.
fn payload_len(payload: &Payload) -> usize {
    let headers = match &payload.encoding {
        Encoding::Aes128gcm => 0,
        Encoding::Aesgcm { encryption, crypto_key } => encryption.len() + crypto_key.len() + 40,
    };
    (payload.body.len() * 8).div_ceil(6) + headers + 48
}
