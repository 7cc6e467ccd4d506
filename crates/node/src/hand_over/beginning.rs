//! How a program begins at a place of hand-overs, whatever it has.

use super::{
    seat::{PortFiles, Seat},
    taking::{Beginning, Offered},
};
use crate::assembly::Run;
use beckon_ops::exit::Failure;

/// A program that is handed over.
pub trait Program: Sized {
    /// Hands over to the next process that asks for it.
    ///
    /// # Errors
    /// The Unix socket cannot be made.
    fn hand_over(&self, seat: Seat, ports: PortFiles) -> Result<(), Failure>;

    /// Stops everything.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Begins as the first process (`alone`), or goes on with what another process has served until now: it prepares that, and
/// `succeed`s if the other one lets it. `None` if the first process is stopped before it serves.
///
/// # Errors
/// It cannot serve.
pub async fn start<P: Program, T>(
    beginning: Beginning,
    run: Run,
    alone: impl AsyncFnOnce(Run) -> Result<Option<(P, PortFiles)>, Failure>,
    prepare: impl AsyncFnOnce(&mut Offered, Run) -> Result<(P, PortFiles, T), Failure>,
    succeed: impl AsyncFnOnce(&P, T),
) -> Result<Option<P>, Failure> {
    let mut offered = match beginning {
        Beginning::Alone(seat) => {
            let Some((program, ports)) = alone(run).await? else { return Ok(None) };
            if let Some(seat) = seat {
                program.hand_over(seat, ports)?;
            }
            return Ok(Some(program));
        }
        Beginning::Offered(offered) => offered,
    };
    let run = run.continuing(&offered);
    let (program, ports, inherited) = match prepare(&mut offered, run).await {
        Ok(prepared) => prepared,
        Err(failure) => return Err(offered.decline(failure).await),
    };
    match offered.confirm().await {
        Ok(successor) => {
            succeed(&program, inherited).await;
            // It has all connections, so this does not end it.
            if let Err(failure) = program.hand_over(successor.serves().await, ports) {
                tracing::error!(reason = failure.message, "this process cannot be handed over");
            }
            Ok(Some(program))
        }
        Err(failure) => {
            drop(inherited);
            program.stop().await;
            Err(failure)
        }
    }
}
