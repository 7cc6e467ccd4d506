//! Putting a node together, and taking it apart: what its parts are built on, and what outlives them.

use crate::{
    access::Access,
    admin::{Admin, Vitals},
    config::CommonSettings,
    drain::Drain,
    guard::Guard,
    hand_over::Offered,
    routes::Route,
    store_room::StoreRoom,
    trace::{self, Exporter, Tracer},
};
use beckon_listener::{port::Ports, settings::PortSettings, shares::Shares, tls::Certificates};
use beckon_ops::{
    clock::Clock, listener::Listener, program::Build, shutdown::Shutdown, stage::Stage, tenure::Tenure,
    workers::Workers,
};
use beckon_store::Store;
use hyper::{Response, body::Bytes};
use prometheus_client::registry::Registry;
use std::{sync::Arc, time::Duration};
use warp::{Filter, Rejection};

/// Time limit for the admin listener to answer what it has begun, at the very end.
const ADMIN_STOP: Duration = Duration::from_secs(1);

/// Time limit for the store to close.
const STORE_CLOSE: Duration = Duration::from_secs(3);

/// What carries a node in this process.
#[derive(Debug, Clone)]
pub struct Run {
    /// The end of the program.
    pub shutdown: Shutdown,
    /// The threads that serve.
    pub workers: Workers,
    /// The node's clock.
    pub clock: Clock,
    /// Whether this process serves.
    pub tenure: Tenure,
}

impl Run {
    /// A node that begins in this process, and serves.
    pub fn new(shutdown: Shutdown, workers: Workers) -> Self {
        Self { shutdown, workers, clock: Clock::start(), tenure: Tenure::new() }
    }

    /// A node that another process still serves.
    #[must_use]
    pub fn continuing(self, offered: &Offered) -> Self {
        Self { clock: offered.clock(), tenure: Tenure::frozen(), ..self }
    }
}

/// A node that is being put together: what its parts are built on.
#[derive(Debug)]
pub struct Assembly {
    /// The store, for what the node does once.
    pub store: Arc<dyn Store>,
    /// The store as each worker uses it, in the order of the workers.
    pub stores: Vec<Arc<dyn Store>>,
    /// The threads that serve.
    pub workers: Workers,
    /// The node's clock.
    pub clock: Clock,
    /// The end of the program.
    pub shutdown: Shutdown,
    /// Whether this process serves.
    pub tenure: Tenure,
    /// The drain of the node.
    pub drain: Drain,
    /// What the store has room for.
    pub room: Arc<StoreRoom>,
    /// Makes its public ports.
    pub ports: Ports,
    /// Traces single notifications.
    pub tracer: Tracer,
    exporter: Option<Exporter>,
    build: Build,
    metrics: Registry,
}

impl Assembly {
    /// A node without parts. Must be called inside a tokio runtime.
    pub fn new(
        build: Build,
        store: Arc<dyn Store>,
        run: Run,
        common: &CommonSettings,
        ports: &PortSettings,
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        let Run { shutdown, workers, clock, tenure } = run;
        let mut metrics = beckon_ops::metrics::registry(build.source, build.version, build.commit);
        metrics.sub_registry_with_prefix("beckon").register_collector(Box::new(workers.clone()));
        let stores = stores_of_workers(&store, &workers);
        // What a node does once is so little that it needs no links of its own.
        let store = stores.first().cloned().unwrap_or(store);
        let drain = Drain::new(&shutdown, common.drain_delay);
        let ports = Ports::new(ports, certificates, clock, metrics.sub_registry_with_prefix("beckon"));
        let room = Arc::new(StoreRoom::new(common.store_memory_high));
        room.register(metrics.sub_registry_with_prefix("beckon"));
        let registry = metrics.sub_registry_with_prefix("beckon");
        let (tracer, exporter) = trace::start(common, &build, clock, registry);
        Self {
            store,
            stores,
            workers,
            clock,
            shutdown,
            tenure,
            drain,
            room,
            ports,
            tracer,
            exporter,
            build,
            metrics,
        }
    }

    /// Where parts register their metrics: their names begin with `beckon_`.
    pub fn metrics(&mut self) -> &mut Registry {
        self.metrics.sub_registry_with_prefix("beckon")
    }

    /// A node that has all of its parts; `vitals` is their state, and `access` admits to the admin listener. From now on the
    /// store is vital.
    pub fn finish(mut self, vitals: Arc<dyn Vitals>, access: Access) -> Assembled {
        let (drain, clock) = (self.drain.clone(), self.clock);
        drain.register(self.metrics());
        let guard = Arc::new(Guard::new(access, clock, self.metrics()));
        let Self { store, shutdown, ports, build, metrics, room, tracer, exporter, .. } = self;
        let stage = Stage::new(&shutdown, "admin");
        stage.spawn_endless("store", store.ended());
        stage.spawn_endless("drain", drain.clone().keep());
        if let Some(exporter) = exporter {
            stage.spawn_vital("traces", exporter.run(stage.clone()));
        }
        stage.spawn_endless("store room", room.keep_current(store.clone()));
        let admin = Arc::new(Admin::new(vitals, drain.clone(), build, metrics, clock));
        Assembled { admin, guard, store, drain, shares: ports.shares().clone(), tracer, shutdown, stage }
    }
}

/// Most workers with links to the store of their own. Further workers share those of the first ones: the links of all nodes
/// to one primary are so few that its limit of clients (10 000 by default) suffices for large clusters.
const LINKED_WORKERS_MAX: usize = 3;

/// The store as each worker uses it, in the order of the workers.
fn stores_of_workers(store: &Arc<dyn Store>, workers: &Workers) -> Vec<Arc<dyn Store>> {
    let linked: Vec<_> = workers
        .iter()
        .take(LINKED_WORKERS_MAX)
        .map(|worker| store.clone().on_runtime(worker.runtime()))
        .collect();
    (0..usize::from(workers.count())).map(|index| linked[index % linked.len()].clone()).collect()
}

/// A node that was put together: what outlives its parts.
#[derive(Debug)]
pub struct Assembled {
    admin: Arc<Admin>,
    guard: Arc<Guard>,
    store: Arc<dyn Store>,
    drain: Drain,
    shares: Arc<Shares>,
    tracer: Tracer,
    shutdown: Shutdown,
    /// Stops after all others, so that operators can watch the drain.
    stage: Stage,
}

impl Assembled {
    /// Answers the health paths, also on the listeners of the parts.
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// Decides on every request to the admin listener.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(crate) fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Serves operators from now on, with further paths, which `routes` lists ([`Admin::serve_with`]).
    pub fn serve_admin_with<F>(&self, listener: Listener, paths: F, routes: &[&'static [Route]])
    where
        F: Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let (guard, stage) = (self.guard.clone(), self.stage.clone());
        let serving = self.admin.clone().serve_with(listener, guard, paths, routes.to_vec(), stage);
        self.stage.spawn_vital("admin listener", serving);
    }

    /// Ends the node when its parts have stopped: no more answers to operators, and the store closed.
    pub async fn close(self) {
        self.stage.stop(ADMIN_STOP).await;
        match self.shutdown.within(STORE_CLOSE, self.store.close()).await {
            Some(Ok(())) => tracing::info!("stopped"),
            Some(Err(error)) => tracing::warn!(%error, "could not close the store"),
            None => tracing::warn!("the store did not close in time"),
        }
    }
}
