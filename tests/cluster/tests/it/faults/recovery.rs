//! Every client needs the store at once.

use super::gate;
use beckon_cluster_tests::{
    device::{DIALECTS, Device},
    site::{RECOVERY, Site},
};
use beckon_testbed::{
    process::Process,
    programs::Program,
    redis::{Links, Topology},
};
use std::time::Duration;

rows![
    a_crowd_does_not_overwhelm_a_slow_link: [Server, Sentinel, Cluster],
    a_crowd_does_not_overwhelm_a_slow_store: [Server, Sentinel, Cluster],
];

/// How long the store is away: longer than a lease, so that all clients verify their claims when it is back.
const AWAY: Duration = Duration::from_secs(12);

/// Other clients that say hello and register after the time for recovery, one each second.
const PROBES: usize = 15;

/// Each connection to a primary moves this many bytes per second when the store is back: about sixty steps, and four
/// seconds for a full pipeline.
async fn a_crowd_does_not_overwhelm_a_slow_link(topology: Topology) {
    const SLOW: u64 = 10_000;
    let clients = if gate::is_thorough() { 5000 } else { 1500 };
    let site = Site::start(topology);
    let mut crowd = Crowd::connect(&site, clients).await;
    site.all_links().for_each(Links::cut);
    tokio::time::sleep(AWAY).await;
    for links in site.all_links() {
        links.heal();
        links.throttle(SLOW);
    }
    crowd.expect_room_for_others(&site).await;
    site.all_links().for_each(Links::heal);
    crowd.expect_to_be_connected(&site).await;
}

/// Each primary has a hundredth of a processor when the store is back.
async fn a_crowd_does_not_overwhelm_a_slow_store(topology: Topology) {
    const PERCENT: u32 = 1;
    let clients = if gate::is_thorough() { 15_000 } else { 1500 };
    let site = Site::start(topology);
    let mut crowd = Crowd::connect(&site, clients).await;
    site.all_links().for_each(Links::cut);
    tokio::time::sleep(AWAY).await;
    let slow = site.store.throttle(PERCENT);
    site.all_links().for_each(Links::heal);
    crowd.expect_room_for_others(&site).await;
    drop(slow);
    crowd.expect_to_be_connected(&site).await;
}

/// Many clients, spread over the connection-nodes, and a few whose steps are watched.
struct Crowd {
    _process: Process,
    clients: usize,
    known: Vec<Device>,
}

impl Crowd {
    /// Connects clients with one channel each.
    async fn connect(site: &Site, clients: usize) -> Self {
        let known = site.devices("c1").await;
        let urls: Vec<String> = site.connection_nodes().iter().map(|node| node.ws_url()).collect();
        let (urls, number) = (urls.join(","), clients.to_string());
        let arguments = ["--ws", &urls, "--clients", &number, "--send-for", "0", "--wait-stdin", "true"];
        let log = site.folder().join("loadgen.log");
        let mut process = Process::start_talking(&Program::Loadgen.path(), &arguments, &[], &log);
        process.wait_for_line("ready").unwrap_or_else(|ended| panic!("{ended}"));
        Self { _process: process, clients, known }
    }

    /// The store is back, and slow. After the time for recovery, every hello and register of other clients succeeds. Few steps
    /// are done for callers that have given up: without windows for the links, hundreds of each thousand clients fail at once.
    #[expect(clippy::print_stdout, reason = "figures for a person")]
    async fn expect_room_for_others(&mut self, site: &Site) {
        let failed_at_first = sum(site, "beckon_steps_failed_total").await;
        tokio::time::sleep(RECOVERY).await;
        let failed_before = sum(site, "beckon_steps_failed_total").await;
        let mut failures = Vec::new();
        for probe in 0..PROBES {
            let node = site.connection_nodes()[probe % 2];
            let known = &mut self.known[probe % DIALECTS.len()];
            failures.extend(known.try_hello(node).await.err());
            failures.extend(Device::try_join(node, DIALECTS[probe % 2]).await.err());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let failed = sum(site, "beckon_steps_failed_total").await;
        let postponed = sum(site, "beckon_verifications_postponed_total").await;
        let (at_first, later) = (failed_before - failed_at_first, failed - failed_before);
        let figures = format!(
            "{} clients: {at_first} steps failed in the time for recovery, {later} after it; {postponed} verifications \
             postponed",
            self.clients
        );
        println!("{figures}");
        assert_eq!(failures, Vec::<String>::new(), "of {PROBES} probes");
        assert!(at_first * 3 <= self.clients && later * 100 <= self.clients, "{figures}");
    }

    /// The store is fast again: everything works, and no client has lost its connection.
    async fn expect_to_be_connected(&self, site: &Site) {
        site.expect_recovery().await;
        let connected = sum(site, "beckon_connections").await;
        assert!(connected >= self.clients, "{connected} of {} clients are connected", self.clients);
    }
}

/// The sum of a metric of the connection-nodes over all its labels.
async fn sum(site: &Site, name: &str) -> usize {
    let mut sum = 0;
    for node in site.connection_nodes() {
        let answer = site.get(&format!("http://{}/metrics", node.addresses().admin)).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let values = text.lines().filter_map(|line| line.strip_prefix(name));
        let values = values.filter(|rest| rest.starts_with(['{', ' ']));
        sum += values.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum::<usize>();
    }
    sum
}
