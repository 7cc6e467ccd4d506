//! A version that adds to the contract, for the test of mixed versions: every other notification is of a kind that this version
//! does not know, every other receipt has an outcome that it does not know, and all have a field more.

use crate::push_v1::{self as wire, parcel::Notification};
use bytes::Bytes;

/// The outcome that this version does not know. It means [`wire::Outcome::Delivered`].
const OUTCOME_TAKEN: i32 = 1001;

/// A field that this version does not know.
pub(super) const NOTE: Bytes = Bytes::from_static(b"of the next version");

/// Writes a parcel as the next version does.
pub(super) fn parcel(mut parcel: wire::Parcel) -> wire::Parcel {
    if parcel.tag % 2 == 1 {
        match parcel.notification.take() {
            Some(Notification::Update(update)) => parcel.next_update = Some(update),
            Some(Notification::Message(message)) => parcel.next_message = Some(message),
            missed => parcel.notification = missed,
        }
    }
    parcel
}

/// Makes of a parcel of the next version one that this version reads.
pub(super) fn from_parcel(mut parcel: wire::Parcel) -> wire::Parcel {
    let update = parcel.next_update.take().map(Notification::Update);
    let message = parcel.next_message.take().map(Notification::Message);
    parcel.notification = update.or(message).or(parcel.notification);
    parcel
}

/// Writes a receipt as the next version does.
pub(super) fn receipt(mut receipt: wire::Receipt) -> wire::Receipt {
    if receipt.tag % 2 == 1 && receipt.outcome == i32::from(wire::Outcome::Delivered) {
        receipt.outcome = OUTCOME_TAKEN;
    }
    receipt
}

/// Makes of a receipt of the next version one that this version reads.
pub(super) fn from_receipt(mut receipt: wire::Receipt) -> wire::Receipt {
    if receipt.outcome == OUTCOME_TAKEN {
        receipt.outcome = wire::Outcome::Delivered.into();
    }
    receipt
}
