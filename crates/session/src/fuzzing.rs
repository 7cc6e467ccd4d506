//! Fuzz targets for what a user agent sends, in a conversation with either dialect, and for parked sessions.

mod parked;
mod talk;

pub use parked::parked;
pub use talk::session;

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_conversations() {
        replay("session", super::session);
    }

    #[test]
    fn kept_parked_sessions() {
        replay("parked", super::parked);
    }
}
