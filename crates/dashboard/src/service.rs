//! The gRPC service of a connection-node for what operators ask through other nodes.

use crate::others::{ANSWER_TIMEOUT, Others, Unanswered};
use beckon_ops::stage::Stage;
use beckon_proto::{
    admin::Question,
    push_v1::{Answer, Attendance, Call, Question as WireQuestion, admin_server::Admin},
    status::Failure,
    target,
};
use beckon_types::NodeId;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use std::{fmt, sync::Arc};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

/// Answers for this node, and for those that attend here.
#[derive(Clone)]
pub struct AdminService {
    others: Arc<Others>,
    /// Ends the streams when this node stops.
    stage: Stage,
}

impl fmt::Debug for AdminService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminService")
    }
}

impl AdminService {
    pub(crate) fn new(others: Arc<Others>, stage: Stage) -> Self {
        Self { others, stage }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn ask(&self, request: Request<WireQuestion>) -> Result<Response<Answer>, Status> {
        let node = target::read(request.metadata()).ok_or(Failure::WrongNode)?;
        let question = Question::try_from(request.into_inner());
        let question = question.map_err(|unknown| Failure::Unsupported(unknown.to_string()))?;
        // Whoever asks has given up by then.
        let asked = timeout(ANSWER_TIMEOUT, self.others.ask_here(node, question)).await;
        let unreachable = |reason: Unanswered| Failure::Unreachable(reason.to_string());
        let answer = asked.map_err(|_| unreachable(Unanswered::Silent))?.ok_or(Failure::WrongNode)?;
        Ok(Response::new(answer.map_err(unreachable)?.into()))
    }

    type AttendStream = BoxStream<'static, Result<Call, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<Attendance>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        target::check(request.metadata(), self.others.local.id())?;
        let mut attendances = request.into_inner();
        let first = timeout(ANSWER_TIMEOUT, attendances.message()).await;
        let first = first.map_err(|_| Failure::Malformed("no first message".into()))??;
        let node = NodeId(first.ok_or_else(|| Failure::Malformed("no first message".into()))?.node);
        let (line, calls) = self.others.attending.enter(node);
        let (attending, stage) = (self.others.attending.clone(), self.stage.clone());
        self.stage.spawn(async move {
            let answers = async {
                while let Ok(Some(attendance)) = attendances.message().await {
                    line.answered(attendance);
                }
            };
            let _: Option<()> = stage.run_until_stopping(answers).await;
            // Drops the sender of the calls with the last clone of the line, which ends the stream.
            attending.leave(node, &line);
        });
        let calls = unfold(calls, |mut calls| async { Some((Ok(calls.recv().await?), calls)) });
        Ok(Response::new(calls.boxed()))
    }
}
