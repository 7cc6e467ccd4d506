//! The HTTP server: its limits, and how it ends.

use beckon_listener::{
    connections,
    gate::Gate,
    http::{self, Limits},
    port::Port,
};
use beckon_ops::{
    clock::Clock,
    listener,
    shutdown::Shutdown,
    stage::{Stage, Stopped},
    workers::{Threads, Worker, Workers},
};
use std::{convert::Infallible, net::SocketAddr, num::NonZero, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use warp::Filter;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// The beginning of an answer.
const OK: &str = "HTTP/1.1 200 OK\r\n";

/// A server whose answer waits for a nudge.
struct Server {
    address: SocketAddr,
    stage: Stage,
    asked: Arc<Notify>,
    nudge: Arc<Notify>,
}

/// The answer to a refused request is its text.
const GATE: Gate = Gate {
    is_health: |path| path == "/health",
    counts_requests: true,
    answer: |refusal| {
        let mut response = hyper::Response::new(refusal.text.into());
        *response.status_mut() = refusal.status;
        response
    },
};

const LIMITS: connections::Limits = connections::Limits {
    connections_max: 1000,
    source_opening_max: 1000,
    head_timeout: Duration::from_secs(75),
    idle_timeout: Duration::from_secs(75),
    handshakes: None,
};

fn start(limits: connections::Limits) -> Server {
    let (asked, nudge) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stage = Stage::new(&Shutdown::new(), "requests");
    let listener = listener::bind("http_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (told, wait) = (asked.clone(), nudge.clone());
    let answer = warp::any().then(move || {
        let (told, wait) = (told.clone(), wait.clone());
        async move {
            told.notify_one();
            wait.notified().await;
            "answered"
        }
    });
    fn infallible<F: Filter<Error = Infallible>>(filter: F) -> F {
        filter
    }
    let port = Port::internal("tested", limits, Clock::start());
    let service = http::warp_service(infallible(answer));
    let (workers, service) = (Workers::current(), move |_: &Worker| service.clone());
    stage.spawn(http::serve(port, listener, workers, service, GATE, Limits::DEFAULT, stage.clone()));
    Server { address, stage, asked, nudge }
}

/// Sends a request and waits until the server is working on it.
async fn ask(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    timeout(PATIENCE, server.asked.notified()).await.unwrap();
    stream
}

/// Reads one answer of [`start`]'s server.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("answered") {
        let mut buffer = [0; 1024];
        let len = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(len, 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
    }
    text
}

/// Waits until the server ends the connection; what it said before.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let server = start(LIMITS);
    let mut stream = ask(&server).await;
    for _ in 0..3 {
        server.nudge.notify_one();
        assert!(answer(&mut stream).await.starts_with(OK));
        stream.write_all(REQUEST).await.unwrap();
        timeout(PATIENCE, server.asked.notified()).await.unwrap();
    }
    server.nudge.notify_one();
    answer(&mut stream).await;
    assert_eq!(server.stage.stop(PATIENCE).await, Stopped::Complete);
}

#[tokio::test]
async fn a_drain_answers_requests_under_way_and_closes_idle_connections() {
    let server = start(LIMITS);
    let mut idle = ask(&server).await;
    server.nudge.notify_one();
    answer(&mut idle).await;
    let mut busy = ask(&server).await;

    let (drained, answered) = tokio::join!(server.stage.stop(PATIENCE), async {
        assert_eq!(rest(&mut idle).await, "");
        server.nudge.notify_one();
        answer(&mut busy).await
    });
    assert_eq!(drained, Stopped::Complete);
    assert!(answered.starts_with(OK) && answered.contains("\r\nconnection: close\r\n"), "{answered}");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut_short() {
    let server = start(LIMITS);
    let _busy = ask(&server).await;
    let drained = server.stage.stop(Duration::from_millis(500)).await;
    assert_eq!(drained, Stopped::CutShort { tasks: 1 });
    server.nudge.notify_one();
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_cut_off() {
    let limit = Duration::from_millis(100);
    let server = start(connections::Limits { head_timeout: limit, idle_timeout: limit, ..LIMITS });
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: te").await.unwrap();
    let mut idle = ask(&server).await;
    server.nudge.notify_one();
    answer(&mut idle).await;
    let mut slow_again = ask(&server).await;
    server.nudge.notify_one();
    answer(&mut slow_again).await;
    slow_again.write_all(b"GET / HTTP/1.1\r\nhost: te").await.unwrap();
    for stream in [&mut slow, &mut idle, &mut slow_again] {
        assert_eq!(rest(stream).await, "");
    }
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_makes_room() {
    let server = start(connections::Limits { connections_max: 2, ..LIMITS });
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut first = ask(&server).await;
    let mut second = ask(&server).await;
    assert_eq!(rest(&mut silent).await, "");
    server.nudge.notify_one();
    server.nudge.notify_one();
    answer(&mut first).await;
    server.nudge.notify_one();
    answer(&mut second).await;
    assert_eq!(server.stage.stop(PATIENCE).await, Stopped::Complete);
}

#[tokio::test]
async fn health_is_answered_when_all_connections_are_busy() {
    let server = start(connections::Limits { connections_max: 1, ..LIMITS });
    let mut busy = ask(&server).await;
    let mut other = TcpStream::connect(server.address).await.unwrap();
    other.write_all(REQUEST).await.unwrap();
    let refused = rest(&mut other).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\r\nretry-after: "), "{refused}");
    let mut health = TcpStream::connect(server.address).await.unwrap();
    health.write_all(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    timeout(PATIENCE, server.asked.notified()).await.unwrap();
    server.nudge.notify_one();
    server.nudge.notify_one();
    answer(&mut health).await;
    answer(&mut busy).await;
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_target_without_a_path_is_refused() {
    let server = start(LIMITS);
    for request in ["CONNECT example:443", "GET example:443", "CONNECT [::1]:443"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400"), "{request}");
    }
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_long_target_is_refused_with_a_body() {
    let server = start(LIMITS);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let path = "a".repeat(10_000);
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
    let refused = rest(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 414") && refused.ends_with("The URL is too long"), "{refused}");
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn too_many_header_fields_are_refused() {
    let server = start(LIMITS);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let fields = "a: b\r\n".repeat(65);
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: test\r\n{fields}\r\n").as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let stage = Stage::new(&Shutdown::new(), "requests");
    let listener = listener::bind("http_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let body = "x".repeat(64 * 1024 * 1024);
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    let service = http::warp_service(warp::any().then(move || {
        told.notify_one();
        std::future::ready(body.clone())
    }));
    let port = Port::internal("tested", LIMITS, Clock::start());
    let limits = Limits { write_timeout: Duration::from_millis(200) };
    let (workers, service) = (Workers::current(), move |_: &Worker| service.clone());
    stage.spawn(http::serve(port, listener, workers, service, GATE, limits, stage.clone()));

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    timeout(PATIENCE, asked.notified()).await.unwrap();
    // The server is at work until it gives up on us, who have not read a byte.
    assert_eq!(stage.stop(PATIENCE).await, Stopped::Complete);
    let mut received = Vec::new();
    let _reset = stream.read_to_end(&mut received).await;
    assert!(received.len() < 64 * 1024 * 1024, "the answer was cut off");
}

#[tokio::test]
async fn connections_are_spread_evenly_over_the_workers_and_stay_there() {
    const WORKERS: u8 = 3;
    let shutdown = Shutdown::new();
    let stage = Stage::new(&shutdown, "requests");
    let listener = listener::bind("http_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let threads = Threads::start(NonZero::new(WORKERS), &shutdown).unwrap();
    let service = |worker: &Worker| {
        let index = worker.index();
        let answer = warp::any().map(move || {
            let thread = std::thread::current().name().map(str::to_owned);
            assert_eq!(thread, Some(format!("worker-{index}")));
            index.to_string()
        });
        http::warp_service(answer)
    };
    let workers = threads.workers().clone();
    let port = Port::internal("tested", LIMITS, Clock::start());
    stage.spawn(http::serve(port, listener, workers, service, GATE, Limits::DEFAULT, stage.clone()));

    let mut streams = Vec::new();
    for _ in 0..WORKERS * 4 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..2 {
        let mut counts = [0; WORKERS as usize];
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(REQUEST).await.unwrap();
            let mut answer = String::new();
            while !answer.contains("\r\n\r\n") || answer.ends_with("\r\n\r\n") {
                let mut bytes = [0; 512];
                let length = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
                assert!(length > 0, "{answer}");
                answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            }
            let worker: usize = answer[answer.len() - 1..].parse().unwrap();
            assert_eq!(worker, number % usize::from(WORKERS), "in turn, and the same as before");
            counts[worker] += 1;
        }
        assert_eq!(counts, [4; WORKERS as usize]);
    }
    assert_eq!(stage.stop(PATIENCE).await, Stopped::Complete);
}
