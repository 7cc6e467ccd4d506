//! What stands for the exporter in a program that was built without the feature `otlp`.

use super::{Record, Spans};
use beckon_ops::{clock::Clock, program::Build, stage::Stage};
use std::{convert::Infallible, str::FromStr};
use tokio::sync::mpsc;

/// Where a collector takes traces: this program knows none.
#[derive(Debug, Clone)]
pub enum OtlpEndpoint {}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Err("cannot be used, because this program was built without the feature otlp".to_owned())
    }
}

/// Takes spans to the collector, which does not exist.
#[derive(Debug)]
pub(crate) struct Exporter(Infallible);

impl Exporter {
    pub(crate) fn new(
        endpoint: &OtlpEndpoint,
        _: &Build,
        _: mpsc::Receiver<Record>,
        _: Spans,
        _: Clock,
    ) -> Self {
        match *endpoint {}
    }

    pub(crate) async fn run(self, _: Stage) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_cannot_be_used_is_an_error() {
        let error = "http://127.0.0.1:4317".parse::<OtlpEndpoint>().unwrap_err();
        assert!(error.contains("built without the feature otlp"), "{error}");
    }
}
