//! JSON in and out.
//!
//! A request is read in one pass, and the values of its members stay raw text until they are needed. An error reply
//! repeats them unchanged, whatever they are.

pub(crate) mod simplepush;
pub(crate) mod webpush;

use crate::violation::Error;
use beckon_types::{ChannelId, Dialect, Spelling, Uaid};
use serde::{
    Deserializer as _,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt, fmt::Write as _};

/// The reply to a ping and to `purge`.
pub(crate) const EMPTY_OBJECT: &str = "{}";

/// How a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// In a text frame.
    Text,
    /// In a binary frame.
    Binary,
}

/// The text is not JSON, or not an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnObject;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command, which waits for the commands before it.
    Command(Command),
    /// `ping`, or an empty object.
    Ping,
    /// `purge`.
    Purge,
    /// Anything else, or there is no `messageType`.
    Unknown,
}

/// What a user agent may ask for, in one dialect or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// `hello`.
    Hello,
    /// `register`.
    Register,
    /// `unregister`.
    Unregister,
    /// `ack`.
    Ack,
    /// `nack`, in Web Push.
    Nack,
    /// `broadcast_subscribe`, in Web Push.
    BroadcastSubscribe,
    /// `urgency`, in Web Push.
    Urgency,
}

/// A message of a user agent: the raw values of the members that have a meaning. If a name occurs more than once, the
/// last one counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The whole message, for an error reply.
    pub(crate) text: &'a str,
    has_members: bool,
    message_type: Option<&'a str>,
    channel_id: Option<&'a str>,
    channel_ids: Option<&'a str>,
    uaid: Option<&'a str>,
    updates: Option<&'a str>,
    expired: Option<&'a str>,
    use_webpush: Option<&'a str>,
    key: Option<&'a str>,
    version: Option<&'a str>,
    code: Option<&'a str>,
    min: Option<&'a str>,
    broadcasts: Option<&'a str>,
}

/// The member `uaid` of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedUaid {
    /// Absent, null or empty.
    None,
    /// In UUID syntax.
    Valid(Uaid, Spelling),
    /// A string that is not in UUID syntax.
    Malformed,
    /// Neither string nor null.
    WrongType,
}

/// The member `channelID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedChannel<'a> {
    /// In UUID syntax.
    Valid(ChannelId, Spelling),
    /// A string that is not empty and not in UUID syntax, as raw JSON.
    Malformed(&'a str),
    /// Missing, empty, or not a string.
    Unusable,
}

impl<'a> Request<'a> {
    /// Reads a message.
    pub(crate) fn parse(text: &'a str) -> Result<Self, NotAnObject> {
        let mut request = Self {
            text,
            has_members: false,
            message_type: None,
            channel_id: None,
            channel_ids: None,
            uaid: None,
            updates: None,
            expired: None,
            use_webpush: None,
            key: None,
            version: None,
            code: None,
            min: None,
            broadcasts: None,
        };
        for_each_member(text, |name, value| {
            request.has_members = true;
            let slot = match &*string(name).unwrap_or_default() {
                "messageType" => &mut request.message_type,
                "channelID" => &mut request.channel_id,
                "channelIDs" => &mut request.channel_ids,
                "uaid" => &mut request.uaid,
                "updates" => &mut request.updates,
                "expired" => &mut request.expired,
                "use_webpush" => &mut request.use_webpush,
                "key" => &mut request.key,
                "version" => &mut request.version,
                "code" => &mut request.code,
                "min" => &mut request.min,
                "broadcasts" => &mut request.broadcasts,
                _ => return,
            };
            *slot = Some(value);
        })?;
        Ok(request)
    }

    /// What the message asks for. Case does not matter in the value of `messageType`.
    pub(crate) fn kind(&self) -> Kind {
        if !self.has_members {
            return Kind::Ping;
        }
        let Some(name) = self.message_type.and_then(string) else { return Kind::Unknown };
        const KINDS: [(&str, Kind); 9] = [
            ("ack", Kind::Command(Command::Ack)),
            ("hello", Kind::Command(Command::Hello)),
            ("register", Kind::Command(Command::Register)),
            ("unregister", Kind::Command(Command::Unregister)),
            ("ping", Kind::Ping),
            ("purge", Kind::Purge),
            ("nack", Kind::Command(Command::Nack)),
            ("broadcast_subscribe", Kind::Command(Command::BroadcastSubscribe)),
            ("urgency", Kind::Command(Command::Urgency)),
        ];
        let known = KINDS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Kind::Unknown, |(_, kind)| *kind)
    }

    /// The dialect that the member `use_webpush` names. Any other value than a boolean counts as absent.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self.use_webpush {
            Some("true") => Some(Dialect::WebPush),
            Some("false") => Some(Dialect::SimplePush),
            Some(_) | None => None,
        }
    }

    /// The member `uaid`.
    pub(crate) fn uaid(&self) -> NamedUaid {
        match self.uaid {
            None | Some("null") => NamedUaid::None,
            Some(raw) => match string(raw) {
                None => NamedUaid::WrongType,
                Some(text) if text.is_empty() => NamedUaid::None,
                Some(text) => match Uaid::parse(&text) {
                    Ok((uaid, spelling)) => NamedUaid::Valid(uaid, spelling),
                    Err(_) => NamedUaid::Malformed,
                },
            },
        }
    }

    /// The member `channelID`.
    pub(crate) fn channel_id(&self) -> NamedChannel<'a> {
        match self.channel_id.and_then(|raw| string(raw).map(|text| (raw, text))) {
            Some((raw, text)) if !text.is_empty() => match ChannelId::parse(&text) {
                Ok((channel, spelling)) => NamedChannel::Valid(channel, spelling),
                Err(_) => NamedChannel::Malformed(raw),
            },
            Some(_) | None => NamedChannel::Unusable,
        }
    }

    /// Whether the member `channelIDs` is an array, whatever is in it.
    pub(crate) fn has_channel_list(&self) -> bool {
        self.channel_ids.is_some_and(|raw| raw.starts_with('['))
    }
}

/// The text of a raw JSON string. A string with half a surrogate pair has no representation in Rust and is returned with
/// its escapes: it is not empty and does not equal any name that is looked for.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    Some(serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned))
}

/// Calls `each` with the raw name and the raw value of each member, in order.
fn for_each_member<'a>(text: &'a str, each: impl FnMut(&'a str, &'a str)) -> Result<(), NotAnObject> {
    struct Members<F>(F);

    impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                (self.0)(name.get(), value.get());
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each)).and_then(|()| json.end()).map_err(|_| NotAnObject)
}

/// A raw value is not an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotAnArray;

/// Calls `each` with each raw element of a raw array, in order.
fn for_each_element<'a>(raw: &'a str, each: impl FnMut(&'a str)) -> Result<(), NotAnArray> {
    struct Elements<F>(F);

    impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(value) = seq.next_element::<&RawValue>()? {
                (self.0)(value.get());
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(raw).deserialize_seq(Elements(each)).map_err(|_| NotAnArray)
}

/// The error reply to a request. It repeats the members of the request (the last one of each name), except for
/// `pushEndpoint` and those in `omitted`, and sets `status` and `error`.
pub(crate) fn error_reply(request: &str, (status, error): Error, omitted: &[&str]) -> String {
    let mut members = Vec::new();
    let mut last = BTreeMap::new();
    let parsed = for_each_member(request, |name, value| {
        let plain = string(name).unwrap_or_default();
        if !["status", "error", "pushEndpoint"].contains(&&*plain) && !omitted.contains(&&*plain) {
            last.insert(plain, members.len());
            members.push((name, value));
        }
    });
    debug_assert_eq!(parsed, Ok(()), "only a request that could be read gets an error reply");
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    let mut out = String::with_capacity(request.len() + 48);
    out.push('{');
    for index in kept {
        let (name, value) = members[index];
        out.extend([name, ":", value, ","]);
    }
    let _ = write!(out, r#""status":{status},"error":"#);
    push_string(&mut out, error);
    out.push('}');
    out
}

/// The reply to a successful unregister; `channel_id` is raw JSON.
pub(crate) fn unregister_reply(channel_id: &str) -> String {
    ["{\"messageType\":\"unregister\",\"channelID\":", channel_id, ",\"status\":200}"].concat()
}

/// A channelID as raw JSON.
pub(crate) fn channel_json(channel: ChannelId, spelling: Spelling) -> String {
    let mut out = String::with_capacity(38);
    out.push('"');
    channel.write(spelling, &mut out);
    out.push('"');
    out
}

/// Appends a JSON string.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;
