//! Fuzz targets for what operators ask, and for what other nodes answer.

pub use crate::{api::fuzzing::operator_requests, rates::fuzzing::node_statuses};

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_requests_of_operators() {
        replay("operator_requests", super::operator_requests);
    }

    #[test]
    fn kept_statuses_of_nodes() {
        replay("node_statuses", super::node_statuses);
    }
}
