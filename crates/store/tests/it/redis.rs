//! The suite on Redis, and what only Redis has.

use std::sync::Arc;
use store::{
    Store,
    conformance::{Fixture, run_all},
    harness::{RedisCluster, RedisServer},
    redis::{Limits, connect},
};

async fn single() -> Fixture {
    let server = RedisServer::start();
    let store = connect(&server.url(), Limits::default()).await.unwrap();
    Fixture { store: Arc::new(store), holds: Box::new(server) }
}

mod conformance {
    store::conformance_suite!(super::single);
}

#[tokio::test]
async fn a_cluster_of_three_masters_passes_the_suite() {
    let cluster = RedisCluster::start(3);
    let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), Limits::default()).await.unwrap());
    run_all(&store).await;
}
