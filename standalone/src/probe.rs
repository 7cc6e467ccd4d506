//! `beckon probe`: whether devices hear what they are sent, and how soon, as seen from outside.
//!
//! A device and a sender of its own use the service in the same way as all others, through whatever stands in front of it, in
//! both dialects, again and again. What they find are metrics, and alerts follow from those (docs/monitoring.md).

mod device;
mod metrics;
mod round;

use beckon_client::webpush::encryption::DeviceKeys;
use beckon_ops::{
    clock::Clock,
    config::Value as _,
    exit::Failure,
    listener,
    metrics::{CONTENT_TYPE, encode},
    program::{print, printable},
};
use beckon_types::Dialect;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use device::{Device, Language};
use futures_util::future::join_all;
use http::Uri;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use round::{Prober, Round};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use warp::{Filter as _, Reply as _, http::StatusCode};

/// The WebSocket URL of a server that runs with the default settings.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/";

/// Speak every dialect.
const BOTH: &str = "both";

/// `beckon probe`.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, default: &'static str| {
        Arg::new(name).long(name).value_name(value).default_value(default)
    };
    let url = Arg::new("url").value_name("URL").default_value(DEFAULT_URL).value_hint(ValueHint::Url);
    let endpoints = Arg::new("endpoint-url").long("endpoint-url").value_name("URL").value_parser(place);
    Command::new("probe")
        .about("Send to a device of its own again and again, and export whether that works")
        .arg(url.help("WebSocket URL of the service, ws:// or wss://"))
        .arg(endpoints.help("Where to send to, in place of where the endpoints say that they are"))
        .arg(
            option("dialect", "DIALECT", BOTH)
                .value_parser([BOTH, Dialect::SimplePush.name(), Dialect::WebPush.name()])
                .hide_possible_values(true)
                .help("Which protocols to speak: simplepush, webpush or both"),
        )
        .arg(
            option("interval", "TIME", "30s")
                .value_parser(positive)
                .help("From the beginning of a round to that of the next"),
        )
        .arg(option("timeout", "TIME", "10s").value_parser(positive).help("Time limit of a round"))
        .arg(
            option("listen", "ADDRESS", "127.0.0.1:8085")
                .value_parser(value_parser!(SocketAddr))
                .help("Where /metrics and /live are"),
        )
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Take one round, print what it has found, and end"),
        )
        .after_help(
            "A round: a device connects and says hello, or is connected still; it registers its channel; a sender sends to the \
             endpoint; the device hears what was sent, once. Runs until Ctrl-C or SIGTERM, and then gives its channels up. \
             Which round failed, and why, is printed on stderr.\n\n\
             Exit code: 0 done, 64 invalid arguments, 69 --listen cannot be bound or a round of --once has failed.",
        )
}

fn positive(text: &str) -> Result<Duration, String> {
    match Duration::parse(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        time => Ok(time),
    }
}

fn place(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    let is_usable = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.path(), "" | "/");
    if is_usable {
        Ok(uri)
    } else {
        Err("must be http:// or https:// with a host, and without a path".to_owned())
    }
}

/// The arguments of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arguments {
    url: String,
    endpoints_at: Option<Uri>,
    dialects: Vec<Dialect>,
    interval: Duration,
    timeout: Duration,
    listen: SocketAddr,
    once: bool,
}

impl Arguments {
    fn of(matches: &ArgMatches) -> Self {
        let time = |name| matches.get_one(name).copied().unwrap_or_default();
        let dialects = match matches.get_one::<String>("dialect").map(String::as_str) {
            Some(name) if name != BOTH => {
                Dialect::ALL.into_iter().filter(|dialect| dialect.name() == name).collect()
            }
            _ => Dialect::ALL.to_vec(),
        };
        Self {
            url: matches.get_one("url").cloned().unwrap_or_else(|| DEFAULT_URL.to_owned()),
            endpoints_at: matches.get_one("endpoint-url").cloned(),
            dialects,
            interval: time("interval"),
            timeout: time("timeout"),
            listen: matches.get_one("listen").copied().unwrap_or_else(|| ([127, 0, 0, 1], 8085).into()),
            once: matches.get_flag("once"),
        }
    }

    fn probers(&self) -> Result<Vec<Prober>, Failure> {
        let clock = Clock::start();
        let prober = |dialect: &Dialect| {
            let language = match dialect {
                Dialect::SimplePush => Language::SimplePush,
                Dialect::WebPush => {
                    Language::WebPush(Box::new(DeviceKeys::generate().map_err(Failure::software)?))
                }
            };
            let device = Device::new(&self.url, language);
            Ok(Prober::new(device, self.endpoints_at.clone(), self.timeout, clock))
        };
        self.dialects.iter().map(prober).collect()
    }
}

/// Runs `beckon probe`. Returns after one round if it was asked for that, and otherwise at Ctrl-C or SIGTERM.
///
/// # Errors
/// The port cannot be bound; or, with one round, a device did not hear what it was sent.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let arguments = Arguments::of(matches);
    let probers = arguments.probers()?;
    if arguments.once { once(probers).await } else { keep_probing(probers, &arguments).await }
}

/// Takes one round in each dialect and prints what it has found.
async fn once(probers: Vec<Prober>) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for mut prober in probers {
        let (dialect, round) = (prober.dialect().name(), prober.round().await);
        print(&format!("{dialect}: {}\n", line_of(&round)))?;
        failed.extend(round.failure.map(|_| dialect));
        leave(&mut prober).await;
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(Failure::unavailable(format!("{} failed", failed.join(" and ")))),
    }
}

/// What a round has found, in words.
fn line_of(round: &Round) -> String {
    let passed =
        round.took.iter().map(|(stage, us)| format!("{} {:.1} ms", stage.name(), *us as f64 / 1000.0));
    let failed =
        round.failure.iter().map(|(stage, error)| format!("{} failed: {}", stage.name(), printable(error)));
    passed.chain(failed).collect::<Vec<_>>().join(", ")
}

async fn keep_probing(probers: Vec<Prober>, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { dialects, interval, listen, .. } = arguments;
    let listener = listener::listen(*listen);
    let listener = listener.map_err(|error| Failure::unavailable(format!("--listen {listen}: {error}")))?;
    let address = listener.local_addr().map_err(Failure::unavailable)?;
    print(&format!("metrics http://{address}/metrics\n"))?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, dialects);
    let stopping = CancellationToken::new();
    let rounds = join_all(probers.into_iter().map(|prober| rounds(prober, *interval, &metrics, &stopping)));
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::software)?;
    let asked_to_stop = async {
        tokio::select! {
            _ = terminated.recv() => Ok(()),
            interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Failure::software),
        }
    };
    let stop = async {
        let asked = asked_to_stop.await;
        stopping.cancel();
        asked
    };
    tokio::select! {
        (_, asked) = async { tokio::join!(rounds, stop) } => asked,
        () = serve(listener, registry) => Ok(()),
    }
}

/// Takes rounds until that is enough. One that takes longer than the interval is not made up for.
async fn rounds(mut prober: Prober, every: Duration, metrics: &Metrics, stopping: &CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_well = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = prober.stay() => {}
            () = stopping.cancelled() => break,
        }
        let round = tokio::select! {
            round = prober.round() => round,
            () = stopping.cancelled() => break,
        };
        metrics.count(prober.dialect(), &round);
        // Every failure is worth a line, and so is its end.
        if round.failure.is_some() || !was_well {
            report(&format!("{}: {}", prober.dialect().name(), line_of(&round)));
        }
        was_well = round.failure.is_none();
    }
    leave(&mut prober).await;
}

async fn leave(prober: &mut Prober) {
    if let Err(error) = prober.leave().await {
        report(&format!("{}: the channel stays until its record expires: {error}", prober.dialect().name()));
    }
}

/// Answers to Prometheus.
async fn serve(listener: TcpListener, registry: Registry) {
    let registry = Arc::new(registry);
    let metrics = warp::path!("metrics").and(warp::get()).map(move || match encode(&registry) {
        Ok(text) => warp::reply::with_header(text, "content-type", CONTENT_TYPE).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    });
    let live = warp::path!("live").and(warp::get()).map(|| StatusCode::OK);
    warp::serve(metrics.or(live)).incoming(listener).run().await;
}

/// Says what happens, on stderr.
#[expect(clippy::print_stderr, reason = "a command for people; stdout says where the metrics are")]
fn report(text: &str) {
    eprintln!("beckon probe: {}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let matches = command().no_binary_name(true).try_get_matches_from(arguments);
        matches.map(|matches| Arguments::of(&matches)).map_err(|error| error.to_string())
    }

    #[test]
    fn all_arguments_are_optional() {
        let defaults = parse(&[]).unwrap();
        assert_eq!(defaults.url, DEFAULT_URL);
        assert_eq!(defaults.dialects, [Dialect::SimplePush, Dialect::WebPush]);
        assert_eq!([defaults.interval, defaults.timeout].map(|time| time.as_secs()), [30, 10]);
        let web_push = parse(&["wss://a/", "--dialect=webpush", "--endpoint-url", "https://b/"]).unwrap();
        assert_eq!((web_push.url.as_str(), web_push.dialects), ("wss://a/", vec![Dialect::WebPush]));
        assert!(web_push.endpoints_at.is_some());
        for invalid in [
            "--interval=0",
            "--timeout=1",
            "--dialect=x",
            "--listen=x",
            "--endpoint-url=ws://b/",
            "--endpoint-url=http://b/c",
        ] {
            assert!(parse(&[invalid]).is_err(), "{invalid}");
        }
    }
}
