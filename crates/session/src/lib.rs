//! A client's conversation, without network, clock or store.
//!
//! ```text
//!   socket frames ──▶ ┌─────────┐ ──▶ frames, close codes
//!   store outcomes ─▶ │ Session │ ──▶ one store step at a time
//!   deliveries ─────▶ │         │ ──▶ sockets to evict
//!   the clock ──────▶ └─────────┘ ──▶ the next deadline
//! ```
//!
//! [`session::Session::handle`] takes one [`session::Input`] and appends the [`session::Effect`]s that the
//! connection has to carry out, in order. It never waits and never fails.
//!
//! # Layout
//!
//! * [`session`]: the API and what both dialects share; below it `greeting` (hello and the choice of the
//!   dialect), `steps` (the queue of store steps), `ending` (closing, and what comes after), `timers`;
//! * `simplepush`: what a SimplePush user agent may ask for, and what it is sent; below it `channels`, the
//!   table of a connected client's channels;
//! * `message`: JSON in and out; `violation`: who is to blame, and the error reply for it; `limits`.
//!
//! # Invariants
//!
//! **Steps.** At most one store step is under way. Further ones wait in the order of their messages, and
//! `Session::takes_messages` turns false when too many do. Pings and `purge` never wait.
//!
//! **Sequences.** Every write to a client's record has a higher [`types::notification::Sequence`] than the
//! writes before it. For each channel the session keeps the highest sequence that it knows to be superseded
//! or sent (`known`):
//!
//! * A delivery with a sequence up to `known` is dropped; any other is sent and becomes `known`. So deliveries
//!   may come late, twice and in any order, and an older write never follows a newer one.
//! * A snapshot says what is left of all writes up to its own sequence. It was taken some time ago, so it
//!   counts for a channel only if `known` is not above it, and then becomes `known`: deliveries of the writes
//!   that it includes are dropped when they come, because what was left of them has been sent.
//! * A channel that was just registered starts at the sequence of that step, so that deliveries meant for a
//!   former registration of the same channelID are dropped. Registering a channel that is in the table changes
//!   its spelling only: a delivery of an earlier write may still be on its way, and has to be sent.
//!
//! **The table is what the user agent was told.** A channel enters it with a hello or with a `register` reply
//! of status 200, and leaves it with an `unregister` reply of status 200 or when a snapshot lacks it. Nothing
//! is sent for a channel outside the table. While a channel's `register` waits or is under way, a delivery for
//! it only marks that request, and a snapshot follows the reply. While its `unregister` does, a delivery is
//! dropped, and a snapshot follows if the step fails.
//!
//! **What was acknowledged is not sent again.** An acknowledgement counts from the moment it comes in. A
//! snapshot that was taken before the step of that acknowledgement still shows the update; the waiting
//! acknowledgements are laid over it. If the step of an acknowledgement fails, a later snapshot shows the
//! update as pending, and it is sent again.
//!
//! **A doubtful outcome is looked up.** A step that failed may have been performed. After a failed `register`,
//! every first register of a channel on this socket is followed by a snapshot, because the channel may have
//! been stored, and written to, before. After a failed snapshot another is taken
//! (`limits::LOOK_AGAIN_AFTER`).
//!
//! **The end.** After [`session::Effect::Close`] nothing is sent, and only store outcomes are looked at.
//! What was received is still performed, in order, except for reads; the first failure ends that. Then the
//! UAID is released, unless the session knows that it does not own it (evicted, or told so by the store), and
//! [`session::Effect::End`] is the last effect.

pub mod session;

mod limits;
mod message;
mod simplepush;
mod violation;
mod webpush;
