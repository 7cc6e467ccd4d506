//! The node over real sockets: HTTP from application servers, a real Redis, and connection-nodes reduced to their real gRPC
//! service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancel;
mod certificates;
mod http_client;
mod messages;
mod node_server;
mod program;
mod streams;
mod test_node;
mod update;
mod vapid;
mod webpush;
