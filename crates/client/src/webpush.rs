//! The Web Push dialect, from both ends.

pub mod device;
pub mod encryption;
pub mod message;
pub mod post;
