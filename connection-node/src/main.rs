//! The program `connection-node`.

use beckon_connection_node::{BUILD, config::Config};
use beckon_ops::{config::Source, program::About};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ABOUT: About = About {
    name: "connection-node",
    usage: "connection-node: holds the WebSockets of user agents\n\nUsage: connection-node [SETTINGS]\n",
    parts: Config::FIELDS,
    defaults: &[],
    build: BUILD,
};

fn main() -> ExitCode {
    let result = ABOUT.serve(Source::from_process, beckon_connection_node::serve);
    beckon_ops::exit::report(ABOUT.name, result)
}
