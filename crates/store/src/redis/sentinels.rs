//! The Sentinels of a primary: which server they call the primary, and when that becomes another one.
//!
//! A server that is not the primary any more does not know it at first: after an ordered failover, Sentinels demote the
//! former primary only about ten seconds later, and until then it accepts writes that are lost, and does not know the
//! clients that have come to the new one. So the Sentinels are asked. The primary is the server that more than half of
//! them name: whoever has connected to another one was sent there by more than half of them, too, if they could be asked.
//!
//! Each Sentinel has one connection of the process. It tells of failovers (`SUBSCRIBE`), and is asked once a second in case
//! it does not.

use super::{
    address::Node,
    backoff::{Backoff, jittered, random},
    dial::{Dialer, now},
    fault::Fault,
    names::{self, Server},
    rounds::Rounds,
};
use crate::Cause;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{Cmd, Value, aio::MultiplexedConnection};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How often the Sentinels are asked even if none of them tells of a change.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest time between two rounds of questions, however many steps wait for one.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// A Sentinel whose answer takes longer is connected to again.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Shorter connections count as failed attempts to connect.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// All Sentinels of the URL.
pub(super) struct Sentinels {
    dialer: Arc<Dialer>,
    name: String,
    each: Vec<Sentinel>,
    /// Also wanted when a Sentinel tells of a change, or is connected to.
    rounds: Rounds<Verdict>,
    /// The names of the server that more than half of them name. `None` while half of them or fewer can be asked.
    primary: watch::Sender<Option<Vec<Node>>>,
}

struct Sentinel {
    at: Node,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    /// It has not been tried yet.
    Untried,
    /// The connection, and what to notify when it is of no use any more.
    Connected(MultiplexedConnection, Arc<Notify>),
    Failed(Fault),
}

/// What the Sentinels say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// More than half of them name this server, by these names. It is connected to by the first one.
    Named(Vec<Node>),
    /// Half of them or fewer have answered, and all of those name this server.
    Fewer(Vec<Node>, Fault),
    /// They name different servers, or none answers.
    None(Fault),
}

impl Sentinels {
    /// Connects to them, with tasks that end with the set.
    pub(super) fn watch(
        sentinels: &[Node],
        name: &str,
        dialer: Arc<Dialer>,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let sentinel = |at: &Node| Sentinel { at: at.clone(), state: watch::Sender::new(State::Untried) };
        let sentinels = Arc::new(Self {
            dialer,
            name: name.to_owned(),
            each: sentinels.iter().map(sentinel).collect(),
            rounds: Rounds::new(ROUND_PAUSE),
            primary: watch::Sender::new(None),
        });
        for number in 0..sentinels.each.len() {
            tasks.spawn(sentinels.clone().stay_connected(number));
        }
        tasks.spawn(sentinels.clone().keep_asking());
        sentinels
    }

    /// Where the primary is. While half of the Sentinels or fewer can be asked, those are believed: nodes can start.
    pub(super) async fn locate(&self) -> Result<Node, Fault> {
        match self.rounds.ask().await {
            Verdict::Named(names) | Verdict::Fewer(names, _) => Ok(names[0].clone()),
            Verdict::None(fault) => Err(fault),
        }
    }

    /// Confirms that this server is the primary, by an answer that was given after this call.
    pub(super) async fn confirm(&self, server: &Node) -> Result<(), Fault> {
        match self.rounds.ask().await {
            Verdict::Named(names) if names.contains(server) => Ok(()),
            Verdict::Named(names) => Err(Fault::deposed(&names[0])),
            Verdict::Fewer(_, fault) | Verdict::None(fault) => Err(Fault::unconfirmed(&fault)),
        }
    }

    /// Ready when another server than this one is the primary.
    pub(super) async fn deposed(&self, server: &Node) -> Fault {
        let mut primary = self.primary.subscribe();
        let is_other =
            |names: &Option<Vec<Node>>| names.as_ref().is_some_and(|names| !names.contains(server));
        let names = primary.wait_for(is_other).await.ok().and_then(|names| names.clone());
        match names {
            Some(names) => Fault::deposed(&names[0]),
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    async fn keep_asking(self: Arc<Self>) {
        let (mut were_enough, mut name) = (true, None);
        loop {
            let _ = timeout(jittered(ASK_INTERVAL, random()), self.rounds.wanted.notified()).await;
            let verdict = self.rounds.hold(self.ask_all(name.as_ref())).await;
            let are_enough = matches!(verdict, Verdict::Named(_));
            if let Verdict::Named(names) | Verdict::Fewer(names, _) = &verdict {
                name = names.first().cloned();
            }
            match verdict {
                Verdict::Named(_) if !were_enough => {
                    tracing::info!(
                        name = self.name,
                        "more than half of the Sentinels name the primary again"
                    );
                }
                Verdict::Fewer(_, fault) | Verdict::None(fault) if were_enough => tracing::warn!(
                    name = self.name,
                    error = %fault,
                    "not more than half of the Sentinels name the same primary: until they do, no client is called unknown"
                ),
                Verdict::Named(_) | Verdict::Fewer(..) | Verdict::None(_) => {}
            }
            were_enough = are_enough;
        }
    }

    /// Asks all of them, until more than half name the same server. `before` is the name by which a server is connected to.
    async fn ask_all(&self, before: Option<&Node>) -> Verdict {
        let all = self.each.len();
        let mut asked: FuturesUnordered<_> =
            self.each.iter().map(|sentinel| sentinel.ask(self.question(), &self.name)).collect();
        let (mut named, mut faults) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(node) => named.push(node),
                Err(fault) => faults.push(fault),
            }
            let last = named.last();
            if named.iter().filter(|node| Some(*node) == last).count() * 2 > all {
                let last = last.cloned();
                named.retain(|node| Some(node) == last.as_ref());
                break;
            }
        }
        let verdict = verdict(all, names::by_server(named, before).await, faults);
        self.learn(if let Verdict::Named(names) = &verdict { Some(names) } else { None });
        verdict
    }

    fn learn(&self, names: Option<&Vec<Node>>) {
        self.primary.send_if_modified(|primary| {
            let is_other = primary.as_ref() != names;
            if is_other {
                let former = std::mem::replace(primary, names.cloned());
                if let (Some(former), Some(names)) = (former, names)
                    && former[0] != names[0]
                {
                    tracing::info!(
                        name = self.name,
                        former = %former[0],
                        primary = %names[0],
                        "the Sentinels name another primary"
                    );
                }
            }
            is_other
        });
    }

    fn question(&self) -> Cmd {
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).take()
    }

    async fn stay_connected(self: Arc<Self>, number: usize) {
        let Sentinel { at, state } = &self.each[number];
        let mut backoff = Backoff::default();
        loop {
            let lost = Arc::new(Notify::new());
            let news = self.rounds.wanted.clone();
            let dialed = self.dialer.dial_sentinel(at, &self.question(), news, lost.clone()).await;
            match dialed {
                Ok(connection) => {
                    let start = now();
                    state.send_replace(State::Connected(connection, lost.clone()));
                    self.rounds.wanted.notify_one();
                    lost.notified().await;
                    if start.elapsed() >= GOOD_AFTER {
                        backoff.succeeded();
                    }
                    state.send_replace(State::Failed(Fault::lost(format!(
                        "the connection to {at} was closed"
                    ))));
                }
                Err(fault) => drop(state.send_replace(State::Failed(fault))),
            }
            sleep(backoff.failed(random())).await;
        }
    }
}

impl Sentinel {
    async fn ask(&self, question: Cmd, name: &str) -> Result<Node, Fault> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| !matches!(state, State::Untried)).await.map(|state| state.clone());
        let (mut connection, lost) = match state {
            Ok(State::Connected(connection, lost)) => (connection, lost),
            Ok(State::Failed(fault)) => return Err(fault),
            // The sender is in `self`.
            Ok(State::Untried) | Err(_) => return std::future::pending().await,
        };
        let answer = timeout(ANSWER_TIME, connection.send_packed_command(&question)).await;
        let answer = answer.map_err(|_| Fault::silent(ANSWER_TIME)).and_then(|answer| {
            answer.and_then(Value::extract_error).map_err(|error| Fault::from_redis(&error, &self.at))
        });
        let answer = answer.inspect_err(|_| lost.notify_one())?;
        let unknown =
            |_| Fault::refused(Cause::Refused, format!("the Sentinel at {} knows no {name}", self.at));
        let (host, port): (String, u16) = redis::from_redis_value(answer).map_err(unknown)?;
        Ok(Node::beside(&self.at, &host, port))
    }
}

/// What `all` of them say, of whom some name these servers and others fail. The error is that of one that refused the user if
/// there is one.
fn verdict(all: usize, servers: Vec<Server>, faults: Vec<Fault>) -> Verdict {
    let denied = faults.iter().find(|fault| fault.cause == Cause::Denied);
    let fault = denied.or(faults.last()).cloned();
    let named: usize = servers.iter().map(|server| server.votes).sum();
    let mut servers = servers.into_iter();
    let Some(first) = servers.next() else {
        return Verdict::None(
            fault.unwrap_or_else(|| Fault::refused(Cause::Unreachable, "no Sentinel is known")),
        );
    };
    if first.votes * 2 > all {
        return Verdict::Named(first.names);
    }
    if let Some(other) = servers.next() {
        let message =
            format!("the Sentinels do not agree: {} and {} are primaries", first.names[0], other.names[0]);
        return Verdict::None(Fault::refused(Cause::Unconfirmed, message));
    }
    let reason = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
    let message = format!("{named} of {all} Sentinels name the primary{reason}");
    Verdict::Fewer(first.names, Fault::refused(Cause::Unconfirmed, message))
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.each.iter().map(|sentinel| &sentinel.at).collect();
        f.debug_struct("Sentinels").field("name", &self.name).field("each", &each).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node { host: "h".into(), port }
    }

    #[test]
    fn fewer_than_most_are_believed_only_if_they_agree() {
        let server = |port, votes| Server { names: vec![node(port)], votes };
        let silent = || Fault::silent(ANSWER_TIME);
        assert_eq!(verdict(3, vec![server(1, 2), server(2, 1)], Vec::new()), Verdict::Named(vec![node(1)]));
        let fewer = verdict(3, vec![server(1, 1)], vec![silent(), silent()]);
        let Verdict::Fewer(names, fault) = fewer else { panic!("{fewer:?}") };
        assert_eq!((names, fault.cause), (vec![node(1)], Cause::Unconfirmed));
        assert_eq!(fault.message, "1 of 3 Sentinels name the primary: no answer within 1s");
        let split = verdict(3, vec![server(1, 1), server(2, 1)], vec![silent()]);
        assert!(matches!(&split, Verdict::None(fault) if fault.cause == Cause::Unconfirmed), "{split:?}");
        let denied = Fault::refused(Cause::Denied, "WRONGPASS");
        let none = verdict(3, Vec::new(), vec![silent(), denied, silent()]);
        assert!(matches!(&none, Verdict::None(fault) if fault.cause == Cause::Denied), "{none:?}");
    }
}
