//! Every routine task of this repository: `cargo xtask <task>`.
#![expect(clippy::print_stderr, reason = "a tool for people at a terminal")]

mod api;
mod bench;
mod browser;
mod ci;
mod deny;
mod deploy;
mod dist;
mod faults;
mod fuzz;
mod packages;
mod python;
mod run;
mod servers;
mod site;
mod templates;
mod test;
mod tool;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  test [ARGS]      all tests; with ARGS only the Rust ones: `cargo test --workspace ARGS`
  browser [ARGS]   the tests with Firefox; ARGS go to `node --test`, for example --test-name-pattern=killed
  deploy           builds the image and runs docker-compose.yml and the documents' commands, as root, without an engine
  deploy FILE...   runs the commands of these documents only, on this machine, as root
  templates [ARGS] the alerts, dashboards, manifests and templates of deploy/, as processes where they start any; ARGS go to
                   `python -m unittest`
  api [ARGS]       the descriptions in docs/api against a running server; ARGS go to `python -m unittest`
  faults [ARGS]    every fault on every topology of Redis; --topology NAME: one topology; --server NAME: with redis-server or
                   valkey-server of Debian 13; NAME: one fault
  soak             breaks a cluster in every known way at random, with books of every notification; --small is quicker
  fuzz parsers     random input for every parser, or for the named ones; --runs N, --seconds N, --seed N; --keep adds what
                   reaches further to fuzz/corpus
  fuzz strangers   strangers send anything to the running programs; --seconds N for each shape of the server, --seed N
  site             builds the documents' site into target/site/html, and checks every link in it
  dist             builds the programs and packs them into target/artefacts: archive, Debian package, SBOM, checksums
  sign FOLDER      writes the checksums of everything in a folder, and signs them with BECKON_SIGNING_KEY
  package          installs, starts, upgrades and removes the Debian package of `dist`, as root, in a Debian of its own
  ci               everything that has to pass before a change is merged
  bench WHAT       measures memory, cost, latency or growth; lists what it can measure if WHAT is missing
  rolling          restarts every node behind HAProxy, nginx and Caddy, and counts what is refused and lost; --small is quicker
  million          one million clients on this machine, or as many as --clients says
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", arguments @ ..] => test::test(arguments),
        ["browser", arguments @ ..] => browser::browser(arguments),
        ["deploy", documents @ ..] => deploy::deploy(documents),
        ["templates", arguments @ ..] => templates::templates(arguments),
        ["api", arguments @ ..] => api::api(arguments),
        ["faults", arguments @ ..] => faults::faults(arguments),
        ["soak", arguments @ ..] => bench::soak(arguments),
        ["fuzz", arguments @ ..] => fuzz::fuzz(arguments),
        ["site"] => site::site(),
        ["dist", arguments @ ..] => dist::dist(arguments),
        ["sign", folder] => dist::sign(folder),
        ["package", arguments @ ..] => deploy::package(arguments),
        ["ci"] => ci::ci(),
        ["bench", arguments @ ..] => bench::bench(arguments),
        ["rolling", arguments @ ..] => bench::rolling(arguments),
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
