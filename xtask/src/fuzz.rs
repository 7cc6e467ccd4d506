//! `cargo xtask fuzz`: random input for every parser, and for the running programs.

use crate::{
    packages,
    run::{build, cargo, root, run, target},
    test,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What makes the compiler count how often each branch is taken and tell libFuzzer what is compared, as `cargo fuzz build
/// --sanitizer none` does. Sanitizers need another compiler, and find nothing in safe code.
const COVERAGE: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The longest input of a parser, in bytes. Longer ones take longer and find nothing more.
const INPUT_LEN_MAX: u64 = 4096;

/// The longest input that is kept, in bytes.
const KEPT_LEN_MAX: u64 = 512;

/// The longest time for one input, in seconds: a parser that takes longer has a bug.
const INPUT_SECONDS_MAX: u64 = 10;

/// The most memory of a target, in MB.
const MEMORY_MB_MAX: u64 = 2048;

/// How long each target runs if the command line does not say, in seconds.
const SECONDS: u64 = 60;

/// Lines of the log of a search that has found something.
const LINES_SHOWN: usize = 40;

/// How long strangers send in CI, in seconds, to each shape of the server, with TLS and without.
const STRANGERS_SECONDS_IN_CI: u64 = 15;

/// What is said on the command line.
#[derive(Debug, Default)]
struct Order<'a> {
    seconds: Option<u64>,
    runs: Option<u64>,
    seed: Option<u64>,
    /// Keep the inputs that reach something new.
    keep: bool,
    targets: Vec<&'a str>,
}

/// Runs `fuzz parsers` or `fuzz strangers`.
///
/// # Errors
/// Something was found, or does not build.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["parsers", rest @ ..] => parsers(&parse(rest)?),
        ["strangers", rest @ ..] => strangers(&parse(rest)?),
        _ => bail!("say what to fuzz: parsers or strangers"),
    }
}

/// Compiles the targets, without the counters, which takes the time of a build of all programs. Their inputs are replayed by
/// `cargo test`.
///
/// # Errors
/// A target does not compile, or `fuzz/Cargo.lock` is not up to date.
pub(crate) fn check() -> Result<()> {
    run(&mut cargo(&["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target"]))
}

/// The running programs, for a minute in all.
///
/// # Errors
/// Something was found, or does not build.
pub(crate) fn strangers_in_ci() -> Result<()> {
    strangers(&Order { seconds: Some(STRANGERS_SECONDS_IN_CI), ..Order::default() })
}

fn parse<'a>(arguments: &[&'a str]) -> Result<Order<'a>> {
    let mut order = Order::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || -> Result<Option<u64>> {
            let text = words.next().with_context(|| format!("{word} needs a number"))?;
            text.parse().map(Some).with_context(|| format!("{word} {text}"))
        };
        match *word {
            "--seconds" => order.seconds = number()?,
            "--runs" => order.runs = number()?,
            "--seed" => order.seed = number()?,
            "--keep" => order.keep = true,
            option if option.starts_with('-') => bail!("unknown option {option}"),
            target => order.targets.push(target),
        }
    }
    Ok(order)
}

/// Runs the targets of the order, or all, one after another. What they find is in `fuzz/artifacts`.
fn parsers(order: &Order<'_>) -> Result<()> {
    let all = targets()?;
    for target in &order.targets {
        ensure!(all.iter().any(|known| known == target), "{target} is none of {}", all.join(", "));
    }
    // Build scripts and macros are compiled without the flags only if a target is given.
    let mut build = cargo(&[
        "build",
        "--release",
        "--bins",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        "host-tuple",
    ]);
    run(build.arg("--target-dir").arg(folder()).env("RUSTFLAGS", COVERAGE.join(" ")))?;
    let mut failed = Vec::new();
    for target in &all {
        if !order.targets.is_empty() && !order.targets.contains(&target.as_str()) {
            continue;
        }
        if let Err(error) = search(target, order) {
            eprintln!("xtask: {error:#}");
            failed.push(target.as_str());
        }
    }
    ensure!(failed.is_empty(), "fuzzing has found something in {}", failed.join(", "));
    Ok(())
}

/// Where everything about fuzzing is built, and where its inputs are that are not kept.
fn folder() -> PathBuf {
    target().join("fuzz")
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The program of a target.
fn program(target: &str) -> Result<Command> {
    let built = fs::read_dir(folder())?.flatten().map(|entry| entry.path().join("release").join(target));
    let program = built.into_iter().find(|program| program.is_file());
    Ok(Command::new(program.with_context(|| format!("{target} was not built"))?))
}

/// Searches for inputs, from those that are kept and those of earlier runs, and shows how many were tried and what they have
/// reached.
fn search(target: &str, order: &Order<'_>) -> Result<()> {
    let (kept, found) = (kept(target), folder().join("inputs").join(target));
    let artifacts = root().join("fuzz/artifacts").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = program(target)?;
    command.args([&found, &kept]).args(order.runs.map(|runs| format!("-runs={runs}")));
    // Without a limit it would run forever.
    let seconds = order.seconds.or(order.runs.is_none().then_some(SECONDS));
    command.args(seconds.map(|seconds| format!("-max_total_time={seconds}")));
    command.args(order.seed.map(|seed| format!("-seed={seed}")));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_len={INPUT_LEN_MAX}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
    let log = folder().join(format!("{target}.log"));
    let found_one = run(command.stderr(fs::File::create(&log)?));
    let text = fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    if let Err(error) = found_one {
        // A line that the target prints may be long.
        let lines: Vec<String> =
            text.lines().rev().take(LINES_SHOWN).map(|line| line.chars().take(500).collect()).collect();
        bail!(
            "{error:#}; {} ends with\n{}",
            log.display(),
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    if let Some(summary) = text.lines().rfind(|line| line.contains("DONE")) {
        eprintln!("xtask: {target}: {summary}");
    }
    if order.keep { keep(target, &kept, &found) } else { Ok(()) }
}

fn kept(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// Adds to the kept inputs those that reach a branch that no kept one does.
fn keep(target: &str, kept: &Path, found: &Path) -> Result<()> {
    let mut command = program(target)?;
    // How often a branch is taken does not count.
    command.args(["-merge=1", "-use_counters=0", "-verbosity=0"]).arg(format!("-max_len={KEPT_LEN_MAX}"));
    run(command.args([kept, found]))
}

/// Lets strangers send to the running programs: tests whose length can be set.
fn strangers(order: &Order<'_>) -> Result<()> {
    ensure!(
        order.runs.is_none() && order.targets.is_empty() && !order.keep,
        "strangers take --seconds and --seed"
    );
    packages::install(packages::FOR_CARGO)?;
    build()?;
    // One after another, so that what is measured of one is not the doing of another.
    let mut command = test::command();
    command.args(["--test", "it", "--", "strangers::", "--test-threads=1", "--nocapture"]);
    command.env("BECKON_STRANGERS_SECONDS", order.seconds.unwrap_or(STRANGERS_SECONDS_IN_CI).to_string());
    run(command.env("BECKON_STRANGERS_SEED", order.seed.unwrap_or(1).to_string()))
}
