//! Fuzz targets for requests to the admin listener, and for the messages of a hand-over.

pub use crate::{guard::fuzzing::admin_requests, hand_over::fuzzing::hand_over};

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_requests_to_the_admin_listener() {
        replay("admin_requests", super::admin_requests);
    }

    #[test]
    fn kept_hand_overs() {
        replay("hand_over", super::hand_over);
    }
}
