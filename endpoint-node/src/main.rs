//! The program `endpoint-node`.

use beckon_endpoint_node::ABOUT;
use beckon_ops::config::Source;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = ABOUT.serve(Source::from_process, beckon_endpoint_node::serve);
    beckon_ops::exit::report(ABOUT.name, result)
}
