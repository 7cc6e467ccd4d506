//! What the `main` of every program does the same way.

pub use crate::{
    command_line::{About, Build},
    printable::printable,
    server_config::ServerConfig,
    stdout::print,
};

use crate::{
    config::{Digests, Source},
    exit::Failure,
    logging, process,
    reload::Reload,
    shutdown::{Shutdown, Signals},
    supervisor,
    workers::{self, Threads, Workers},
};

impl About {
    /// Does what the caller of a server asks for: answers a request, or reads the settings, starts logging and runs
    /// the server until SIGTERM or SIGINT. `read` returns the settings as they are when it is called. `run` runs on this
    /// thread, and what it starts on the [`Workers`] on theirs. It should stop when its [`Shutdown`] is requested; it is
    /// dropped [`HURRIED_END`](crate::shutdown::HURRIED_END) after a second signal.
    ///
    /// # Errors
    /// The settings are wrong, `run` has failed, or a vital task has.
    pub fn serve<C: ServerConfig>(
        &self,
        read: impl Fn() -> Source + Send + Sync + 'static,
        run: impl AsyncFnOnce(C, Shutdown, Workers, Reload) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        process::remember_program();
        let source = read();
        if let Some(request) = source.request() {
            return self.answer(request);
        }
        let in_use = Digests::of(&source, self.parts);
        let config = C::read(source)?;
        logging::init(config.log()).map_err(Failure::software)?;
        process::raise_open_files_max();
        let shutdown = Shutdown::new();
        let threads = Threads::start(config.threads(), &shutdown)?;
        let runtime = workers::runtime().map_err(Failure::unavailable)?;
        let result = runtime.block_on(async {
            let signals = Signals::catch().map_err(Failure::unavailable)?;
            let reload = Reload::new(self.parts, in_use, read);
            tokio::select! {
                result = run(config, shutdown.clone(), threads.workers().clone(), reload.clone()) => result?,
                () = shutdown.obey(signals, &reload) => {}
                () = supervisor::inform(&shutdown) => {}
            }
            shutdown.result()
        });
        // Whatever still runs has had its time.
        runtime.shutdown_background();
        result
    }
}
