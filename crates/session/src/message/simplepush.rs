//! Messages of SimplePush (PROTOCOL.md section 2).

use super::{NotAnArray, NotAnObject, Request, for_each_element, for_each_member, push_string, string};
use crate::{identity::Identity, violation::Violation};
use beckon_types::{Ack, ChannelId, Listed, Spelling, Version};
use std::fmt::Write as _;

impl<'a> Request<'a> {
    /// The member `channelIDs`, if it is an array of strings. A list that has an entry outside UUID syntax, or more than
    /// `channels_max` entries, cannot all be registered.
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

    /// The entries of `updates` and `expired` (PROTOCOL.md section 2.6) whose channel is in UUID syntax; others have no
    /// effect. A list that is null counts as absent.
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

/// One entry of `updates`; `None` if its channel is not in UUID syntax.
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

/// The reply to a hello. A `redirect` is sent with status 307.
pub(crate) fn hello_reply(identity: Identity, status: u16, redirect: Option<&str>) -> String {
    let mut out = String::with_capacity(96 + redirect.map_or(0, str::len));
    out.push_str(r#"{"messageType":"hello","uaid":""#);
    identity.uaid.write(identity.spelling, &mut out);
    let _ = write!(out, r#"","status":{status}"#);
    if let Some(url) = redirect {
        out.push_str(r#","redirect":"#);
        push_string(&mut out, url);
    }
    out.push('}');
    out
}

/// The reply to a successful register.
pub(crate) fn register_reply(
    identity: Identity,
    (channel, spelling): (ChannelId, Spelling),
    push_endpoint: &str,
) -> String {
    let mut out = String::with_capacity(160 + push_endpoint.len());
    out.push_str(r#"{"messageType":"register","channelID":""#);
    channel.write(spelling, &mut out);
    out.push_str(r#"","status":200,"uaid":""#);
    identity.uaid.write(identity.spelling, &mut out);
    out.push_str(r#"","pushEndpoint":"#);
    push_string(&mut out, push_endpoint);
    out.push('}');
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
    /// What the application server sent along. Only the first transmission of an update has it.
    pub(crate) data: Option<&'a str>,
}

/// A SimplePush notification.
pub(crate) fn notification(entries: &[Entry<'_>]) -> String {
    let data: usize = entries.iter().filter_map(|entry| entry.data).map(|data| data.len() + 16).sum();
    let mut out = String::with_capacity(48 + entries.len() * 96 + data);
    out.push_str(r#"{"messageType":"notification","updates":["#);
    for (index, entry) in entries.iter().enumerate() {
        out.push_str(if index == 0 { r#"{"channelID":""# } else { r#",{"channelID":""# });
        entry.channel.write(entry.spelling, &mut out);
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
