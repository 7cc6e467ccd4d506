//! Fuzz target for what one node sends to another.

use crate::{
    admin::{Answer, Question},
    auth::ClusterSecret,
    convert::{addressee, parcel_to_wire, receipt_to_wire},
    delivery::{Parcel, Receipt},
    push_v1 as wire,
};
use beckon_types::Presence;
use prost::Message as _;

/// A request with parcels, a receipt, an eviction, what operators ask and its answer, or the secrets of a cluster. Whatever is read, is read again when it is
/// written, and a parcel that cannot be read still says for which socket it is.
pub fn between_nodes(data: &[u8]) {
    if let Ok(request) = wire::DeliverRequest::decode(data) {
        request.parcels.into_iter().for_each(parcel);
    }
    if let Ok(message) = wire::Parcel::decode(data) {
        parcel(message);
    }
    if let Ok(message) = wire::Receipt::decode(data) {
        let tag = message.tag;
        if let Ok(receipt) = Receipt::try_from(message) {
            let again = receipt_to_wire(tag, receipt);
            assert_eq!((again.tag, Receipt::try_from(again)), (tag, Ok(receipt)));
        }
    }
    if let Ok(message) = wire::EvictRequest::decode(data) {
        let presence = Presence::from(message);
        assert_eq!(Presence::from(wire::EvictRequest::from(presence)), presence);
    }
    if let Ok(message) = wire::Question::decode(data)
        && let Ok(question) = Question::try_from(message)
    {
        assert_eq!(Question::try_from(wire::Question::from(question)), Ok(question));
    }
    if let Ok(message) = wire::Answer::decode(data)
        && let Ok(answer) = Answer::try_from(message)
    {
        // Not compared as they are: a figure that is not a number differs from itself.
        let again = Answer::try_from(wire::Answer::from(answer.clone())).expect("an answer is one again");
        assert_eq!(format!("{again:?}"), format!("{answer:?}"));
    }
    if let Ok(list) = str::from_utf8(data) {
        let secret = list.parse::<ClusterSecret>();
        assert!(secret.is_err() || list.is_empty() == secret.is_ok_and(|secret| secret.is_none()));
    }
}

fn parcel(message: wire::Parcel) {
    let (tag, to) = (message.tag, addressee(&message));
    let Ok(parcel) = Parcel::try_from(message) else { return };
    assert_eq!(parcel.to, to);
    let bytes = parcel_to_wire(tag, &parcel).encode_to_vec();
    let again = wire::Parcel::decode(&bytes[..]).expect("what was encoded can be decoded");
    assert_eq!(again.tag, tag);
    assert_eq!(Parcel::try_from(again), Ok(parcel));
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_messages_between_nodes() {
        replay("between_nodes", super::between_nodes);
    }
}
