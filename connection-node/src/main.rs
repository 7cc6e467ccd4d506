//! The program `connection-node`.

use beckon_connection_node::ABOUT;
use beckon_ops::config::Source;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = ABOUT.serve(Source::from_process, beckon_connection_node::serve);
    beckon_ops::exit::report(ABOUT.name, result)
}
