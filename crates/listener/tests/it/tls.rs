//! A port with TLS, and clients that speak it, or do not.

use beckon_listener::{
    gate::Gate,
    http::{self, Limits},
    port::{self, Ports},
    settings::PortSettings,
    stream::Stream,
    tls::Certificates,
};
use beckon_ops::{
    clock::Clock,
    config::Source,
    listener,
    shutdown::Shutdown,
    stage::Stage,
    workers::{Worker, Workers},
};
use beckon_testbed::certificates::{Certificates as Made, Key};
use prometheus_client::{encoding::text::encode, registry::Registry};
use std::{io::Write as _, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};
use warp::Filter;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

const GATE: Gate = Gate {
    is_health: |_| false,
    counts_requests: false,
    answer: |refusal| hyper::Response::new(refusal.text.into()),
};

/// A server that sends bodies back.
struct Server {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    registry: Registry,
    _stage: Stage,
}

impl Server {
    fn start(settings: &[(&str, &str)], pairs: &[(&Path, &Path)]) -> Self {
        let list = |paths: Vec<&Path>| {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        };
        let (certificates, keys) = pairs.iter().copied().unzip();
        let (certificates, keys) = (list(certificates), list(keys));
        let files = [("BECKON_TLS_CERT", certificates.as_str()), ("BECKON_TLS_KEY", keys.as_str())];
        let mut source = Source::new([""; 0], files.iter().chain(settings).copied());
        let settings = PortSettings::read(&mut source);
        let certificates = settings.as_ref().and_then(|settings| settings.certificates(&mut source));
        let settings = source.finish(settings).unwrap();
        let mut registry = Registry::default();
        let ports = Ports::new(&settings, certificates.clone(), Clock::start(), &mut registry);
        let port = ports.open("tested", 1000, PATIENCE, false);
        let stage = Stage::new(&Shutdown::new(), "requests");
        let listener = listener::bind("http_listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let echo = warp::body::bytes().map(|body: bytes::Bytes| body.to_vec());
        let echo = echo.or(warp::any().map(Vec::new)).unify();
        let service = http::warp_service(echo);
        let (workers, service) = (Workers::current(), move |_: &Worker| service.clone());
        stage.spawn(http::serve(port, listener, workers, service, GATE, Limits::DEFAULT, stage.clone()));
        Self { address, certificates: certificates.unwrap(), registry, _stage: stage }
    }

    fn with(made: &Made, settings: &[(&str, &str)]) -> Self {
        Self::start(settings, &[(&made.certificate(), &made.key())])
    }

    async fn connect(&self, client: &TlsConnector, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        timeout(PATIENCE, client.connect(ServerName::try_from(name.to_owned()).unwrap(), tcp)).await?
    }

    /// Waits until a metric has this value; 0 also if there is none.
    async fn measures(&self, metric: &str, expected: u64) {
        beckon_testbed::until(&format!("{metric} is {expected}"), async || {
            let mut text = String::new();
            encode(&mut text, &self.registry).unwrap();
            let value = text.lines().find_map(|line| line.strip_prefix(metric)).map_or("0", str::trim);
            (value == expected.to_string()).then_some(())
        })
        .await;
    }
}

fn config(made: &Made, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(made.authority()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(made: &Made) -> TlsConnector {
    TlsConnector::from(Arc::new(config(made, &[&TLS12, &TLS13])))
}

/// Sends a body and returns the one that comes back.
async fn echo(stream: &mut TlsStream<TcpStream>, body: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), body].concat();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let answer = async {
        let mut bytes = Vec::new();
        loop {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end.filter(|end| bytes.len() == end + 4 + body.len()) {
                return bytes.split_off(end + 4);
            }
            let mut part = [0; 7000];
            let count = reader.read(&mut part).await.unwrap();
            assert_ne!(count, 0, "the connection ended after {} bytes", bytes.len());
            bytes.extend_from_slice(&part[..count]);
        }
    };
    let send = async {
        writer.write_all(&request).await.unwrap();
        writer.flush().await.unwrap();
    };
    timeout(PATIENCE, async { tokio::join!(answer, send).0 }).await.unwrap()
}

#[tokio::test]
async fn both_versions_carry_requests_of_all_sizes_and_sessions_are_resumed() {
    let made = Made::make();
    let server = Server::with(&made, &[]);
    for (version, number, label) in
        [(&TLS12, ProtocolVersion::TLSv1_2, "1.2"), (&TLS13, ProtocolVersion::TLSv1_3, "1.3")]
    {
        let mut config = config(&made, &[version]);
        config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        let client = TlsConnector::from(Arc::new(config));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = server.connect(&client, "localhost").await.unwrap();
            for len in [0, 1, 5000, 16_384, 16_385, 1_000_000] {
                let body: Vec<u8> = (0..len).map(|index: u32| (index % 251) as u8).collect();
                assert!(echo(&mut stream, &body).await == body, "{label} {kind:?} {len}");
            }
            let agreed = stream.get_ref().1;
            assert_eq!(agreed.protocol_version(), Some(number));
            assert_eq!(agreed.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(agreed.handshake_kind(), Some(kind), "{label}");
            // Both say that nothing follows.
            stream.shutdown().await.unwrap();
            assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
        }
        for resumed in ["false", "true"] {
            let labels = format!(r#"{{port="tested",protocol="{label}",resumed="{resumed}"}}"#);
            server.measures(&format!("tls_handshakes_total{labels}"), 1).await;
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let made = Made::make();
    let push = made.another("push", Key::P256, "DNS:push.example,DNS:*.devices.example");
    let rsa = made.another("rsa", Key::Rsa, "DNS:push.example");
    let pairs =
        [(made.certificate(), made.key()), (push.0.clone(), push.1.clone()), (rsa.0.clone(), rsa.1.clone())];
    let pairs: Vec<_> =
        pairs.iter().map(|(certificate, key)| (certificate.as_path(), key.as_path())).collect();
    let server = Server::start(&[], &pairs);
    let presented = async |client: &TlsConnector, name: &str| {
        let stream = server.connect(client, name).await.ok()?;
        Some(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
    };
    let of_file = |path: &Path| Some(CertificateDer::from_pem_file(path).unwrap());
    let client = client(&made);
    assert_eq!(presented(&client, "localhost").await, of_file(pairs[0].0));
    assert_eq!(presented(&client, "127.0.0.1").await, of_file(pairs[0].0), "without a name");
    assert_eq!(presented(&client, "push.example").await, of_file(pairs[1].0));
    assert_eq!(presented(&client, "a.devices.example").await, of_file(pairs[1].0));
    assert_eq!(presented(&client, "elsewhere.example").await, None, "the first has another name");
    let mut provider = ring::default_provider();
    provider.signature_verification_algorithms.mapping = provider
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| format!("{scheme:?}").starts_with("RSA"))
        .copied()
        .collect::<Vec<_>>()
        .leak();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(made.authority()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let of_rsa = presented(&TlsConnector::from(Arc::new(config)), "push.example").await;
    assert_eq!(of_rsa, of_file(pairs[2].0), "a client without ECDSA");
}

#[tokio::test]
async fn new_connections_get_a_reloaded_certificate_and_old_ones_stay() {
    let made = Made::make();
    let server = Server::with(&made, &[]);
    let former = client(&made);
    let mut old = server.connect(&former, "localhost").await.unwrap();
    made.renew("DNS:push.example", 5);
    server.certificates.reload(UnixTime::now()).unwrap();
    assert_eq!(echo(&mut old, b"still there").await, b"still there");
    let resumed = server.connect(&former, "localhost").await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "tickets stay good");
    let latter = client(&made);
    assert!(server.connect(&latter, "localhost").await.is_err());
    assert!(server.connect(&latter, "push.example").await.is_ok());
    let expiry = server.certificates.expiry().as_secs();
    server.measures("tls_certificate_expiry_seconds", expiry).await;
}

#[tokio::test]
async fn plain_http_is_told_what_is_missing() {
    let made = Made::make();
    let server = Server::with(&made, &[]);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS only"), "{answer}");
    server.measures(r#"port_refused_total{port="tested",reason="plain_http"}"#, 1).await;
}

#[tokio::test]
async fn handshakes_that_fail_or_take_too_long_are_ended_and_counted() {
    let made = Made::make();
    let server = Server::with(&made, &[("BECKON_TLS_HANDSHAKE_TIMEOUT", "1s")]);
    let ends = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        answer
    };
    let refused = |reason: &str| format!(r#"port_refused_total{{port="tested",reason="{reason}"}}"#);
    ends(b"").await;
    server.measures(&refused("slow_handshake"), 1).await;
    ends(&[22, 3, 1]).await;
    server.measures(&refused("slow_handshake"), 2).await;
    let alert = ends(&[0; 100]).await;
    assert_eq!(alert.first(), Some(&21), "an alert");
    server.measures(&refused("handshake"), 1).await;
    let mut h2 = config(&made, &[&TLS13]);
    h2.alpn_protocols = vec![b"h2".into()];
    assert!(server.connect(&TlsConnector::from(Arc::new(h2)), "localhost").await.is_err());
    server.measures(&refused("handshake"), 2).await;
    // After the handshake, the head of the first request has its own time limit.
    let mut stream = server.connect(&client(&made), "localhost").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(echo(&mut stream, b"late").await, b"late");
    // Clients that leave are not counted.
    drop(TcpStream::connect(server.address).await.unwrap());
    server.measures(&refused("handshake"), 2).await;
    server.measures(r#"port_connections{port="tested",state="handshake"}"#, 0).await;
}

#[tokio::test]
async fn the_handshake_that_began_first_makes_room() {
    let made = Made::make();
    let server = Server::with(&made, &[("BECKON_TLS_MAX_HANDSHAKES", "2")]);
    let client = client(&made);
    // Those that are over do not count.
    let _done = [
        server.connect(&client, "localhost").await.unwrap(),
        server.connect(&client, "localhost").await.unwrap(),
    ];
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(timeout(PATIENCE, silent[0].read(&mut [0])).await.unwrap().unwrap(), 0);
    server.measures(r#"port_refused_total{port="tested",reason="handshakes"}"#, 1).await;
    server.measures(r#"port_connections{port="tested",state="handshake"}"#, 2).await;
}

/// Accepts one connection on a port of its own, while a client does something with its address.
async fn accepted<T>(
    settings: &[(&str, &str)],
    made: &Made,
    client: impl AsyncFnOnce(SocketAddr) -> T,
) -> (port::Connection, T) {
    let (certificate, key) = (made.certificate().display().to_string(), made.key().display().to_string());
    let files = [("BECKON_TLS_CERT", certificate.as_str()), ("BECKON_TLS_KEY", key.as_str())];
    let mut source = Source::new([""; 0], files.iter().chain(settings).copied());
    let read = PortSettings::read(&mut source);
    let certificates = read.as_ref().and_then(|settings| settings.certificates(&mut source));
    let ports =
        Ports::new(&source.finish(read).unwrap(), certificates, Clock::start(), &mut Registry::default());
    let port = ports.open("tested", 10, PATIENCE, true);
    let listener = listener::bind("ws_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Stage::new(&Shutdown::new(), "accepting");
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    stage.spawn(port.accept(listener, stage.clone(), Duration::ZERO, move |accepted| {
        sender.try_send(accepted).unwrap();
    }));
    let serve = async { receiver.recv().await.unwrap().identify().await.unwrap() };
    timeout(PATIENCE, async { tokio::join!(serve, client(address)) }).await.unwrap()
}

#[tokio::test]
async fn the_proxy_header_comes_before_the_handshake() {
    let made = Made::make();
    let settings = [("BECKON_TRUSTED_PROXIES", "127.0.0.0/8")];
    let connected = async |address| {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 443\r\n").await.unwrap();
        client(&made).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    };
    let (mut connection, mut client) = accepted(&settings, &made, connected).await;
    assert!(!connection.client.is_proxy(), "it is the proxy's client");
    client.write_all(b"inside").await.unwrap();
    let mut inside = [0; 6];
    timeout(PATIENCE, connection.stream.read_exact(&mut inside)).await.unwrap().unwrap();
    assert_eq!(&inside, b"inside");
}

#[tokio::test]
async fn a_connection_at_rest_can_be_moved() {
    let made = Made::make();
    let connected = async |address| {
        let tcp = TcpStream::connect(address).await.unwrap();
        client(&made).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    };
    let (connection, mut client) = accepted(&[], &made, connected).await;
    let mut stream = connection.stream;
    for round in 0..3_u8 {
        assert!(!stream.has_received() && stream.unsent_len() == 0);
        stream = Stream::resume(stream.suspend().unwrap()).unwrap();
        client.write_all(&[round]).await.unwrap();
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), round);
        stream.write_all(&[round]).await.unwrap();
        assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), round);
    }
}

#[tokio::test]
async fn a_part_of_a_record_is_noticed() {
    let made = Made::make();
    let connected = async |address| {
        let tcp = TcpStream::connect(address).await.unwrap();
        client(&made).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    };
    let (connection, client) = accepted(&[], &made, connected).await;
    let (mut stream, (mut tcp, mut session)) = (connection.stream, client.into_inner());
    session.writer().write_all(b"two parts").unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    let (first, second) = record.split_at(7);
    tcp.write_all(first).await.unwrap();
    let mut bytes = [0; 9];
    let mut reading = std::pin::pin!(stream.read_exact(&mut bytes));
    assert!(timeout(Duration::from_millis(100), &mut reading).await.is_err());
    tcp.write_all(second).await.unwrap();
    timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(&bytes, b"two parts");
    assert!(!stream.has_received());
    tcp.write_all(first).await.unwrap();
    // The same record again is not what comes next in the session.
    tcp.write_all(second).await.unwrap();
    let error = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
