//! Requests go on although their senders give up.
//!
//! The HTTP server drops what answers a request when its connection closes. The store may have taken a notification by then, or
//! take it later, and a connected client has to get it without waiting for the next one.

use beckon_ops::stage::Stage;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{runtime::Handle, sync::Semaphore};

/// Requests without a sender that go on at the same time on each worker. Each ends within the time limits of the store and of the
/// streams. Further ones are dropped: what they have stored reaches a client with its next notification or hello.
const ABANDONED_MAX: usize = 1024;

/// Owns the requests that go on without their senders. Clones are the same owner.
#[derive(Debug, Clone)]
pub(super) struct Persistence(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    stage: Stage,
    permits: Arc<Semaphore>,
}

impl Persistence {
    /// The tasks belong to `stage`.
    pub(super) fn new(stage: Stage) -> Self {
        Self(Arc::new(Owner { stage, permits: Arc::new(Semaphore::new(ABANDONED_MAX)) }))
    }

    /// Work that goes on in a task of its own if it is dropped before it has ended.
    pub(super) fn carry<F>(&self, work: F) -> Persistent<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Persistent { work: Some(Box::pin(work)), owner: Arc::clone(&self.0) }
    }
}

/// See [`Persistence::carry`].
pub(super) struct Persistent<F: Future<Output: Send> + Send + 'static> {
    /// `None`: it has ended, or has panicked.
    work: Option<Pin<Box<F>>>,
    owner: Arc<Owner>,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Persistent<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // What panics is not put back: it must not be polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Persistent<F> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Ok(permit) = Arc::clone(&self.owner.permits).try_acquire_owned() else { return };
        // There is none when the program ends and drops what is left.
        if Handle::try_current().is_ok() {
            self.owner.stage.spawn(async move {
                work.await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_ops::shutdown::Shutdown;
    use std::{task::Waker, time::Duration};
    use tokio::sync::oneshot;

    fn persistence() -> Persistence {
        Persistence::new(Stage::new(&Shutdown::new(), "tested"))
    }

    #[tokio::test]
    async fn what_is_dropped_goes_on_and_what_has_ended_does_not() {
        let (persistence, (go, gone), (tell, told)) = (persistence(), oneshot::channel(), oneshot::channel());
        let mut work = persistence.carry(async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok(7));
        assert_eq!(persistence.carry(async { 8 }).await, 8);
        persistence.0.stage.stop(Duration::from_secs(10)).await;
        assert_eq!(persistence.0.permits.available_permits(), ABANDONED_MAX);
    }

    #[tokio::test]
    async fn there_are_no_more_than_its_limit() {
        let persistence = persistence();
        for _ in 0..ABANDONED_MAX + 3 {
            drop(persistence.carry(std::future::pending::<()>()));
        }
        assert_eq!(persistence.0.stage.tasks(), ABANDONED_MAX);
    }

    /// The listener answers a panic with 500, and drops what has panicked.
    #[tokio::test]
    async fn what_has_panicked_does_not_go_on() {
        let persistence = persistence();
        let mut work = persistence.carry(async { panic!("tested") });
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = Pin::new(&mut work).poll(&mut Context::from_waker(Waker::noop()));
        }));
        assert!(polled.is_err());
        drop(work);
        assert_eq!(persistence.0.stage.tasks(), 0);
    }

    #[test]
    fn what_is_dropped_outside_of_a_runtime_ends() {
        drop(persistence().carry(std::future::pending::<()>()));
    }
}
