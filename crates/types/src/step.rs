//! The atomic steps that nodes ask of the store, and their outcomes.
//!
//! They are words of the domain because two crates that may not know each other share them: the session asks for a
//! step, the store performs it, and the node carries one to the other.
//!
//! * `hello`: claiming a UAID;
//! * `claim`: whether a socket still owns it;
//! * `channels`: what is registered;
//! * `versions`: SimplePush;
//! * `messages`: Web Push;
//! * `operators`: what operators see of a client and take from it;
//! * `records`: carrying clients from one store to another.

mod channels;
mod claim;
mod hello;
mod messages;
mod operators;
mod records;
mod versions;

pub use channels::{AddChannel, AddChannelOutcome, Channel, NotOwner, Snapshot};
pub use claim::{Claim, UNREGISTERED_LIFETIME};
pub use hello::{Hello, HelloOutcome, Listed};
pub use messages::{Backlog, Fetch, FindChannel, FindChannelOutcome, PutMessage, PutMessageOutcome};
pub use operators::{FoundClient, Revoke, Revoked};
pub use records::{ChannelRecord, ClientPage, ClientRecord, Cursor};
pub use versions::{Ack, PutVersion, PutVersionOutcome};
