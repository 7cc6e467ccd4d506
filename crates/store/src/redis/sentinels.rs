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
    /// The server that more than half of them name. `None` while half of them or fewer can be asked.
    primary: watch::Sender<Option<Node>>,
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
    /// More than half of them name this server.
    Named(Node),
    /// Half of them or fewer have answered, and all of those name this server.
    Fewer(Node, Fault),
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
            Verdict::Named(node) | Verdict::Fewer(node, _) => Ok(node),
            Verdict::None(fault) => Err(fault),
        }
    }

    /// Confirms that this server is the primary, by an answer that was given after this call.
    pub(super) async fn confirm(&self, server: &Node) -> Result<(), Fault> {
        match self.rounds.ask().await {
            Verdict::Named(node) if node == *server => Ok(()),
            Verdict::Named(node) => Err(Fault::deposed(&node)),
            Verdict::Fewer(_, fault) | Verdict::None(fault) => Err(Fault::unconfirmed(&fault)),
        }
    }

    /// Ready when another server than this one is the primary.
    pub(super) async fn deposed(&self, server: &Node) -> Fault {
        let mut primary = self.primary.subscribe();
        let is_other = |named: &Option<Node>| named.as_ref().is_some_and(|named| named != server);
        let named = primary.wait_for(is_other).await.ok().and_then(|named| named.clone());
        match named {
            Some(named) => Fault::deposed(&named),
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    async fn keep_asking(self: Arc<Self>) {
        let mut were_enough = true;
        loop {
            let _ = timeout(jittered(ASK_INTERVAL, random()), self.rounds.wanted.notified()).await;
            let verdict = self.rounds.hold(self.ask_all()).await;
            let are_enough = matches!(verdict, Verdict::Named(_));
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

    /// Asks all of them, until more than half name the same server.
    async fn ask_all(&self) -> Verdict {
        let mut asked: FuturesUnordered<_> =
            self.each.iter().map(|sentinel| sentinel.ask(self.question(), &self.name)).collect();
        let (mut answers, mut named) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            named.extend(answer.as_ref().ok().cloned());
            answers.push(answer);
            let last = named.last();
            let votes = named.iter().filter(|node| Some(*node) == last).count();
            if let Some(node) = last
                && votes * 2 > self.each.len()
            {
                let node = node.clone();
                self.learn(Some(&node));
                return Verdict::Named(node);
            }
        }
        self.learn(None);
        verdict(answers)
    }

    fn learn(&self, node: Option<&Node>) {
        self.primary.send_if_modified(|primary| {
            let is_other = primary.as_ref() != node;
            if is_other {
                let former = std::mem::replace(primary, node.cloned());
                if let (Some(former), Some(node)) = (former, node) {
                    tracing::info!(name = self.name, %former, primary = %node, "the Sentinels name another primary");
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

/// What they say if not more than half of them name the same server. The error is that of one that refused the user if there
/// is one.
fn verdict(answers: Vec<Result<Node, Fault>>) -> Verdict {
    let all = answers.len();
    let (mut named, mut fault) = (Vec::new(), None::<Fault>);
    for answer in answers {
        match answer {
            Ok(node) => named.push(node),
            Err(other) => fault = fault.filter(|fault| fault.cause == Cause::Denied).or(Some(other)),
        }
    }
    let Some(first) = named.first() else {
        return Verdict::None(
            fault.unwrap_or_else(|| Fault::refused(Cause::Unreachable, "no Sentinel is known")),
        );
    };
    if let Some(other) = named.iter().find(|node| *node != first) {
        let message = format!("the Sentinels do not agree: {first} and {other} are primaries");
        return Verdict::None(Fault::refused(Cause::Unconfirmed, message));
    }
    let reason = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
    let message = format!("{} of {all} Sentinels name the primary{reason}", named.len());
    Verdict::Fewer(first.clone(), Fault::refused(Cause::Unconfirmed, message))
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
        let silent = || Err(Fault::silent(ANSWER_TIME));
        let fewer = verdict(vec![Ok(node(1)), silent(), silent()]);
        let Verdict::Fewer(named, fault) = fewer else { panic!("{fewer:?}") };
        assert_eq!((named, fault.cause), (node(1), Cause::Unconfirmed));
        assert_eq!(fault.message, "1 of 3 Sentinels name the primary: no answer within 1s");
        let split = verdict(vec![Ok(node(1)), silent(), Ok(node(2))]);
        assert!(matches!(&split, Verdict::None(fault) if fault.cause == Cause::Unconfirmed), "{split:?}");
        let denied = Err(Fault::refused(Cause::Denied, "WRONGPASS"));
        let none = verdict(vec![silent(), denied, silent()]);
        assert!(matches!(&none, Verdict::None(fault) if fault.cause == Cause::Denied), "{none:?}");
    }
}
