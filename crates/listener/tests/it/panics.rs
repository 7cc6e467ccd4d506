//! A server whose service panics.

use beckon_listener::{
    gate::Gate,
    http::{self, Limits},
    port::Ports,
    settings::PortSettings,
};
use beckon_ops::{
    clock::Clock,
    config::Source,
    listener,
    logging::{self, LogSettings},
    metrics,
    shutdown::Shutdown,
    stage::Stage,
    workers::{Worker, Workers},
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use warp::Filter;

/// Makes the test below the server, in a process of its own: the log and the count of panics are those of a process.
const CHILD: &str = "BECKON_LISTENER_TESTS_CHILD";

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

const GATE: Gate = Gate {
    is_health: |_| false,
    counts_requests: false,
    answer: |refusal| {
        let mut response = hyper::Response::new(refusal.text.into());
        *response.status_mut() = refusal.status;
        response
    },
};

#[test]
fn a_panic_in_a_service_is_answered_with_500_and_the_process_serves_on() {
    if std::env::var_os(CHILD).is_some() {
        return serve();
    }
    let server = Server::start();
    // A connection that is open already, and one in whose request the service panics.
    let mut other = server.connect();
    assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200 "));
    for path in ["/panic", "/panic-later"] {
        let mut stream = server.connect();
        let head = ask(&mut stream, path);
        assert!(
            head.starts_with("HTTP/1.1 500 ") && head.contains("connection: close\r\n"),
            "{path}: {head}"
        );
        let mut body = String::new();
        stream.read_to_string(&mut body).unwrap();
        assert_eq!(body, "The server has failed");
    }
    assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200 "), "on the connection that was open");
    let mut scrape = server.connect();
    ask(&mut scrape, "/metrics");
    let mut metrics = String::new();
    scrape.read_to_string(&mut metrics).unwrap();
    for line in ["port_refused_total{port=\"tested\",reason=\"panic\"} 2", "beckon_panics_total 2"] {
        assert!(metrics.lines().any(|candidate| candidate == line), "{line} is not in\n{metrics}");
    }
}

/// The process that serves. It is killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let name = "panics::a_panic_in_a_service_is_answered_with_500_and_the_process_serves_on";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env_clear()
            .env(CHILD, "")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| line.parse().ok());
        let address = addresses.next().expect("the server prints its address");
        Self { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a request and returns the head of the answer.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    let close = if path == "/metrics" { "connection: close\r\n" } else { "" };
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n{close}\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Serves until the process is killed.
#[expect(clippy::print_stdout, reason = "the parent reads the address")]
fn serve() {
    let mut source = Source::new(["--log-format=json"], [("", ""); 0]);
    let log = LogSettings::read(&mut source);
    let settings = PortSettings::read(&mut source);
    let (log, settings) = source.finish(log.zip(settings)).unwrap();
    logging::init(&log).unwrap();
    let mut registry = metrics::registry("test", "", "");
    let ports = Ports::new(&settings, None, Clock::start(), &mut registry);
    let port = ports.open("tested", 1000, PATIENCE, false);
    let registry = Arc::new(registry);
    let service = http::warp_service(warp::path::full().then(move |path: warp::path::FullPath| {
        let registry = registry.clone();
        async move { answer(path.as_str(), &registry).await }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stage = Stage::new(&Shutdown::new(), "requests");
        let listener = listener::bind("http_listen", ([127, 0, 0, 1], 0).into()).unwrap();
        println!("\n{}", listener.local_addr().unwrap());
        let service = move |_: &Worker| service.clone();
        http::serve(port, listener, Workers::current(), service, GATE, Limits::DEFAULT, stage).await;
    });
}

async fn answer(path: &str, registry: &prometheus_client::registry::Registry) -> String {
    if path == "/panic-later" {
        tokio::task::yield_now().await;
    }
    assert!(!path.starts_with("/panic"), "a bug");
    match path {
        "/metrics" => metrics::encode(registry).unwrap(),
        _ => String::new(),
    }
}
