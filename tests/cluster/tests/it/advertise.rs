//! `grpc_advertise = auto`: a connection-node finds the address at which others reach it, from metadata services that answer as
//! those of AWS do. They say the address of this machine in its network, so that the cluster works only if it is found.

use beckon_cluster_tests::stage::{Registered, Stage};
use beckon_testbed::{node::Node, plan::Plan};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use tokio::{net::TcpListener, task::JoinSet};
use warp::{Filter as _, Reply as _, http::StatusCode, reply::Response};

/// The address of this machine in its network.
fn own_address() -> String {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // This sends nothing.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).expect("a default route");
    socket.local_addr().unwrap().ip().to_string()
}

/// A metadata service. It ends when it is dropped.
struct Metadata {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Metadata {
    async fn start(
        paths: impl warp::Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(warp::serve(paths).incoming(listener).run());
        Self { address, _serving: serving }
    }

    /// The service of EC2, which wants a token (IMDSv2).
    async fn ec2(address: String) -> Self {
        const TOKEN: &str = "AQAEAHbP0w-token-of-the-test==";
        let token = warp::path!("latest" / "api" / "token")
            .and(warp::put())
            .and(warp::header::<u32>("x-aws-ec2-metadata-token-ttl-seconds"))
            .map(|_| TOKEN.into_response());
        let value = warp::path!("latest" / "meta-data" / "local-ipv4")
            .and(warp::get())
            .and(warp::header::optional::<String>("x-aws-ec2-metadata-token"))
            .map(move |token: Option<String>| match token.as_deref() {
                Some(TOKEN) => address.clone().into_response(),
                _ => StatusCode::UNAUTHORIZED.into_response(),
            });
        Self::start(token.or(value).unify()).await
    }

    /// The service of an ECS task, whose network has this mode.
    async fn ecs(mode: &str, address: &str) -> Self {
        let answer = serde_json::json!({
            "DockerId": "cd189a933e5849daa93386466019ab50-2495160603",
            "Name": "connection-node",
            "Networks": [{"NetworkMode": mode, "IPv4Addresses": [address], "SubnetGatewayIpv4Address": "10.0.2.1/24"}],
        });
        let path = warp::path!("v4" / "cd189a93-task").and(warp::get());
        Self::start(path.map(move || warp::reply::json(&answer).into_response())).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A cluster whose connection-node has to find its address, with these variables.
fn plan(variables: &[(&str, &str)]) -> Plan {
    let mut plan = Plan::cluster(1, 1);
    let node = plan.node("c0");
    let port = node.addresses.grpc.unwrap().port();
    node.set("BECKON_GRPC_LISTEN", &format!("0.0.0.0:{port}"));
    node.set("BECKON_GRPC_ADVERTISE", "auto");
    for (name, value) in variables {
        node.set(name, value);
    }
    plan
}

/// The cluster works, and the node has found its address there.
async fn expect_to_work(variables: &[(&str, &str)], source: &str) {
    let stage = Stage::own(plan(variables));
    let node = stage.node("c0");
    let found = format!("{}:{}", own_address(), node.addresses().grpc.unwrap().port());
    let log = node.log();
    let is_logged = log.lines().any(|line| line.contains(&found) && line.contains(source));
    assert!(is_logged, "{found} from {source} is not in\n{log}");
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    assert_eq!(stage.put(&endpoint, 1).await, 200, "{source}");
    client.expect_update(&channel, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_names_the_address() {
    let own = own_address();
    expect_to_work(&[], "the interface with the default route").await;
    expect_to_work(&[("POD_IP", &own)], "POD_IP").await;
    let ecs = Metadata::ecs("awsvpc", &own).await;
    let ec2 = Metadata::ec2(own.clone()).await;
    let task = ("ECS_CONTAINER_METADATA_URI_V4", &*ecs.url("/v4/cd189a93-task"));
    expect_to_work(&[task], "the metadata of the ECS task").await;
    let (in_host, instance) = (Metadata::ecs("host", "").await, ec2.url(""));
    let instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*instance);
    expect_to_work(&[instance], "the metadata of the EC2 instance").await;
    // A task in the network of its instance.
    let task = ("ECS_CONTAINER_METADATA_URI_V4", &*in_host.url("/v4/cd189a93-task"));
    expect_to_work(&[task, instance], "the metadata of the EC2 instance").await;
}

/// The node ends with this code and says why.
fn expect_failure(variables: &[(&str, &str)], code: i32, reasons: &[&str]) {
    let stage = Stage::launch(plan(variables));
    let node: &Node = stage.node("c0");
    assert_eq!(node.wait().code(), Some(code), "{variables:?}: {}", node.log());
    for reason in reasons {
        assert!(node.log().contains(reason), "{reason} is not in {}", node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_named_and_not_passed_over() {
    expect_failure(&[("POD_IP", "127.0.0.1")], 64, &["POD_IP", "no other machine can reach 127.0.0.1"]);
    let bridge = Metadata::ecs("bridge", "172.17.0.2").await;
    let task = bridge.url("/v4/cd189a93-task");
    expect_failure(&[("ECS_CONTAINER_METADATA_URI_V4", &task)], 69, &["ECS", "bridge", "awsvpc"]);
    let elsewhere = bridge.url("/v4/another-task");
    expect_failure(&[("ECS_CONTAINER_METADATA_URI_V4", &elsewhere)], 69, &["ECS", "404"]);
    let nonsense = Metadata::ec2("<html>".to_owned()).await;
    let instance = nonsense.url("");
    expect_failure(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance)], 69, &["EC2", "not an IP address"]);
    // It accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let instance = format!("http://{}", silent.local_addr().unwrap());
    expect_failure(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance)], 69, &["EC2", "no answer within 2s"]);
}
