//! The Web Push dialect, from both ends.

pub mod message;
pub mod post;
