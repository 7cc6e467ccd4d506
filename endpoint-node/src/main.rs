//! The endpoint-node of a cluster: settings, ports, store, run.

use beckon_endpoint_node::{BUILD, Listeners, config::Config};
use beckon_ops::{config::Source, exit::Failure, program::About, shutdown::Shutdown};
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
    beckon_ops::exit::report(ABOUT.name, start(Source::from_process()))
}

fn start(source: Source) -> Result<(), Failure> {
    if let Some(request) = source.request() {
        return ABOUT.answer(request);
    }
    let config = Config::read(source).map_err(Failure::usage)?;
    beckon_ops::logging::init(&config.log).map_err(Failure::software)?;
    beckon_ops::process::raise_open_files_max();
    beckon_ops::program::runtime()?.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signal().map_err(Failure::unavailable)?;
        let Some(store) = beckon_endpoint_node::open_store(&config, &shutdown).await? else { return Ok(()) };
        // Bound when there is something behind the ports: until then load balancers are refused, not kept waiting.
        let listeners = Listeners::bind(&config)?;
        beckon_endpoint_node::run(config, listeners, store, shutdown).await;
        Ok(())
    })
}
