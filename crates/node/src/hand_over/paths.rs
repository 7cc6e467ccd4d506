//! What operators ask for on the admin listener.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /hand-over` | 200, `{"process": PID, "sockets": N, "http_connections": N, "closed": N, "pause_ms": N}`: the program was started again, and serves |
//!
//! 409 says why nothing was handed over; then this process serves on.

use super::{
    giving::{Ended, Given, Giver, Holdings, Sent},
    seat::Seat,
};
use crate::{
    admin::{Admin, json},
    routes::Route,
};
use beckon_ops::{exit::Failure, process};
use hyper::{Response, StatusCode, body::Bytes};
use serde::Serialize;
use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use warp::{Filter, Rejection};

/// Time for the new process to start and to take over. It may have to wait for its store.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// The hand-overs of a program. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct HandOvers {
    /// Tells how they end, once the program can hand over.
    results: Arc<OnceLock<watch::Receiver<Ended>>>,
}

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("hand_over is not set, so this process cannot be handed over")]
    NotSet,
    #[error("a hand-over is under way")]
    UnderWay,
    #[error(
        "this is the first process of its container, and the next one would end with it; start another container with the same \
         hand_over"
    )]
    FirstOfContainer,
    #[error("the program cannot be started again: {0}")]
    Start(#[from] io::Error),
    #[error("the new process has ended ({0}); its log says why")]
    Ended(std::process::ExitStatus),
    #[error("the new process has not taken over within {TAKEN_MAX:?}")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

/// The answer to a request that is done.
#[derive(Serialize)]
struct HandedOver {
    process: Option<u32>,
    sockets: u64,
    http_connections: u64,
    closed: u64,
    pause_ms: u64,
}

impl HandOvers {
    /// What operators ask for here.
    pub const ROUTES: &'static [Route] = &[Route::new("POST", "/hand-over")];

    /// Hands over to the next process that asks for it.
    ///
    /// # Errors
    /// The Unix socket cannot be made.
    pub fn serve<H: Holdings>(&self, seat: Seat, giver: Giver<H>) -> Result<(), Failure> {
        let listener = seat.place.listen(&seat.lock).map_err(Failure::unavailable)?;
        let results = watch::Sender::default();
        // Set once, because this is called once.
        let _ = self.results.set(results.subscribe());
        let stage = giver.stage.clone();
        stage.spawn_finite("hand-over", giver.run(seat, listener, results));
        Ok(())
    }

    /// The path of the table, for [`Admin::serve_with`]. Everything else is rejected.
    pub fn path(
        &self,
        admin: Arc<Admin>,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
    {
        let (results, permits) = (self.results.clone(), Arc::new(Semaphore::new(1)));
        warp::path!("hand-over").and(warp::post()).then(move || {
            let (results, admin, permits) = (results.clone(), admin.clone(), permits.clone());
            async move {
                match hand_over(&results, &permits).await {
                    Ok(Given { process, sent, closed, pause }) => {
                        let Sent { sockets, requests: http_connections } = sent;
                        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                        let answer = HandedOver { process, sockets, http_connections, closed, pause_ms };
                        json(StatusCode::OK, &answer)
                    }
                    Err(refusal) => admin.error(StatusCode::CONFLICT, &refusal.to_string()),
                }
            }
        })
    }
}

/// Starts the program again, and waits until it serves.
async fn hand_over(
    hand_overs: &OnceLock<watch::Receiver<Ended>>,
    permits: &Semaphore,
) -> Result<Given, Refusal> {
    let mut ended = hand_overs.get().ok_or(Refusal::NotSet)?.clone();
    let _permit = permits.try_acquire().map_err(|_| Refusal::UnderWay)?;
    if process::is_first() {
        return Err(Refusal::FirstOfContainer);
    }
    ended.borrow_and_update();
    // One that does not take over ends by itself.
    let mut child = process::start_again()?;
    let waiting = async {
        tokio::select! {
            biased;
            changed = ended.changed() => changed.map_err(|_| Refusal::Failed("the node is stopping".to_owned())),
            status = child.wait() => Err(status.map_or_else(Refusal::from, Refusal::Ended)),
        }
    };
    timeout(TAKEN_MAX, waiting).await.unwrap_or(Err(Refusal::TimedOut))?;
    let ended = ended.borrow_and_update().clone();
    ended.ok_or(Refusal::TimedOut)?.map_err(Refusal::Failed)
}
