//! The gRPC contract between the tiers, and nothing else.
//!
//! * [`delivery`]: the contract in the types of the domain, and the trait that joins the tiers;
//! * [`admin`]: what operators ask of a node, in the types of the domain;
//! * [`channels`]: the connections to the other nodes, shared by all calls but the streams of notifications;
//! * [`push_v1`]: the generated code of `proto/push/v1/*.proto`. Only the gRPC modules of the nodes use wire types;
//! * [`convert`]: from the domain to the wire and back; a malformed message is refused by the name of the field;
//! * [`status`]: the one map between failures and gRPC statuses;
//! * [`target`]: which node a call is for, and which one answers;
//! * [`auth`]: the cluster secret, presented and required;
//! * [`server_stream`]: a connection that another node has made;
//! * [`tls`]: mutual TLS between the nodes, when configured;
//! * [`transport`]: the time limits and sizes that both ends of a connection agree on;
//! * [`worker_line`]: which worker of a node a connection is for.
//!
//! After a change to a `.proto` file, run `cargo run -p beckon-proto --example generate` to rewrite [`push_v1`]. A test
//! fails while the two differ.

#[cfg(all(feature = "next-format", not(debug_assertions)))]
compile_error!("the feature next-format is for tests only");

pub mod admin;
pub mod auth;
pub mod channels;
pub mod convert;
pub mod delivery;
mod error_chain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[expect(missing_docs, unused_qualifications, clippy::too_many_lines, clippy::large_enum_variant, reason = "generated; the .proto files have the comments")]
#[rustfmt::skip]
pub mod push_v1;
pub mod server_stream;
pub mod status;
pub mod target;
pub mod tls;
pub mod transport;
pub mod worker_line;
