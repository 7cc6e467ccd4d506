//! The program `made-up-nodes`: hundreds of nodes that are in the directory of a cluster and answer to operators, but hold no
//! sockets. With it the dashboard of a large cluster is tested and measured on one machine.
//!
//! Each node has an address of its own in 127.0.0.0/8 and answers `push.v1.Admin` as a connection-node does, with what a real
//! node of the cluster has answered, under its own name and with counters that grow. Some can be silent, in two ways: they
//! take the question and never answer it, or do not even read it.
//!
//! It prints a line of JSON each second: what it was asked so far, and the bytes that it has read and written.

mod answers;
mod counted;

use answers::{Answers, Node, Silence};
use beckon_ops::{
    clock::Clock,
    config::{Part, Request, Source, help, parsed, program_arguments},
    exit::{Failure, report},
    program::print,
};
use beckon_proto::{
    admin::{Answer, Question, Status},
    auth::{ClusterSecret, PresentSecret, RequireSecret},
    channels::Channels,
    push_v1::{admin_client::AdminClient, admin_server::AdminServer},
    target, transport,
};
use beckon_store::{
    NodeEntry, Store,
    redis::{RedisOptions, connect},
};
use beckon_types::NodeId;
use counted::{Bytes, Counted};
use futures_util::{StreamExt as _, stream};
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

/// The time between two announcements of a node: half of its lease.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);

/// Announcements that are under way at the same time.
const ANNOUNCED_AT_ONCE: usize = 16;

/// How long a real node may take to be in the directory and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that wait to be served.
const ARRIVING_MAX: usize = 1024;

beckon_ops::settings! {
    /// Which nodes there are, and in which cluster.
    pub struct Settings {
        /// The store of the cluster: a Redis URL.
        store: String,
        /// What the nodes of the cluster show each other.
        cluster_secret: ClusterSecret = "" => parsed,
        /// How many nodes, up to 60000.
        nodes: u16 = "500",
        /// So many of them never answer.
        silent: u16 = "0",
    }
}

fn main() -> ExitCode {
    report("made-up-nodes", run())
}

fn run() -> Result<(), Failure> {
    beckon_ops::process::raise_open_files_max();
    let mut source = Source::new(program_arguments(), [("", ""); 0]);
    if matches!(source.request(), Some(Request::Help | Request::Summary)) {
        let parts = [Part { heading: "Settings", fields: Settings::FIELDS }];
        return print(&format!("usage: made-up-nodes [--name VALUE]\n\n{}", help(&parts, &[])));
    }
    let settings = Settings::read(&mut source);
    let settings = source.finish(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Failure::unavailable)?.block_on(conduct(settings))
}

async fn conduct(settings: Settings) -> Result<(), Failure> {
    let Settings { store, cluster_secret: secret, nodes, silent } = settings;
    let clock = Clock::start();
    let store: Arc<dyn Store> =
        Arc::new(connect(&store, RedisOptions::default()).await.map_err(Failure::unavailable)?);
    let model = timeout(PATIENCE, model(&*store, &secret)).await;
    let (model, keys) =
        model.map_err(|_| Failure::unavailable("no connection-node of the cluster answers"))?;
    let (mut made, mut listeners) = (Vec::new(), Vec::new());
    for number in 0..nodes {
        let silence = match number {
            number if number >= silent => Silence::None,
            number if number % 2 == 0 => Silence::NoAnswer,
            _ => Silence::Deaf,
        };
        let listener = TcpListener::bind(address(number)).await.map_err(Failure::unavailable)?;
        let address = listener.local_addr().map_err(Failure::unavailable)?;
        made.push(Node { id: id(number), name: format!("made-up-{number:03}"), address, silence });
        listeners.push((listener, silence));
    }
    let answers = Answers::new(made, model, keys, clock);
    let bytes = Arc::new(Bytes::default());
    let mut tasks = JoinSet::new();
    let (sender, arrived) = mpsc::channel(ARRIVING_MAX);
    for (listener, silence) in listeners {
        let (sender, bytes) = (sender.clone(), bytes.clone());
        tasks.spawn(async move {
            match silence {
                // The kernel takes connections, and nothing is ever read from them.
                Silence::Deaf => std::future::pending().await,
                Silence::None | Silence::NoAnswer => accept(listener, sender, bytes).await,
            }
        });
    }
    let service = AdminServer::with_interceptor(answers.clone(), RequireSecret(secret));
    let incoming = stream::unfold(arrived, |mut arrived| async {
        Some((Ok::<_, Infallible>(arrived.recv().await?), arrived))
    });
    tasks.spawn(async move {
        // Ends only with the program.
        let _ = transport::server().serve_with_incoming(service, incoming).await;
    });
    let announced = answers.clone();
    tasks.spawn(async move { announce(&*store, &announced).await });
    let mut each_second = interval(Duration::from_secs(1));
    loop {
        each_second.tick().await;
        let Bytes { read, written, connections } = &*bytes;
        let [read, written, connections] = [read, written, connections].map(counted::value);
        let line = serde_json::json!({
            "announced": answers.announced(),
            "asked": answers.asked(),
            "read": read,
            "written": written,
            "connections": connections,
        });
        // Nobody reads any more: whoever has started it has ended.
        if print(&format!("{line}\n")).is_err() {
            return Ok(());
        }
    }
}

/// 127.90.0.1 and following, each with a free port.
fn address(number: u16) -> SocketAddr {
    let [high, low] = (number + 1).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 90, high, low), 0))
}

/// Apart from those that real nodes draw.
fn id(number: u16) -> NodeId {
    NodeId(0xfeed_0000_0000_0000 | u64::from(number))
}

/// What a real connection-node of the cluster answers, and the fingerprints of its token keys.
async fn model(store: &dyn Store, secret: &ClusterSecret) -> (Status, Vec<u64>) {
    loop {
        let nodes = store.nodes().await.unwrap_or_default();
        let real =
            nodes.into_iter().find(|entry| !entry.grpc_address.is_empty() && entry.node.0 >> 48 != 0xfeed);
        if let Some(entry) = real
            && let Some(status) = ask(&entry, secret).await
        {
            return (status, entry.keys);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(entry: &NodeEntry, secret: &ClusterSecret) -> Option<Status> {
    let channel = Channels::new(secret.clone(), None).get(&entry.grpc_address).ok()?;
    let mut request = tonic::Request::new(Question::Status.into());
    target::write(request.metadata_mut(), entry.node);
    let mut client = AdminClient::with_interceptor(channel, PresentSecret(secret.clone()));
    let answer = client.ask(request).await.ok()?.into_inner();
    match Answer::try_from(answer).ok()? {
        Answer::Status(status) => Some(*status),
        Answer::Done { .. } | Answer::Audit(_) | Answer::Refused(_) | Answer::Socket { .. } => None,
    }
}

async fn accept(listener: TcpListener, arrived: mpsc::Sender<Counted>, bytes: Arc<Bytes>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if arrived.send(Counted::new(stream, bytes.clone())).await.is_err() {
                    return;
                }
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Keeps all nodes in the directory.
async fn announce(store: &dyn Store, answers: &Answers) {
    let mut round = interval(ANNOUNCE_INTERVAL);
    loop {
        round.tick().await;
        let announcing =
            stream::iter(answers.entries()).for_each_concurrent(ANNOUNCED_AT_ONCE, |entry| async {
                // One that fails is repeated in time.
                if store.announce(entry).await.is_ok() {
                    answers.count_announced();
                }
            });
        announcing.await;
    }
}
