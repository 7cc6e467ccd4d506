//! The program `endpoint-node`.

use beckon_endpoint_node::{BUILD, config::Config};
use beckon_ops::{config::Source, program::About};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ABOUT: About = About {
    name: "endpoint-node",
    usage: "endpoint-node: accepts notifications from application servers\n\nUsage: endpoint-node [SETTINGS]\n",
    parts: Config::FIELDS,
    defaults: &[],
    build: BUILD,
};

fn main() -> ExitCode {
    let result = ABOUT.serve(Source::from_process, beckon_endpoint_node::serve);
    beckon_ops::exit::report(ABOUT.name, result)
}
