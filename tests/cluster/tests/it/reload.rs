//! Reading the settings again, as docs/operations.md promises it: keys, secrets and certificates are rotated while
//! everything runs, limits change, and a wrong configuration changes nothing.

use beckon_client::raw::{Options, RawSocket};
use beckon_cluster_tests::{
    bare::{self, upgrade_request},
    host::Host,
    stage::{Registered, Stage},
    talk::new_channel,
    tls::trust_in,
};
use beckon_testbed::{
    PATIENCE,
    certificates::Certificates,
    folder,
    node::{Node, http},
    plan::{ADMIN_TOKEN, Plan, Shape, key},
    process::{self, Signal},
    programs::Program,
    redis::{self, RedisServer},
    until, wait_until,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

const OLD_SECRET: &str = "the old secret of a cluster";
const NEW_SECRET: &str = "the new secret of a cluster";

/// The file with the settings of all nodes.
struct Settings {
    folder: TempDir,
}

impl Settings {
    fn with(text: &str) -> Self {
        let settings = Self { folder: folder::temporary() };
        settings.write(text);
        settings
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cluster.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// A plan whose programs read the file, and have none of these settings in their environment.
    fn plan(&self, shape: Shape) -> Plan {
        let mut plan = Plan::new(shape).all("BECKON_CONFIG", &self.path().to_string_lossy());
        for node in plan.programs_mut() {
            node.settings.remove("BECKON_TOKEN_KEYS");
            node.settings.remove("BECKON_CLUSTER_SECRET");
        }
        plan
    }
}

/// Token keys and cluster secrets, as the file has them.
fn secrets(keys: &[u8], secrets: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|number| key(*number)).collect();
    format!("token_keys = \"{}\"\ncluster_secret = \"{}\"\n", keys.join(","), secrets.join(","))
}

/// What `POST /reload` answers.
fn reload(node: &Node) -> (u16, Value) {
    let (status, body) = http(node.addresses().admin, "POST", "/reload").expect("an answer");
    (status, serde_json::from_str(&body).unwrap())
}

/// Reloads a node, in which exactly these settings change.
fn reload_changes(node: &Node, changed: &[&str]) {
    assert_eq!(reload(node), (200, json!({"changed": changed, "needs_restart": []})), "{}", node.name());
}

/// A client on each connection-node, to which an application server sends through all endpoint-nodes in turn, and which
/// registers a new channel now and then. Each notification has to be accepted and to arrive.
struct Traffic {
    tasks: JoinSet<u64>,
    is_over: Arc<AtomicBool>,
}

impl Traffic {
    fn begin(stage: &Arc<Stage>) -> Self {
        let (mut tasks, is_over) = (JoinSet::new(), Arc::<AtomicBool>::default());
        for index in 0..stage.connection_nodes().len() {
            let (stage, is_over) = (stage.clone(), is_over.clone());
            tasks.spawn(async move {
                let mut client = Stage::client_of(stage.connection_nodes()[index]).await;
                client.hello().await;
                let mut endpoints = Vec::new();
                let mut version = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if version % 20 == 0 {
                        let channel = new_channel();
                        endpoints.push((channel.clone(), client.register(&channel).await));
                    }
                    version += 1;
                    // The oldest and the newest in turn.
                    let oldest_or_newest =
                        if version % 2 == 0 { endpoints.first() } else { endpoints.last() };
                    let (channel, endpoint) = oldest_or_newest.unwrap();
                    assert_eq!(stage.put(endpoint, version).await, 200);
                    client.expect_update(channel, version).await;
                }
                version
            });
        }
        Self { tasks, is_over }
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.tasks.join_all().await;
        assert!(sent.iter().all(|sent| *sent > 40), "there was traffic: {sent:?}");
    }
}

/// A node that was killed is found by the others, and finds them.
fn restart(stage: &Stage, name: &str) {
    let node = stage.node(name);
    node.kill();
    node.start();
    stage.wait_until_connected();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_and_secrets_are_rotated_under_traffic() {
    let settings = Settings::with(&secrets(&[1], &[OLD_SECRET]));
    let stage = Arc::new(Stage::own(settings.plan(Shape::Cluster)));
    let traffic = Traffic::begin(&stage);
    let opened = || stage.nodes().iter().map(|node| node.log().matches("stream to node open").count());
    let before: Vec<_> = opened().collect();
    for (keys, cluster_secrets, changed) in [
        (&[1, 2][..], &[OLD_SECRET, NEW_SECRET][..], &["cluster_secret", "token_keys"][..]),
        (&[2, 1], &[NEW_SECRET, OLD_SECRET], &["cluster_secret", "token_keys"]),
        (&[2, 1], &[NEW_SECRET], &["cluster_secret"]),
    ] {
        settings.write(&secrets(keys, cluster_secrets));
        for node in stage.nodes() {
            reload_changes(node, changed);
            // While the others do not know it yet.
            sleep(Duration::from_millis(500)).await;
        }
    }
    traffic.end().await;
    assert_eq!(opened().collect::<Vec<_>>(), before, "streams that the old secret has opened stay open");
    // Nodes that know the new secret alone, and the ones that have learned it.
    restart(&stage, "e0");
    restart(&stage, "c0");
    for node in stage.nodes() {
        let log = node.log();
        assert!(log.contains("configuration reloaded"), "{log}");
        assert!(!log.contains("other token_keys") && !log.contains("refuses the cluster secret"), "{log}");
        for secret in [&key(1), &key(2), OLD_SECRET, NEW_SECRET] {
            assert!(!log.contains(secret), "{secret} in the log of {}", node.name());
        }
    }
    // The old one opens no streams any more.
    let node = stage.node("e1");
    node.set("BECKON_CLUSTER_SECRET", OLD_SECRET);
    node.kill();
    node.start();
    let is_refused = || node.log().contains("refuses the cluster secret").then_some(());
    wait_until("the old secret is refused", is_refused);
}

/// A certificate of the nodes and its authority, as settings.
fn tls(folder: &Path, certificates: &Certificates, authorities: &[&Certificates]) -> String {
    let texts: Vec<_> = authorities.iter().map(|ca| fs::read_to_string(ca.authority()).unwrap()).collect();
    fs::write(folder.join("ca.pem"), texts.concat()).unwrap();
    for (name, source) in [("cert.pem", certificates.certificate()), ("key.pem", certificates.key())] {
        fs::copy(source, folder.join(name)).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    format!(
        "grpc_tls_cert = \"{}\"\ngrpc_tls_key = \"{}\"\ngrpc_tls_ca = \"{}\"\n",
        path("cert.pem"),
        path("key.pem"),
        path("ca.pem")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn certificates_between_nodes_and_their_authority_are_replaced_under_traffic() {
    let [old, new] = [Certificates::make(), Certificates::make()];
    let settings = Settings::with("");
    let certificates = folder::temporary();
    let fixed = secrets(&[1], &[OLD_SECRET]);
    settings.write(&format!("{fixed}{}", tls(certificates.path(), &old, &[&old])));
    let stage = Arc::new(Stage::own(settings.plan(Shape::Cluster)));
    let traffic = Traffic::begin(&stage);
    let all = ["grpc_tls_ca", "grpc_tls_cert", "grpc_tls_key"];
    for (own, authorities, changed) in
        [(&old, &[&old, &new][..], &all[..1]), (&new, &[&old, &new], &all[1..]), (&new, &[&new], &all[..1])]
    {
        tls(certificates.path(), own, authorities);
        for node in stage.nodes() {
            reload_changes(node, changed);
        }
        // A node that starts now has the new files, and connects to all others and is connected to.
        sleep(Duration::from_millis(500)).await;
    }
    traffic.end().await;
    restart(&stage, "e0");
    restart(&stage, "c1");

    fs::write(certificates.path().join("key.pem"), fs::read(old.key()).unwrap()).unwrap();
    for node in stage.nodes() {
        let (status, answer) = reload(node);
        let message = answer["message"].as_str().unwrap();
        assert!(status == 422 && message.contains("grpc_tls_cert"), "{status} {message}");
    }
    restart_with(&stage, certificates.path(), &new);
    settings.write(&fixed);
    let (status, answer) = reload(stage.node("c0"));
    assert!(status == 422 && answer["message"].as_str().unwrap().contains("without TLS"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_password_of_redis_is_rotated_under_traffic() {
    let redis =
        RedisServer::start_with(redis::Options { password: Some("old".into()), ..Default::default() });
    let folder = folder::temporary();
    let file = folder.path().join("password");
    fs::write(&file, "old").unwrap();
    let path = format!("store_password_file = \"{}\"\n", file.display());
    let settings = Settings::with(&(secrets(&[1], &[OLD_SECRET]) + &path));
    let plan = settings.plan(Shape::Cluster).store(format!("redis://{}", redis.address()));
    let stage = Arc::new(Stage::own(plan));
    let traffic = Traffic::begin(&stage);
    redis.command(&["ACL", "SETUSER", "default", ">new"]);
    fs::write(&file, "new").unwrap();
    for node in stage.nodes() {
        reload_changes(node, &["store_password_file"]);
    }
    // From now on only the new password opens connections, and nobody has one.
    let mut operator = TcpStream::connect(redis.address()).await.unwrap();
    operator
        .write_all(b"AUTH new\r\nACL SETUSER default <old\r\nCLIENT KILL TYPE normal\r\nPING\r\n")
        .await
        .unwrap();
    let mut answers = String::new();
    while !answers.contains("+PONG") {
        answers.push(char::from(operator.read_u8().await.unwrap()));
    }
    assert!(answers.starts_with("+OK\r\n+OK\r\n:") && !answers.contains(":0\r"), "{answers}");
    sleep(Duration::from_secs(1)).await;
    traffic.end().await;
    restart(&stage, "e0");
    restart(&stage, "c0");
    fs::remove_file(&file).unwrap();
    let (status, answer) = reload(stage.node("c1"));
    assert!(status == 422 && answer["message"].as_str().unwrap().contains("store_password_file"), "{answer}");
}

/// A node that starts with good files again is found by those that have refused the bad ones.
fn restart_with(stage: &Stage, folder: &Path, certificates: &Certificates) {
    fs::copy(certificates.key(), folder.join("key.pem")).unwrap();
    restart(stage, "e1");
}

#[tokio::test]
async fn a_certificate_of_the_public_ports_is_replaced() {
    let [old, new] = [Certificates::make(), Certificates::make()];
    let settings = Settings::with("");
    let stage = Stage::launch(settings.plan(Shape::Standalone).tls(&old));
    let node = &stage.nodes()[0];
    node.wait_until_ready();
    let connect = async |authority: &Certificates| {
        let options = Options { tls: Some(trust_in(authority)), ..Options::default() };
        RawSocket::connect(&node.ws_url(), &options).await
    };
    let mut open = connect(&old).await.unwrap();
    fs::copy(new.key(), old.key()).unwrap();
    let (status, answer) = reload(node);
    assert_eq!(status, 422, "the key belongs to another certificate: {answer}");
    assert!(connect(&old).await.is_ok());
    fs::copy(new.certificate(), old.certificate()).unwrap();
    reload_changes(node, &["tls_cert", "tls_key"]);
    assert!(connect(&new).await.is_ok() && connect(&old).await.is_err());
    // What is connected stays so.
    open.send_text(json!({"messageType": "hello", "uaid": "", "channelIDs": []}).to_string()).await.unwrap();
    let hello = open.text_within(PATIENCE).await.unwrap();
    assert!(hello.contains("\"status\":200"), "{hello}");
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing_and_says_why() {
    let settings = Settings::with(&secrets(&[1], &[OLD_SECRET]));
    let stage = Stage::own(settings.plan(Shape::Cluster));
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let node = stage.node("c0");
    let origin = "Origin: https://other.example\r\n";
    let upgrade = async || bare::request(node.addresses().ws.unwrap(), &upgrade_request("/", origin)).await.0;
    let origins = "allowed_origins = \"https://push.example\"\n";
    for (keys, further, reason) in [
        (&[1, 2], "nonsense = 1\n", "nonsense"),
        (&[1, 2], "max_message = \"x\"\n", "max_message"),
        (&[2, 3], "", "token_keys: has none of the keys in use"),
        (&[1, 2], "a line that is not TOML", "line 4"),
    ] {
        settings.write(&format!("{}{origins}{further}", secrets(keys, &[NEW_SECRET])));
        let (status, answer) = reload(node);
        assert_eq!(status, 422, "{further}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(reason), "{answer}");
        assert!(upgrade().await.starts_with("HTTP/1.1 101 "), "origins are as before");
        let before = node.log().len();
        node.signal(Signal::HUP);
        let refused = async || node.log()[before..].contains("nothing has changed").then_some(());
        until("SIGHUP is refused", refused).await;
        assert!(node.log()[before..].contains(reason), "{}", node.log());
    }
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;

    settings.write(&format!("{}{origins}ws_path = \"/push\"\n", secrets(&[1], &[OLD_SECRET])));
    node.signal(Signal::HUP);
    until("SIGHUP reloads", async || upgrade().await.starts_with("HTTP/1.1 403 ").then_some(())).await;
    let says_so = async || node.log().contains("these settings change at the next start").then_some(());
    until("the log names what needs a restart", says_so).await;
    assert_eq!(reload(node), (200, json!({"changed": [], "needs_restart": ["ws_path"]})));
    assert_eq!(node.ended(), None);
}

#[tokio::test]
async fn the_command_reloads_and_says_what_has_changed() {
    let settings = Settings::with("");
    let stage = Stage::own(settings.plan(Shape::Standalone));
    let admin = format!("http://{}", stage.nodes()[0].addresses().admin);
    let run = |text: &str| {
        settings.write(text);
        let (status, output) = process::run(
            &Program::Beckon.path(),
            &["reload", "--admin", admin.as_str()],
            &[("BECKON_ADMIN_TOKEN", ADMIN_TOKEN)],
        );
        (status.code(), output)
    };
    assert_eq!(run(""), (Some(0), "nothing has changed\n".to_owned()));
    let changed = "changed: drain_rate, max_ttl\nneed a restart: threads\n";
    assert_eq!(run("drain_rate = 7\nmax_ttl = \"1d\"\nthreads = 1\n"), (Some(0), changed.to_owned()));
    assert_eq!(run("drain_rate = 0\n").0, Some(1));
    assert_eq!(run(""), (Some(0), "changed: drain_rate, max_ttl\n".to_owned()));
}

#[tokio::test]
async fn a_web_page_of_others_cannot_reload() {
    let settings = Settings::with("");
    let stage = Stage::own(settings.plan(Shape::Standalone));
    let node = &stage.nodes()[0];
    let admin = node.addresses().admin;
    settings.write("drain_rate = 7\n");
    let request = format!(
        "POST /reload HTTP/1.1\r\nhost: {admin}\r\norigin: http://evil.example\r\ncontent-length: 0\r\n\r\n"
    );
    let (head, _) = bare::request(admin, &request).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(http(admin, "GET", "/reload").map(|(status, _)| status), Some(405));
    reload_changes(node, &["drain_rate"]);
}

/// Shares of sources, limits of the ports, and budgets of sockets.
#[tokio::test]
async fn limits_change_for_the_connections_that_are_open_too() {
    let fixed = "limit_private_sources = true\n";
    let settings = Settings::with(fixed);
    let stage = Stage::own(settings.plan(Shape::Standalone));
    let node = &stage.nodes()[0];
    let (ws, requests) = (node.addresses().ws.unwrap(), node.addresses().http.unwrap());
    let change = |text: &str, changed: &[&str]| {
        settings.write(&format!("{fixed}{text}"));
        reload_changes(node, changed);
    };
    let (one, other) = (Host::new(71), Host::new(72));
    let upgrade = upgrade_request("/", "");

    for _ in 0..3 {
        assert_eq!(one.get(requests, "/none").await, 404);
    }
    change("source_requests = \"2/h\"\n", &["source_requests"]);
    let answers = [one.get(requests, "/none").await, one.get(requests, "/none").await];
    assert_eq!((answers, one.get(requests, "/none").await), ([404, 404], 429));
    change("source_requests = \"100/s\"\n", &["source_requests"]);
    assert_eq!(one.get(requests, "/none").await, 404, "a new rate begins anew");

    let mut open = one.ask_within(PATIENCE, ws, &upgrade).await;
    change("max_connections = 1\n", &["max_connections", "source_requests"]);
    assert_eq!(other.status(ws, &upgrade).await, 503);
    change("source_max_sockets = 1\n", &["max_connections", "source_max_sockets"]);
    assert_eq!((one.status(ws, &upgrade).await, other.status(ws, &upgrade).await), (429, 101));
    change("trusted_proxies = \"127.0.0.71\"\n", &["source_max_sockets", "trusted_proxies"]);
    let forwarded = upgrade_request("/", "X-Forwarded-For: 198.51.100.1\r\n");
    assert_eq!(one.status(ws, &forwarded).await, 101);

    // The open socket is closed for a message that it could have sent before.
    change("max_message = 4096\n", &["max_message", "trusted_proxies"]);
    let message = [&[0x81, 0xfe, 0x20, 0x00, 0, 0, 0, 0][..], &[b' '; 0x2000]].concat();
    open.1.write_all(&message).await.unwrap();
    let mut close = [0; 4];
    open.1.read_exact(&mut close).await.unwrap();
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1009));

    change(
        "head_timeout = \"1s\"\nsource_max_pending = 2\n",
        &["head_timeout", "max_message", "source_max_pending"],
    );
    let mut silent = other.silent(ws, 3).await;
    for connection in &mut silent {
        let mut byte = [0];
        let ended = timeout(Duration::from_secs(4), connection.read(&mut byte)).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn the_filter_of_the_log_changes() {
    let settings = Settings::with("");
    let stage = Stage::own(settings.plan(Shape::Standalone));
    let node = &stage.nodes()[0];
    let count = || node.log().matches("configuration reloaded").count();
    let before = count();
    for filter in ["error", "error", "info"] {
        settings.write(&format!("log = \"{filter}\"\n"));
        assert_eq!(reload(node).0, 200);
    }
    // Lines reach the file a moment later, in their order.
    wait_until("the last reload is in the log", || (count() > before).then_some(()));
    assert_eq!(count(), before + 1);
}

/// The keys that a standalone server has made itself, and its store, which opens with known keys only.
#[tokio::test]
async fn a_standalone_server_rotates_the_keys_of_its_data_directory() {
    let settings = Settings::with("");
    let stage = Stage::own(settings.plan(Shape::Standalone));
    let node = &stage.nodes()[0];
    let file = stage.folder().join("data/token-keys");
    let old = fs::read_to_string(&file).unwrap().trim().to_owned();
    let Registered { mut client, channel, endpoint, uaid } = stage.registered().await;
    let new = key(2);
    for keys in [format!("{old},{new}"), format!("{new},{old}")] {
        fs::write(&file, keys).unwrap();
        assert_eq!(reload(node).0, 200);
        assert_eq!(stage.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
        client.ack(&channel, 1).await;
    }
    let second = new_channel();
    let newer = client.register(&second).await;
    fs::write(&file, key(3)).unwrap();
    let (status, answer) = reload(node);
    assert!(status == 422 && answer["message"].as_str().unwrap().contains("keys in use"), "{answer}");
    fs::write(&file, &new).unwrap();
    assert_eq!(reload(node).0, 200);
    // A crash: the store has to know the new key, although it was opened with the old one.
    node.kill();
    node.start();
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel, &second]).await;
    assert_eq!(stage.put(&newer, 1).await, 200);
    client.expect_update(&second, 1).await;
    assert_eq!(stage.put(&endpoint, 2).await, 404, "its key is gone");
    let (status, answer) = {
        settings.write(&format!("token_keys = \"{new}\"\n"));
        reload(node)
    };
    assert!(status == 422 && answer["message"].as_str().unwrap().contains("data directory"), "{answer}");
}
