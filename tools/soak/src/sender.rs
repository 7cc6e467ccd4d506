//! Application servers: they send to random devices through random nodes, at a steady rate.

use crate::{
    history::{Outcome, Reserved},
    ledger::Ledger,
    site::Site,
};
use beckon_client::{
    app_server::{AppServer, Options, SendError},
    webpush::{encryption::Recipient, post::Post},
};
use beckon_types::Version;
use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::interval};

/// Time limit for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long messages are kept: longer than any run.
const TTL: Duration = Duration::from_secs(7 * 86_400);

/// Most requests in flight.
const IN_FLIGHT_MAX: usize = 4_000;

/// All application servers.
#[derive(Debug)]
pub(crate) struct Senders {
    site: Arc<Site>,
    ledger: Arc<Ledger>,
    /// What senders know of the keys of each device; `None` for SimplePush.
    recipients: Vec<Option<Recipient>>,
    client: AppServer,
    next: AtomicU64,
}

impl Senders {
    pub(crate) fn new(site: Arc<Site>, ledger: Arc<Ledger>, recipients: Vec<Option<Recipient>>) -> Self {
        let client = AppServer::new(Options { limit: ANSWER, ..Options::default() });
        Self { site, ledger, recipients, client, next: AtomicU64::new(1) }
    }

    /// Sends so many notifications per second until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, rate: u32) {
        let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
        let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let mut requests = JoinSet::new();
        loop {
            ticks.tick().await;
            while requests.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                self.ledger.count("senders had too many requests in flight");
                continue;
            };
            let Some(reserved) = self.ledger.reserve(|count| fastrand::usize(..count)) else {
                continue;
            };
            let senders = Arc::clone(&self);
            requests.spawn(async move {
                senders.send(&reserved).await;
                drop(permit);
            });
        }
    }

    /// Sends one notification to a reserved device. Returns its number and whether it was accepted.
    pub(crate) async fn send(&self, to: &Reserved) -> (u64, bool) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let node = self.site.endpoints[fastrand::usize(..self.site.endpoints.len())];
        let url = through(&to.endpoint, &node.to_string());
        self.ledger.sending(to, number, &node.to_string());
        let answer = match &self.recipients[to.target] {
            None => self.client.put(&url, Version::new(number).ok(), None).await.map(|_| None),
            Some(recipient) => {
                let payload = recipient.encrypt(number.to_string().as_bytes()).ok();
                let post = Post { ttl: TTL, payload, ..Post::default() };
                self.client.post(&url, &post).await.map(|posted| Some(posted.location))
            }
        };
        let (outcome, location) = match answer {
            Ok(location) => (Outcome::Accepted, location),
            Err(SendError::Refused { status, .. }) => (Outcome::Refused(status.as_u16()), None),
            Err(error) => {
                self.ledger.happened(to.target, &format!("number {number}: {error}: {:?}", error.source()));
                (Outcome::Unknown, None)
            }
        };
        self.ledger.answered(number, outcome, location);
        (number, outcome == Outcome::Accepted)
    }
}

/// An endpoint, reached through another node.
fn through(endpoint: &str, node: &str) -> String {
    let path = endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    format!("http://{node}/{}", path.map(|(_, path)| path).unwrap_or_default())
}
