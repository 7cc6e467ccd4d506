//! Fuzz target for who may do what on the admin listener.

pub use crate::guard::fuzzing::admin_requests;

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_requests_to_the_admin_listener() {
        replay("admin_requests", super::admin_requests);
    }
}
