//! When the programs of a fleet have found each other.

use crate::{requests::put_through, talk::new_channel, tls};
use beckon_testbed::{fleet::Fleet, until};
use std::thread;

/// Waits until a PUT to any node that takes PUTs reaches a client on any node that holds WebSockets.
pub(crate) fn wait_until_connected(fleet: &Fleet) {
    // In a thread of its own, because a test that waits here is in a runtime already.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(until_connected(fleet));
        });
        if let Err(panic) = waiting.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

async fn until_connected(fleet: &Fleet) {
    for node in fleet.connection_nodes() {
        let mut client = tls::client(&node.ws_url()).await;
        client.hello().await;
        let channel = new_channel();
        let endpoint = client.register(&channel).await;
        for endpoint_node in fleet.endpoint_nodes() {
            let what = format!("{} reaches {}", endpoint_node.name(), node.name());
            until(&what, async || (put_through(endpoint_node, &endpoint, 1).await == 200).then_some(()))
                .await;
        }
        client.leave().await;
    }
}
