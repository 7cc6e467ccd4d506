//! The order of writes to one client's record.

/// The position of a write among all writes to one client's record, assigned by the store. It only grows for as long
/// as the record lives. A receiver that keeps the highest sequence it has seen of a channel therefore never sends an
/// older write after a newer one, whichever way the two took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);
