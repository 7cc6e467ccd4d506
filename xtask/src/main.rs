//! Every routine task of this repository: `cargo xtask <task>`.
#![expect(clippy::print_stderr, reason = "a tool for people at a terminal")]

mod bench;
mod browser;
mod ci;
mod packages;
mod run;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  test [ARGS]      all tests; with ARGS only those in Rust, by `cargo test --workspace ARGS`
  browser [ARGS]   the tests with Firefox; ARGS go to `node --test`, like --test-name-pattern=killed
  ci               what has to hold before a change is merged: format, lints, documentation, dependencies, tests
  bench WHAT       measures memory, cost, latency and growth; without WHAT, tells what there is
  million          one million clients on this machine, or as many as --clients says
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", arguments @ ..] => test::test(arguments),
        ["browser", arguments @ ..] => browser::browser(arguments),
        ["ci"] => ci::ci(),
        ["bench", arguments @ ..] => bench::bench(arguments),
        ["million", arguments @ ..] => bench::million(arguments),
        [] | ["help" | "--help" | "-h"] => {
            eprint!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
