//! The whole cluster, for its operators: on one page, and for scripts.
//!
//! ```text
//! browser ──HTTP──▶ any node ──gRPC──▶ connection-nodes
//!                             ◀─gRPC── endpoint-nodes, which attend at every connection-node
//! ```
//!
//! * `figures`: what a node says about itself, from its own metrics; `rates`: what follows from two readings;
//! * [`local`]: this node as it answers; `attending`: the nodes that cannot be called; `others`: the way to every node;
//! * [`service`]: what other nodes ask, over gRPC;
//! * `cluster`: one reading of all nodes for all who look;
//! * [`clients`]: what operators see of a client and do with it;
//! * `api`: what the page and scripts ask over HTTP, and `refusal`: why it is not done;
//! * `page`: the files of the page.
//!
//! [`Dashboard`] puts these together in a node.

mod api;
mod attending;
pub mod clients;
mod cluster;
mod figures;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod local;
mod others;
mod page;
mod rates;
mod refusal;
pub mod service;

use api::{Api, Asked};
use beckon_listener::port::Peer;
use beckon_node::routes::Route;
use beckon_ops::stage::Stage;
use beckon_proto::channels::Channels;
use beckon_store::Store;
use clients::{Clients, Identification};
use cluster::Cluster;
use hyper::{HeaderMap, Method, Response, body::Bytes};
use local::Local;
use others::Others;
use service::AdminService;
use std::{future, sync::Arc};
use warp::{Filter, Rejection, path::FullPath};

/// The part of a node that shows the cluster to its operators.
#[derive(Debug, Clone)]
pub struct Dashboard {
    api: Arc<Api>,
}

impl Dashboard {
    /// The routes of its API.
    pub const API: &[Route] = api::ROUTES;

    /// Those of its page.
    pub const PAGES: &[Route] = page::ROUTES;

    /// The dashboard of a node. `channels` lead to the other nodes; `stage` owns the task that closes them when no operator
    /// asks any more.
    pub fn new(
        local: Arc<Local>,
        store: Arc<dyn Store>,
        channels: Channels,
        identification: Identification,
        stage: &Stage,
    ) -> Self {
        let clock = local.clock();
        let others = Arc::new(Others::new(local, channels));
        let closing = others.clone();
        stage.spawn_endless("dashboard", async move { closing.close_idle().await });
        let cluster = Cluster::new(others.clone(), store.clone(), clock);
        let clients = Clients { identification, store: store.clone(), others: others.clone(), clock };
        Self { api: Arc::new(Api { cluster, others, store, clients }) }
    }

    /// What other nodes ask this one. Its streams end when `stage` is asked to stop.
    pub fn service(&self, stage: Stage) -> AdminService {
        AdminService::new(self.api.others.clone(), stage)
    }

    /// The page and the API, for [`beckon_node::assembly::Assembled::serve_admin_with`]. All other paths are rejected.
    pub fn paths(
        &self,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
    {
        let page = warp::method().and(warp::path::full()).and_then(|method: Method, path: FullPath| {
            future::ready(page::answer(&method, path.as_str()).ok_or_else(warp::reject::not_found))
        });
        let api = self.api.clone();
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let peer = warp::ext::optional::<Peer>();
        let answer = move |path: FullPath, method, query, headers: HeaderMap, peer, body| {
            let api = api.clone();
            async move {
                let asked = Asked { method, path: path.as_str().to_owned(), query, headers, peer };
                api.answer(asked, body).await
            }
        };
        let api = warp::path("api")
            .and(warp::path::full())
            .and(warp::method())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(peer)
            .and(warp::body::stream())
            .then(answer);
        page.or(api).unify()
    }
}
