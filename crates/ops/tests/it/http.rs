//! The HTTP server: its limits, and how it ends.

use beckon_ops::{
    http::{self, Limits},
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

fn start(limits: Limits) -> Server {
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
    let service = http::warp_service(infallible(answer));
    let workers = Workers::current();
    stage.spawn(http::serve(listener, workers, move |_| service.clone(), limits, stage.clone()));
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
    let server = start(Limits::default());
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
    let server = start(Limits::default());
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
    let server = start(Limits::default());
    let _busy = ask(&server).await;
    let drained = server.stage.stop(Duration::from_millis(50)).await;
    assert_eq!(drained, Stopped::CutShort { tasks: 1 });
    server.nudge.notify_one();
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_cut_off() {
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(limits);
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: te").await.unwrap();
    let mut idle = ask(&server).await;
    server.nudge.notify_one();
    answer(&mut idle).await;
    let said = rest(&mut slow).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    assert_eq!(rest(&mut idle).await, "");
    server.stage.stop(PATIENCE).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = start(Limits { connections_max: 1, ..Limits::default() });
    let mut first = ask(&server).await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    assert!(timeout(Duration::from_millis(100), server.asked.notified()).await.is_err(), "one at a time");
    server.nudge.notify_one();
    answer(&mut first).await;
    drop(first);
    timeout(PATIENCE, server.asked.notified()).await.unwrap();
    server.nudge.notify_one();
    assert!(answer(&mut second).await.starts_with(OK));
    drop(second);
    assert_eq!(server.stage.stop(PATIENCE).await, Stopped::Complete);
}

#[tokio::test]
async fn too_many_header_fields_are_refused() {
    let server = start(Limits::default());
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
    let limits = Limits { write_timeout: Duration::from_millis(200), ..Limits::default() };
    let workers = Workers::current();
    stage.spawn(http::serve(listener, workers, move |_| service.clone(), limits, stage.clone()));

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
    stage.spawn(http::serve(listener, workers, service, Limits::default(), stage.clone()));

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
