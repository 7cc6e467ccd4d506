//! From the domain to the wire and back.
//!
//! What comes from the wire was written by another node, perhaps of another version: where the domain has no value for
//! a field, the message is refused by the name of that field.

mod field;
mod message;
#[cfg(feature = "next-format")]
mod next;
mod trace;

pub use field::Malformed;

use crate::{
    delivery::{Parcel, Receipt},
    push_v1 as wire,
};
use beckon_types::{
    Cause, ConnectionId, NodeId, Notification, Presence, RequestId, Sequence, Update, Version,
};
use bytes::Bytes;
use field::channel;
use std::sync::Arc;

/// The wire form of a parcel, with the tag that its receipt will carry.
pub fn parcel_to_wire(tag: u64, parcel: &Parcel) -> wire::Parcel {
    let notification = match &parcel.notification {
        Notification::Update(update) => wire::parcel::Notification::Update(update.into()),
        Notification::Message(message) => wire::parcel::Notification::Message(message.into()),
        Notification::Missed => wire::parcel::Notification::Missed(wire::Missed {}),
    };
    let parcel = wire::Parcel {
        tag,
        node: parcel.to.node.0,
        connection: parcel.to.connection.0,
        notification: Some(notification),
        request: parcel.cause.request.map_or(0, |request| request.0),
        trace: parcel.cause.trace.as_deref().map(|trace| Box::new(trace.into())),
        advance: advance(parcel).unwrap_or_default(),
        #[cfg(feature = "next-format")]
        next_update: None,
        #[cfg(feature = "next-format")]
        next_message: None,
        #[cfg(feature = "next-format")]
        next_note: next::NOTE,
    };
    #[cfg(feature = "next-format")]
    let parcel = next::parcel(parcel);
    parcel
}

/// From the write before to the one that a parcel tells of.
fn advance(parcel: &Parcel) -> Option<u64> {
    parcel.notification.sequence()?.0.checked_sub(parcel.previous?.0)
}

/// The socket that a parcel is for, which every version understands.
pub fn addressee(parcel: &wire::Parcel) -> Presence {
    presence(parcel.node, parcel.connection)
}

/// Reads everything but the tag.
impl TryFrom<wire::Parcel> for Parcel {
    type Error = Malformed;

    fn try_from(parcel: wire::Parcel) -> Result<Self, Malformed> {
        #[cfg(feature = "next-format")]
        let parcel = next::from_parcel(parcel);
        let to = addressee(&parcel);
        let cause = Cause {
            request: Some(RequestId(parcel.request)).filter(|request| request.0 != 0),
            trace: parcel.trace.and_then(|trace| trace::read(*trace)).map(Box::new),
        };
        let notification = match parcel.notification.ok_or(Malformed::Notification)? {
            wire::parcel::Notification::Update(update) => Notification::Update(update.try_into()?),
            wire::parcel::Notification::Message(message) => Notification::Message(message.try_into()?),
            wire::parcel::Notification::Missed(wire::Missed {}) => Notification::Missed,
        };
        let advance = Some(parcel.advance).filter(|advance| *advance != 0);
        let before = |sequence: Sequence| sequence.0.checked_sub(advance?).map(Sequence);
        let previous = notification.sequence().and_then(before);
        Ok(Self { to, notification, previous, cause })
    }
}

impl From<&Update> for wire::Update {
    fn from(update: &Update) -> Self {
        Self {
            channel_id: Bytes::copy_from_slice(&update.channel.0),
            version: update.version.number(),
            sequence: update.sequence.0,
            data: update.data.as_deref().map(str::to_owned).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Update> for Update {
    type Error = Malformed;

    fn try_from(update: wire::Update) -> Result<Self, Malformed> {
        Ok(Self {
            channel: channel(&update.channel_id)?,
            version: Version::new(update.version).map_err(|_| Malformed::Version(update.version))?,
            sequence: Sequence(update.sequence),
            data: (!update.data.is_empty()).then(|| Arc::from(update.data)),
        })
    }
}

/// The wire form of the receipt for the parcel with this tag.
pub fn receipt_to_wire(tag: u64, receipt: Receipt) -> wire::Receipt {
    let outcome = match receipt {
        Receipt::Delivered => wire::Outcome::Delivered,
        Receipt::NotHere => wire::Outcome::NotHere,
        Receipt::Busy => wire::Outcome::Busy,
    };
    let receipt = wire::Receipt {
        tag,
        outcome: outcome.into(),
        #[cfg(feature = "next-format")]
        next_number: tag,
    };
    #[cfg(feature = "next-format")]
    let receipt = next::receipt(receipt);
    receipt
}

/// Reads everything but the tag.
impl TryFrom<wire::Receipt> for Receipt {
    type Error = Malformed;

    fn try_from(receipt: wire::Receipt) -> Result<Self, Malformed> {
        #[cfg(feature = "next-format")]
        let receipt = next::from_receipt(receipt);
        let unknown = Malformed::Outcome(receipt.outcome);
        match wire::Outcome::try_from(receipt.outcome).map_err(|_| unknown)? {
            wire::Outcome::Delivered => Ok(Self::Delivered),
            wire::Outcome::NotHere => Ok(Self::NotHere),
            wire::Outcome::Busy => Ok(Self::Busy),
            wire::Outcome::Unspecified => Err(unknown),
        }
    }
}

impl From<Presence> for wire::EvictRequest {
    fn from(presence: Presence) -> Self {
        Self { node: presence.node.0, connection: presence.connection.0 }
    }
}

impl From<wire::EvictRequest> for Presence {
    fn from(request: wire::EvictRequest) -> Self {
        presence(request.node, request.connection)
    }
}

fn presence(node: u64, connection: u64) -> Presence {
    Presence { node: NodeId(node), connection: ConnectionId(connection) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::{ChannelId, SpanId, TRACESTATE_LEN_MAX, TraceContext, TraceId};

    fn parcel(notification: Notification) -> Parcel {
        Parcel { to: presence(u64::MAX, 7), notification, previous: None, cause: Cause::default() }
    }

    fn update(data: Option<&str>) -> Update {
        Update {
            channel: ChannelId(*b"0123456789abcdef"),
            version: Version::new(Version::MAX).unwrap(),
            sequence: Sequence(u64::MAX),
            data: data.map(Arc::from),
        }
    }

    #[test]
    fn a_parcel_survives_the_wire() {
        for notification in [
            Notification::Missed,
            Notification::Update(update(None)),
            Notification::Update(update(Some("d\u{e4}ta"))),
        ] {
            let parcel = parcel(notification);
            let wire = parcel_to_wire(3, &parcel);
            assert_eq!(wire.tag, 3);
            assert_eq!(Parcel::try_from(wire), Ok(parcel));
        }
    }

    #[test]
    fn the_write_before_survives_the_wire() {
        let write = |sequence| Update { sequence: Sequence(sequence), ..update(None) };
        for (sequence, previous) in [(u64::MAX, 0), (1, 0), (1_764_000_000_007, 1_764_000_000_000)] {
            let parcel = Parcel {
                previous: Some(Sequence(previous)),
                ..parcel(Notification::Update(write(sequence)))
            };
            let wire = parcel_to_wire(3, &parcel);
            assert_eq!(wire.advance, sequence - previous);
            assert_eq!(Parcel::try_from(wire), Ok(parcel));
        }
    }

    #[test]
    fn a_write_before_that_cannot_be_is_not_known() {
        let update = Notification::Update(Update { sequence: Sequence(7), ..update(None) });
        for (notification, advance) in [(update.clone(), 0), (update, 8), (Notification::Missed, 7)] {
            let without = parcel(notification);
            let wire = wire::Parcel { advance, ..parcel_to_wire(3, &without) };
            assert_eq!(Parcel::try_from(wire), Ok(without));
        }
    }

    #[test]
    fn the_cause_of_a_parcel_survives_the_wire() {
        let trace = TraceContext {
            trace: TraceId(0x1234_5678_9abc_def0_0fed_cba9_8765_4321),
            span: SpanId(u64::MAX),
            state: "a=1,b=2".into(),
        };
        let untraced = Cause { request: Some(RequestId(7)), trace: None };
        let traced = Cause { trace: Some(Box::new(trace)), ..untraced.clone() };
        for cause in [untraced, traced] {
            let parcel = Parcel { cause, ..parcel(Notification::Missed) };
            assert_eq!(Parcel::try_from(parcel_to_wire(3, &parcel)), Ok(parcel));
        }
    }

    #[test]
    fn a_trace_that_is_none_does_not_stop_its_parcel() {
        let good = wire::Trace { trace_high: 1, trace_low: 0, span: 1, state: String::new() };
        let without = parcel(Notification::Missed);
        let with = |trace| {
            let parcel = parcel_to_wire(3, &without);
            Parcel::try_from(wire::Parcel { trace: Some(Box::new(trace)), ..parcel }).unwrap()
        };
        assert!(with(good.clone()).cause.trace.is_some());
        assert_eq!(with(wire::Trace { trace_high: 0, ..good.clone() }), without);
        assert_eq!(with(wire::Trace { span: 0, ..good.clone() }), without);
        let long = with(wire::Trace { state: "x".repeat(TRACESTATE_LEN_MAX + 1), ..good });
        assert_eq!(&*long.cause.trace.unwrap().state, "");
    }

    #[test]
    fn a_malformed_parcel_is_refused_by_the_name_of_its_field() {
        let good = parcel_to_wire(1, &parcel(Notification::Update(update(None))));
        let with = |change: &dyn Fn(&mut wire::Update)| {
            let mut wire = wire::Update::from(&update(None));
            change(&mut wire);
            wire::Parcel { notification: Some(wire::parcel::Notification::Update(wire)), ..good.clone() }
        };
        for (parcel, error) in [
            (wire::Parcel { notification: None, ..good.clone() }, Malformed::Notification),
            (with(&|update| update.channel_id = Bytes::from_static(b"short")), Malformed::ChannelId(5)),
            (with(&|update| update.channel_id = Bytes::from_static(&[0; 17])), Malformed::ChannelId(17)),
            (with(&|update| update.version = Version::MAX + 1), Malformed::Version(Version::MAX + 1)),
        ] {
            assert_eq!(Parcel::try_from(parcel), Err(error));
        }
    }

    #[test]
    fn a_receipt_survives_the_wire() {
        for receipt in [Receipt::Delivered, Receipt::NotHere, Receipt::Busy] {
            let wire = receipt_to_wire(9, receipt);
            assert_eq!((wire.tag, Receipt::try_from(wire)), (9, Ok(receipt)));
        }
    }

    #[test]
    fn an_unknown_outcome_is_refused() {
        for outcome in [0, 4, -1] {
            let receipt = wire::Receipt { tag: 1, outcome };
            assert_eq!(Receipt::try_from(receipt), Err(Malformed::Outcome(outcome)));
        }
    }

    #[test]
    fn an_eviction_names_the_same_connection_on_both_sides() {
        let evicted = presence(1, 2);
        assert_eq!(Presence::from(wire::EvictRequest::from(evicted)), evicted);
    }
}
