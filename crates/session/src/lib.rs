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

pub mod session;
