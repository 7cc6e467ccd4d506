//! JSON in and out.
//!
//! A request is read in one pass, and the values of its members stay raw text until somebody needs them. An
//! error reply repeats them unchanged, whatever they are.

use crate::violation::Violation;
use serde::{
    Deserializer as _,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt, fmt::Write as _};
use types::{
    channel_id::ChannelId,
    step::{Ack, Listed},
    uaid::Uaid,
    uuid_text::{self, Spelling},
    version::Version,
};

/// The reply to a ping and to `purge`.
pub(crate) const EMPTY_OBJECT: &str = "{}";

/// The text is not JSON, or not an object. There is no reply to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnObject;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `hello`.
    Hello,
    /// `register`.
    Register,
    /// `unregister`.
    Unregister,
    /// `ack`.
    Ack,
    /// `ping`, or an empty object.
    Ping,
    /// `purge`.
    Purge,
    /// None of these, or there is no type.
    Unknown,
}

/// A message of a user agent: the raw values of the members that mean something. The last one of a name
/// counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The whole message, for the error reply.
    pub(crate) text: &'a str,
    has_members: bool,
    message_type: Option<&'a str>,
    channel_id: Option<&'a str>,
    channel_ids: Option<&'a str>,
    uaid: Option<&'a str>,
    updates: Option<&'a str>,
    expired: Option<&'a str>,
    use_webpush: Option<&'a str>,
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
                _ => return,
            };
            *slot = Some(value);
        })?;
        Ok(request)
    }

    /// What the message asks for. The value of `messageType` is compared without regard to case.
    pub(crate) fn kind(&self) -> Kind {
        if !self.has_members {
            return Kind::Ping;
        }
        let Some(name) = self.message_type.and_then(string) else { return Kind::Unknown };
        const KINDS: [(&str, Kind); 6] = [
            ("ack", Kind::Ack),
            ("hello", Kind::Hello),
            ("register", Kind::Register),
            ("unregister", Kind::Unregister),
            ("ping", Kind::Ping),
            ("purge", Kind::Purge),
        ];
        let known = KINDS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Kind::Unknown, |(_, kind)| *kind)
    }

    /// The member `use_webpush`; other types than a boolean count as absent.
    pub(crate) fn use_webpush(&self) -> Option<bool> {
        match self.use_webpush {
            Some("true") => Some(true),
            Some("false") => Some(false),
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

    /// The member `channelIDs`, if it is an array of strings. With an entry that is not in UUID syntax, or
    /// with more than `channels_max` entries, not all of it can be registered.
    pub(crate) fn listed(&self, channels_max: u32) -> Option<Listed> {
        let mut channels = Vec::new();
        let (mut strings, mut possible) = (true, true);
        for_each_element(self.channel_ids?, |raw| {
            let Some(text) = string(raw) else {
                strings = false;
                return;
            };
            match ChannelId::parse(&text) {
                Ok((channel, _)) if channels.len() < channels_max as usize => channels.push(channel),
                Ok(_) | Err(_) => possible = false,
            }
        })
        .ok()?;
        strings.then_some(if possible { Listed::Channels(channels) } else { Listed::Impossible })
    }

    /// The entries of `updates` and `expired` (PROTOCOL.md section 2.6) that name a channel in UUID syntax;
    /// no other one can have an effect. A list that is null counts as missing.
    pub(crate) fn acks(&self) -> Result<Vec<Ack>, Violation> {
        let mut acks = Vec::new();
        let (mut entries, mut ill_formed) = (0_usize, false);
        let list = |raw: Option<&'a str>| raw.filter(|raw| *raw != "null").unwrap_or("[]");
        for_each_element(list(self.updates), |raw| {
            entries += 1;
            match ack_entry(raw) {
                Ok(ack) => acks.extend(ack),
                Err(_) => ill_formed = true,
            }
        })
        .map_err(|NotAnArray| Violation::IllFormed)?;
        for_each_element(list(self.expired), |raw| {
            entries += 1;
            match string(raw) {
                Some(text) => {
                    let channel = ChannelId::parse(&text).ok();
                    acks.extend(channel.map(|(channel, _)| Ack { channel, version: None }));
                }
                None => ill_formed = true,
            }
        })
        .map_err(|NotAnArray| Violation::IllFormed)?;
        if ill_formed || entries == 0 { Err(Violation::IllFormed) } else { Ok(acks) }
    }
}

/// One entry of `updates`; nothing if its channel is not in UUID syntax.
fn ack_entry(raw: &str) -> Result<Option<Ack>, Violation> {
    let (mut channel, mut version) = (None, None);
    for_each_member(raw, |name, value| match &*string(name).unwrap_or_default() {
        "channelID" => channel = Some(value),
        "version" => version = Some(value),
        _ => {}
    })
    .map_err(|NotAnObject| Violation::IllFormed)?;
    let channel = channel.and_then(string).ok_or(Violation::IllFormed)?;
    let version = version.map(number).transpose()?;
    Ok(ChannelId::parse(&channel).ok().map(|(channel, _)| Ack { channel, version }))
}

/// A raw JSON number of any size and form.
fn number(raw: &str) -> Result<f64, Violation> {
    if !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(Violation::IllFormed);
    }
    raw.parse().map_err(|_| Violation::IllFormed)
}

/// The text of a raw JSON string. One with half a surrogate pair cannot be represented and is returned with
/// its escapes, so that it is not empty and equals nothing that is looked for.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    Some(serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned))
}

/// Brings the raw name and the raw value of each member, in order.
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

/// Brings each raw element of a raw array, in order.
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

/// The error reply to a request: its members unchanged (the last one of each name), but for `status` and
/// `error`, which are set, and `pushEndpoint` and those named in `without`, which are left out.
pub(crate) fn error_reply(request: &str, (status, error): (u16, &str), without: &[&str]) -> String {
    let mut members = Vec::new();
    let mut last = BTreeMap::new();
    let parsed = for_each_member(request, |name, value| {
        let plain = string(name).unwrap_or_default();
        if !["status", "error", "pushEndpoint"].contains(&&*plain) && !without.contains(&&*plain) {
            last.insert(plain, members.len());
            members.push((name, value));
        }
    });
    debug_assert_eq!(parsed, Ok(()), "only a request that was read gets an error reply");
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

/// The reply to a hello. A `redirect` goes with status 307.
pub(crate) fn hello_reply(uaid: Uaid, spelling: Spelling, status: u16, redirect: Option<&str>) -> String {
    let mut out = String::with_capacity(96 + redirect.map_or(0, str::len));
    out.push_str(r#"{"messageType":"hello","uaid":""#);
    uuid_text::write(&uaid.0, spelling, &mut out);
    let _ = write!(out, r#"","status":{status}"#);
    if let Some(url) = redirect {
        out.push_str(r#","redirect":"#);
        push_string(&mut out, url);
    }
    out.push('}');
    out
}

/// The reply to a register that succeeded.
pub(crate) fn register_reply(
    (uaid, uaid_spelling): (Uaid, Spelling),
    (channel, spelling): (ChannelId, Spelling),
    push_endpoint: &str,
) -> String {
    let mut out = String::with_capacity(160 + push_endpoint.len());
    out.push_str(r#"{"messageType":"register","channelID":""#);
    uuid_text::write(&channel.0, spelling, &mut out);
    out.push_str(r#"","status":200,"uaid":""#);
    uuid_text::write(&uaid.0, uaid_spelling, &mut out);
    out.push_str(r#"","pushEndpoint":"#);
    push_string(&mut out, push_endpoint);
    out.push('}');
    out
}

/// The reply to an unregister that succeeded; `channel_id` is raw JSON.
pub(crate) fn unregister_reply(channel_id: &str) -> String {
    ["{\"messageType\":\"unregister\",\"channelID\":", channel_id, ",\"status\":200}"].concat()
}

/// A channelID as raw JSON.
pub(crate) fn channel_json(channel: ChannelId, spelling: Spelling) -> String {
    let mut out = String::with_capacity(38);
    out.push('"');
    uuid_text::write(&channel.0, spelling, &mut out);
    out.push('"');
    out
}

/// One entry of a SimplePush notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The channel.
    pub(crate) channel: ChannelId,
    /// How the latest register spelled it.
    pub(crate) spelling: Spelling,
    /// The version written.
    pub(crate) version: Version,
    /// Only in the first, live transmission.
    pub(crate) data: Option<&'a str>,
}

/// A SimplePush notification.
pub(crate) fn notification(entries: &[Entry<'_>]) -> String {
    let data: usize = entries.iter().filter_map(|entry| entry.data).map(|data| data.len() + 16).sum();
    let mut out = String::with_capacity(48 + entries.len() * 96 + data);
    out.push_str(r#"{"messageType":"notification","updates":["#);
    for (index, entry) in entries.iter().enumerate() {
        out.push_str(if index == 0 { r#"{"channelID":""# } else { r#",{"channelID":""# });
        uuid_text::write(&entry.channel.0, entry.spelling, &mut out);
        let _ = write!(out, r#"","version":{}"#, entry.version.number());
        if let Some(data) = entry.data {
            out.push_str(r#","data":"#);
            push_string(&mut out, data);
        }
        out.push('}');
    }
    out.push_str("]}");
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
mod tests;
