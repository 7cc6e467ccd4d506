//! Closing sockets so that their clients go elsewhere: all of them when the node drains, some when an operator sheds.
//!
//! | request to the admin listener | answer |
//! | --- | --- |
//! | `POST /shed?share=S`, S from 0 to 1 | 202, `{"sockets": N}`: so many are being closed |
//! | `POST /shed?count=N` | the same; all if there are fewer |
//!
//! 400 says what is wrong with the request, and 409 that the node drains or sheds already. Sockets are closed with 1001
//! at `drain_rate`; each is signalled once.

use crate::{mailbox::Mailbox, node::Node, pace::pace};
use beckon_node::{
    admin::{Admin, json},
    drain::Phase,
    routes::Route,
};
use beckon_ops::stage::Stage;
use beckon_proto::admin::Quantity;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use warp::{Filter, Rejection};

/// How long it takes to signal so many sockets.
pub(crate) fn closing_time(sockets: u64, rate: u32) -> Duration {
    Duration::from_secs(sockets / u64::from(rate.max(1)) + 1)
}

/// Closes the sockets whenever the node drains, until the drain is taken back. A socket that is upgraded meanwhile is
/// closed by the listener.
pub(crate) async fn close_sockets(node: Arc<Node>) {
    loop {
        node.drain.reached(Phase::Closing).await;
        let (sockets, rate) = (node.registry.open(), node.tunables().limits.drain_rate);
        tracing::info!(sockets, rate, "closing all sockets");
        tokio::select! {
            biased;
            () = node.drain.left(Phase::Closing) => {}
            () = pace(&node.clock, node.registry.all(), rate, Mailbox::signal_drain) => {
                node.drain.left(Phase::Closing).await;
            }
        }
    }
}

/// The quantity in a query.
fn quantity(query: &str) -> Option<Quantity> {
    match query.split_once('=')? {
        ("share", share) => Quantity::share(share.parse().ok()?),
        ("count", count) => Some(Quantity::Count(count.parse().ok()?)),
        _ => None,
    }
}

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It does not say how many sockets.
    #[error("say share=S, from 0 to 1, or count=N in the query")]
    Quantity,
    /// All sockets are being closed anyway.
    #[error("the node is draining")]
    Draining,
    /// One at a time.
    #[error("the node is shedding already")]
    Shedding,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Quantity => StatusCode::BAD_REQUEST,
            Self::Draining | Self::Shedding => StatusCode::CONFLICT,
        }
    }
}

/// The answer to a request that is done.
#[derive(Serialize)]
struct Shedding {
    sockets: usize,
}

/// Sheds the sockets of a node, for operators who ask it or another node.
#[derive(Debug)]
pub(crate) struct Shedder {
    node: Arc<Node>,
    stage: Stage,
    /// One shed at a time.
    permits: Arc<Semaphore>,
}

impl Shedder {
    /// Closes sockets of this node, in tasks of this stage.
    pub(crate) fn new(node: Arc<Node>, stage: Stage) -> Arc<Self> {
        Arc::new(Self { node, stage, permits: Arc::new(Semaphore::new(1)) })
    }

    /// Begins to close sockets, evenly chosen from all. Returns how many.
    pub(crate) fn shed(&self, quantity: Quantity) -> Result<usize, Refusal> {
        let node = &self.node;
        if node.drain.is_draining() {
            return Err(Refusal::Draining);
        }
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| Refusal::Shedding)?;
        let all = node.registry.all();
        let count = quantity.of(all.len());
        let chosen: Vec<_> = (0..count).map(|index| all[index * all.len() / count].clone()).collect();
        let rate = node.tunables().limits.drain_rate;
        tracing::info!(sockets = count, of = all.len(), rate, "shedding");
        let (node, handle) = (node.clone(), self.stage.clone());
        self.stage.spawn(async move {
            let _permit = permit;
            handle.run_until_stopping(pace(&node.clock, chosen, rate, Mailbox::signal_drain)).await;
        });
        Ok(count)
    }

    fn asked(&self, query: &str) -> Result<usize, Refusal> {
        self.shed(quantity(query).ok_or(Refusal::Quantity)?)
    }
}

/// What operators ask for here.
pub(crate) const ROUTE: Route = Route::new("POST", "/shed");

/// The path of the table, for [`Admin::serve_with`]. Everything else is rejected.
pub(crate) fn shed_path(
    shedder: Arc<Shedder>,
    admin: Arc<Admin>,
) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path!("shed").and(warp::post()).and(query).map(move |query: String| match shedder.asked(&query) {
        Ok(sockets) => json(StatusCode::ACCEPTED, &Shedding { sockets }),
        Err(refusal) => admin.error(refusal.status(), &refusal.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_share_or_a_number() {
        for (query, of_200) in [
            ("share=0", Some(0)),
            ("share=0.25", Some(50)),
            ("share=1", Some(200)),
            ("count=7", Some(7)),
            ("count=1000", Some(200)),
            ("share=1.1", None),
            ("share=-0.1", None),
            ("share=NaN", None),
            ("count=-1", None),
            ("count=", None),
            ("all", None),
            ("", None),
        ] {
            assert_eq!(quantity(query).map(|quantity| quantity.of(200)), of_200, "{query}");
        }
    }

    #[test]
    fn closing_takes_as_long_as_the_rate_says() {
        assert_eq!(closing_time(0, 1000), Duration::from_secs(1));
        assert_eq!(closing_time(1_000_000, 1000), Duration::from_secs(1001));
    }
}
