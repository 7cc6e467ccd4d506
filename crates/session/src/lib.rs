//! A client's conversation, without network, clock or store.
//!
//! ```text
//!   socket frames ──▶ ┌─────────┐ ──▶ frames, close codes
//!   store outcomes ─▶ │ Session │ ──▶ one store step at a time
//!   deliveries ─────▶ │         │ ──▶ sockets to evict
//!   the clock ──────▶ └─────────┘ ──▶ the next deadline
//! ```
//!
//! [`Session::handle`] takes one [`Input`] and appends the [`Effect`]s that the
//! connection has to carry out, in order. It never waits and never fails.
//!
//! # Layout
//!
//! * [`session`]: the API and what both dialects share; below it `greeting` (the first hello and the choice of the
//!   dialect), `registering` (channels come and go), `steps` (the queue of store steps), `ending` (closing, and
//!   what comes after), `timers`, and the words of the API;
//! * `simplepush`: what a SimplePush user agent may ask for, and what it is sent; below it `channels`, the
//!   table of a connected client's channels;
//! * `webpush`: the same for Web Push; below it `channels`, `progress` (what was sent and what follows) and
//!   `subscriptions` (to broadcasts);
//! * `message`: JSON in and out, below it what only one dialect says; `violation`: who is to blame, and the error
//!   reply for it; `limits`.
//!
//! # Invariants
//!
//! **Steps.** At most one store step is under way. Further ones wait in the order of their messages, and
//! `Session::takes_messages` turns false when too many do. Pings and `purge` never wait.
//!
//! **The table is what the user agent was told.** A channel enters it with a hello or with a `register` reply
//! of status 200, and leaves it with an `unregister` reply of status 200 or, in SimplePush, when a snapshot lacks it. Nothing
//! is sent for a channel outside the table. While a channel's `register` waits or is under way, a delivery for
//! it only marks that request, and a look into the store follows the reply. While its `unregister` does, a
//! delivery is dropped, and a look follows if the step fails.
//!
//! **What was acknowledged is not sent again.** An acknowledgement counts from the moment it comes in. An answer of
//! the store that was given before the step of that acknowledgement still shows what it removes; the waiting
//! acknowledgements are laid over it. If the step of an acknowledgement fails, a later look shows the update or
//! message as pending, and it is sent again; in SimplePush that look is taken soon, in Web Push the next hello is
//! waited for, unless there is another reason to look. In Web Push there is one more exception, since nothing is kept
//! of a message once the step of its acknowledgement has begun: a delivery that comes after that (late, or a second
//! time) is sent once more.
//!
//! **A doubtful outcome is looked up.** A step that failed may have been performed. After a failed `register`,
//! every first register of a channel on this socket is followed by a look, because the channel may have
//! been stored, and written to, before. After a failed look another is taken
//! (`limits::LOOK_AGAIN_AFTER`).
//!
//! **The end.** After [`Effect::Close`] nothing is sent, and only store outcomes are looked at.
//! What was received is still performed, in order, except for reads; the first failure ends that. Then the
//! UAID is released, unless the session knows that it does not own it (evicted, or told so by the store), and
//! [`Effect::End`] is the last effect.
//!
//! ## SimplePush: sequences
//!
//! Every write to a client's record has a higher [`beckon_types::Sequence`] than the
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
//! ## Web Push: the backlog and its batches
//!
//! A look into the store is a fetch: the stored messages behind a position, a few at a time. The session keeps a note
//! of every stored message that it has sent and that is neither acknowledged nor unregistered (`sent`).
//!
//! * **Live.** A delivery is sent at once, whatever is outstanding, unless it was sent already, is acknowledged, is
//!   less urgent than the user agent wants, or is for a former registration (`since`, as in SimplePush; at a hello
//!   it is the sequence of the claim, because what was stored before is in the backlog).
//! * **Batches.** What a fetch brings is sent by the same rules. At most `batch_size` messages that came out of the
//!   backlog are outstanding: sent, and neither acknowledged nor expired. Fetches go on until there are so many, and
//!   then again when none of them is outstanding any more. What a fetch brings and is not sent does not count.
//! * **Starting over.** Whatever may have been passed over (a delivery that was missed or dropped for a step that
//!   failed, a less urgent message that is wanted now) is behind the beginning of the backlog, so the backlog is read
//!   again from there, as soon as a fetch under way is done and there is room in the batch. `sent` keeps what the user
//!   agent has from being sent again.
//! * **At rest.** Nothing is kept of a message that is not stored, and nothing is kept at all once all is
//!   acknowledged and the backlog is at its end.
//!
//! So at any moment each stored message of a channel in the table either was sent on this socket, or is below the
//! urgency that is wanted, or is behind the position where the backlog goes on, or its delivery (or word that it was
//! missed) is still to come.

mod api;
mod limits;
mod message;
mod session;
mod simplepush;
mod violation;
mod webpush;

pub use api::{
    Admission, BareHello, ClientReport, CloseCode, Context, Effect, Input, InvalidUaid, Outcome, Settings,
    Step,
};
pub use session::Session;
