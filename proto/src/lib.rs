//! What nodes say to each other, and nothing else: the contract between the tiers.
//!
//! * [`delivery`]: the words of the contract in the types of the domain, and the trait that joins the tiers;
//! * [`push_v1`]: the generated code of `proto/push/v1/delivery.proto`; wire types stop at the nodes' gRPC
//!   modules;
//! * [`convert`]: from the domain to the wire and back, refusing what is malformed by the name of its field;
//! * [`status`]: the only map between what goes wrong and a gRPC status;
//! * [`auth`]: the cluster secret, presented and required;
//! * [`tls`]: mutual TLS between the nodes, when configured;
//! * [`transport`]: time limits and sizes that both ends of a connection agree on.
//!
//! After a change of the `.proto` file, `cargo run -p beckon-proto --example generate` rewrites [`push_v1`]; a test
//! fails as long as the two differ.

pub mod auth;
pub mod convert;
pub mod delivery;
#[expect(missing_docs, unused_qualifications, clippy::too_many_lines, reason = "generated; the .proto file has the comments")]
#[rustfmt::skip]
pub mod push_v1;
pub mod status;
pub mod tls;
pub mod transport;
