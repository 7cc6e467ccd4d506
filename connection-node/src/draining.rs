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
};
use beckon_ops::stage::Stage;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::ALLOW};
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

/// How many sockets to close.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quantity {
    /// Of those that are open.
    Share(f64),
    Count(usize),
}

impl Quantity {
    fn parse(query: &str) -> Option<Self> {
        match query.split_once('=')? {
            ("share", share) => {
                let share = share.parse().ok()?;
                (0.0..=1.0).contains(&share).then_some(Self::Share(share))
            }
            ("count", count) => Some(Self::Count(count.parse().ok()?)),
            _ => None,
        }
    }

    fn of(self, open: usize) -> usize {
        match self {
            Self::Share(share) => (open as f64 * share).round() as usize,
            Self::Count(count) => count.min(open),
        }
    }
}

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only POST is answered here")]
    Method,
    #[error("say share=S, from 0 to 1, or count=N in the query")]
    Quantity,
    #[error("the node is draining")]
    Draining,
    #[error("the node is shedding already")]
    Shedding,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
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

/// The path of the table, for [`Admin::serve_with`]. Everything else is rejected.
pub(crate) fn shed_path(
    node: Arc<Node>,
    admin: Arc<Admin>,
    stage: Stage,
) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
    let permits = Arc::new(Semaphore::new(1));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path!("shed").and(warp::method()).and(query).map(move |method, query: String| {
        let refusal = match shed(&node, &stage, &permits, &method, &query) {
            Ok(sockets) => return json(StatusCode::ACCEPTED, &Shedding { sockets }),
            Err(refusal) => refusal,
        };
        let mut response = admin.error(refusal.status(), &refusal.to_string());
        if let Refusal::Method = refusal {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    })
}

/// Begins to close sockets, evenly chosen from all. Returns how many.
fn shed(
    node: &Arc<Node>,
    stage: &Stage,
    permits: &Arc<Semaphore>,
    method: &Method,
    query: &str,
) -> Result<usize, Refusal> {
    if method != Method::POST {
        return Err(Refusal::Method);
    }
    let quantity = Quantity::parse(query).ok_or(Refusal::Quantity)?;
    if node.drain.is_draining() {
        return Err(Refusal::Draining);
    }
    let permit = permits.clone().try_acquire_owned().map_err(|_| Refusal::Shedding)?;
    let all = node.registry.all();
    let count = quantity.of(all.len());
    let chosen: Vec<_> = (0..count).map(|index| all[index * all.len() / count].clone()).collect();
    let rate = node.tunables().limits.drain_rate;
    tracing::info!(sockets = count, of = all.len(), rate, "shedding");
    let (node, handle) = (node.clone(), stage.clone());
    stage.spawn(async move {
        let _permit = permit;
        handle.run_until_stopping(pace(&node.clock, chosen, rate, Mailbox::signal_drain)).await;
    });
    Ok(count)
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
            assert_eq!(Quantity::parse(query).map(|quantity| quantity.of(200)), of_200, "{query}");
        }
    }

    #[test]
    fn closing_takes_as_long_as_the_rate_says() {
        assert_eq!(closing_time(0, 1000), Duration::from_secs(1));
        assert_eq!(closing_time(1_000_000, 1000), Duration::from_secs(1001));
    }
}
