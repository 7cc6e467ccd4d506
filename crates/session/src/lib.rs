//! A client's conversation, without network, clock or store.
//!
//! ```text
//!   messages ───────▶ ┌─────────┐ ──▶ messages, close codes
//!   store outcomes ─▶ │ Session │ ──▶ one store step at a time
//!   notifications ──▶ │         │ ──▶ sockets to evict
//!   the clock ──────▶ └─────────┘ ──▶ the next deadline
//! ```
//!
//! [`Session::handle`] takes one [`Input`] and appends the [`Effect`]s that the connection has to carry out, in order. It
//! never waits and never fails.
//!
//! # Layout
//!
//! Each file uses only those above it in this list:
//!
//! * `api`: the words of the interface; `limits`: limits that are not settings; `parked`: a session at rest as data;
//! * `identity`: a UAID and its spelling; `seen`: which writes a socket knows of;
//! * `violation`: what a user agent can do wrong, and what follows from it;
//! * `message`: JSON in and out, below it what belongs to one dialect;
//! * `steps`: the queue of store steps; `table`: a table of channels; `silence`: keep-alive;
//! * `turn`: what a client needs to handle one input;
//! * `simplepush`, below it `channels`: a SimplePush client;
//! * `webpush`, below it `channels`, `progress` (what was sent and what follows) and `subscriptions` (to broadcasts): a Web
//!   Push client;
//! * `greeting`: the first hello, which chooses the dialect; `leaving`: what is done after the end;
//! * `budget`: how many requests are read; `peer`: who is at the other end;
//! * `session`: knows who is at the other end, passes on what comes in, and turns a violation into a reply and a close;
//! * `parking`: from a session at rest to data and back, so that another process can continue it.
//!
//! A client is a plain type whose methods take a `Turn`, and return a violation if a request breaks the rules. So each
//! dialect can be read and tested without the other and without a session.
//!
//! # Invariants
//!
//! **Steps.** At most one store step is under way. Others wait in the order of their requests, and
//! [`Session::takes_messages`] returns false while too many wait. Pings and `purge` are answered at once.
//!
//! **The table has what the user agent knows.** A channel enters the table with a hello or with a `register` reply of
//! status 200. It leaves with an `unregister` reply of status 200 or, in SimplePush, when a snapshot lacks it after an `unregister`
//! that failed. If the store has fewer for any other reason, it has lost some, and a SimplePush socket is closed. Nothing is
//! sent for a channel outside the table. While a channel's `register` is waiting or under way, a notification for it only
//! marks that request, and the store is re-read after the reply. While its `unregister` is waiting or under way,
//! notifications for it are dropped, and the store is re-read if the step fails.
//!
//! **An acknowledgement counts at once.** What a user agent has acknowledged is not sent again. If the store answered a
//! read before the step of an acknowledgement, the answer still has what the step removes, so waiting acknowledgements are
//! subtracted from it. If the step of an acknowledgement fails, SimplePush soon re-reads the store, and sends what is still
//! pending again; Web Push repeats the step until it succeeds (`limits::REPEAT_AFTER`, `limits::UNREMOVED_MAX`), and does
//! not send the message again meanwhile. In Web Push, nothing is remembered about a message once the step of its
//! acknowledgement has succeeded, so a notification that comes after that (late, or a second time) is sent once more.
//!
//! **Doubt is resolved by reading.** A step that failed may have been performed. After a failed `register`, every first
//! register of a channel on this socket is followed by a read, because the channel may have been stored, and written to,
//! before. A read that failed is repeated (`limits::REPEAT_AFTER`).
//!
//! **A write that does not come is missed.** A notification says which write was before it (`seen`). If that one has not come and
//! does not come meanwhile, the claim is verified (`limits::GAP_WAIT`), and the store is re-read. A notification counts as come
//! whatever becomes of it, because all that is dropped is superseded, not wanted, or read by the rules above. So the session knows
//! of every write up to `seen`, and of each later one there is a notification still to come, or a verification.
//!
//! **The end.** After [`Effect::Close`] nothing is sent, and only store outcomes have an effect. Requests that were
//! received are still performed, in order, except for reads; the first failure ends that. Then the UAID is released,
//! unless the session knows that it does not own it (it was evicted, or the store said so). [`Effect::End`] is the last
//! effect.
//!
//! ## SimplePush: sequences
//!
//! Every write to a client's record has a higher [`beckon_types::Sequence`] than the writes before it. For each channel
//! the session keeps the highest sequence that it knows to be sent or superseded (`known`):
//!
//! * A notification with a sequence up to `known` is dropped; any other is sent and becomes `known`. So notifications may
//!   come late, twice and in any order, and an older write never follows a newer one.
//! * A snapshot shows what is left of all writes up to its own sequence. It was taken some time ago, so for a channel it
//!   counts only if `known` is not above it. It then becomes `known`: notifications of writes that it includes are dropped,
//!   because what was left of those writes has been sent.
//! * If the store turns out to have gone back in time, its clock may be behind as well, so what it has left is the highest that
//!   `known` may be. It is re-read, because what was written since then may have been dropped.
//! * A channel that was just registered starts at the sequence of that step, so notifications for a former registration of
//!   the same channelID are dropped. Registering a channel that is in the table changes only its spelling: a notification
//!   of an earlier write may still be on its way and has to be sent.
//!
//! ## Web Push: the backlog and its batches
//!
//! The store is read by fetches: each returns a few stored messages behind a position. The session remembers every stored
//! message that it has sent and that is neither acknowledged nor unregistered (`sent`).
//!
//! * **Live.** A notification is sent at once, whatever is outstanding, unless it was sent already, is acknowledged, has
//!   expired, is less urgent than the user agent wants, or belongs to a former registration (`since`, as in SimplePush; at
//!   a hello it is the sequence of the claim, because what was stored before is in the backlog).
//! * **Batches.** Fetched messages are sent by the same rules. At most `batch_size` messages from the backlog are
//!   outstanding: sent, and neither acknowledged nor expired. Fetches continue until that many are, and then when none of
//!   them is any more. Fetched messages that are not sent do not count.
//! * **Starting over.** Anything that may have been passed over (a notification that was missed, or dropped during a step
//!   that failed; a less urgent message that is wanted now) is found at the beginning of the backlog. So the backlog is
//!   read again from there, as soon as a fetch under way is done and the batch has room. `sent` prevents that the user
//!   agent gets messages again.
//! * **At rest.** Nothing is remembered about messages that are not stored, and nothing at all once everything is
//!   acknowledged and the backlog has been read to its end.
//!
//! So at any moment, each stored message of a channel in the table was sent on this socket, or is below the wanted
//! urgency, or is behind the position where the backlog continues, or its notification (or the information that it was
//! missed, or the notification of a later write, which shows the gap) is still to come.

mod api;
mod budget;
mod doubt;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod greeting;
mod identity;
mod leaving;
mod limits;
mod message;
mod parked;
mod parking;
mod peer;
mod seen;
mod session;
mod silence;
mod simplepush;
mod steps;
mod table;
mod turn;
mod violation;
mod webpush;

pub use api::{
    Admission, BareHello, ClientReport, CloseCode, Context, Demand, Effect, Input, InvalidUaid, Outcome,
    Settings, Step,
};
pub use parked::{Damaged, Parked};
pub use session::Session;
