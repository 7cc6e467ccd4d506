//! This node, as it answers to operators, whichever node they are connected to.

use crate::figures;
use beckon_node::{
    admin::{Admin, Report},
    audit::Entry,
    drain::Phase,
    guard::Guard,
};
use beckon_ops::clock::Clock;
use beckon_proto::{
    admin::{Answer, AuditLine, Quantity, Question, Status},
    auth::{ClusterSecret, PresentSecret},
    push_v1::{Attendance, Call, admin_client::AdminClient},
    status::Failure,
    target,
};
use beckon_types::{ConnectionId, NodeId};
use futures_util::stream::{self, StreamExt as _};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::{Request, service::interceptor::InterceptedService, transport::Channel};

/// Answers on their way to a node that this one attends at.
const ANSWERS_MAX: usize = 16;

/// Pause before a node attends again after its stream has ended.
const ATTEND_AGAIN: Duration = Duration::from_secs(2);

/// What operators can do with the sockets of a node that has some.
pub trait Sockets: fmt::Debug + Send + Sync {
    /// Begins to close some of them. Returns how many.
    ///
    /// # Errors
    /// Why not, for people.
    fn shed(&self, quantity: Quantity) -> Result<u64, String>;

    /// For how long a socket has been open, in milliseconds; `None` if it is not here.
    fn open_ms(&self, connection: ConnectionId) -> Option<u64>;

    /// Closes a socket with 1001, if it is here.
    fn disconnect(&self, connection: ConnectionId);

    /// Closes a socket whose client was revoked, if it is here.
    fn evict(&self, connection: ConnectionId);

    /// Lets a socket re-read the store, if it is here.
    fn reread(&self, connection: ConnectionId);
}

/// This node.
#[derive(Debug)]
pub struct Local {
    id: NodeId,
    admin: Arc<Admin>,
    guard: Arc<Guard>,
    clock: Clock,
    sockets: Option<Arc<dyn Sockets>>,
}

impl Local {
    /// The node that `admin` and `guard` belong to. `id` is the one that the directory has.
    pub fn new(
        id: NodeId,
        admin: Arc<Admin>,
        guard: Arc<Guard>,
        clock: Clock,
        sockets: Option<Arc<dyn Sockets>>,
    ) -> Arc<Self> {
        Arc::new(Self { id, admin, guard, clock, sockets })
    }

    /// This run of the node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Does what an operator asks for.
    pub(crate) async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Status => Answer::Status(Box::new(self.status().await)),
            Question::Audit => Answer::Audit(self.guard.audit().into_iter().map(line).collect()),
            Question::Drain { begin: true } => {
                self.admin.drain().begin();
                Answer::Done { sockets: 0 }
            }
            Question::Drain { begin: false } => match self.admin.drain().undo() {
                Ok(()) => Answer::Done { sockets: 0 },
                Err(error) => Answer::Refused(error.to_string()),
            },
            Question::Shed(quantity) => self.of_sockets(|sockets| match sockets.shed(quantity) {
                Ok(sockets) => Answer::Done { sockets },
                Err(reason) => Answer::Refused(reason),
            }),
            Question::Find(id) => self.of_sockets(|sockets| Answer::Socket { open_ms: sockets.open_ms(id) }),
            Question::Disconnect(id) => self.with_socket(id, |sockets| sockets.disconnect(id)),
            Question::Evict(id) => self.with_socket(id, |sockets| sockets.evict(id)),
            Question::Reread(id) => self.with_socket(id, |sockets| sockets.reread(id)),
        }
    }

    fn of_sockets(&self, answer: impl FnOnce(&dyn Sockets) -> Answer) -> Answer {
        match self.sockets.as_deref() {
            Some(sockets) => answer(sockets),
            None => Answer::Refused("the node has no sockets".into()),
        }
    }

    /// Does something to a socket, and answers for how long it had been open.
    fn with_socket(&self, id: ConnectionId, act: impl FnOnce(&dyn Sockets)) -> Answer {
        self.of_sockets(|sockets| {
            let open_ms = sockets.open_ms(id);
            act(sockets);
            Answer::Socket { open_ms }
        })
    }

    async fn status(&self) -> Status {
        let clock_us = self.clock.now_us();
        let Report { build, name, phase, unready, clients, clients_max, metrics } = self.admin.report().await;
        let (figures, histograms) = figures::read(&metrics);
        let phase = match phase {
            Phase::Serving => "serving",
            Phase::Leaving => "leaving",
            Phase::Closing => "closing",
        };
        Status {
            program: build.source.to_owned(),
            version: build.version.to_owned(),
            commit: build.commit.to_owned(),
            name,
            phase: phase.to_owned(),
            unready: unready.unwrap_or_default().to_owned(),
            sockets: clients,
            sockets_max: clients_max,
            clock_us,
            figures,
            histograms,
        }
    }

    /// Answers what operators ask of this node through another one, for as long as the connection to that works. For a
    /// node that other nodes cannot call. Ends if the other node does not know this.
    pub async fn attend(&self, at: NodeId, channel: Channel, secret: ClusterSecret) {
        let client = AdminClient::with_interceptor(channel, PresentSecret(secret));
        loop {
            match self.attend_once(at, client.clone()).await {
                Err(Failure::Unsupported(_)) => return,
                Ok(()) => {}
                Err(failure) => tracing::debug!(node.id = %at, %failure, "operators do not reach this node"),
            }
            tokio::time::sleep(ATTEND_AGAIN).await;
        }
    }

    async fn attend_once(
        &self,
        at: NodeId,
        mut client: AdminClient<InterceptedService<Channel, PresentSecret>>,
    ) -> Result<(), Failure> {
        let (answers, waiting) = mpsc::channel(ANSWERS_MAX);
        let here = Attendance { node: self.id.0, tag: 0, answer: None };
        let answered =
            stream::unfold(waiting, |mut waiting| async { Some((waiting.recv().await?, waiting)) });
        let mut request = Request::new(stream::once(std::future::ready(here)).chain(answered));
        target::write(request.metadata_mut(), at);
        let mut calls = client.attend(request).await.map_err(Failure::from)?.into_inner();
        while let Some(Call { tag, question }) = calls.message().await.map_err(Failure::from)? {
            let answer = match question.map(Question::try_from) {
                Some(Ok(question)) => self.answer(question).await,
                Some(Err(_)) | None => Answer::Refused("the node is of an older version".into()),
            };
            let attendance = Attendance { node: self.id.0, tag, answer: Some(answer.into()) };
            if answers.send(attendance).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn line(entry: Entry) -> AuditLine {
    let Entry { at_ms, operator, peer, change, status } = entry;
    let peer = peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default();
    AuditLine { at_ms, operator, peer, change, status: status.as_u16() }
}
