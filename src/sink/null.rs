//! A sink that settles everything at once: for benchmarks, and to look at the rest of the service.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::intake::Ticket;
use super::{Error, Health, Intake, Settlement};

/// Tickets taken in one go.
pub(super) const BURST: usize = 256;

/// See the head of this file. It is as durable as it sounds.
#[derive(Debug, Default)]
pub struct Null {
    health: Arc<Health>,
}

impl Null {
    /// With its numbers in `health`.
    pub fn with(health: Arc<Health>) -> Self {
        Self { health }
    }

    /// Settles until the intake has ended; see the contract of [`sink`](super).
    pub async fn run(
        self,
        mut intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut tickets = Vec::with_capacity(BURST);
        while next_burst(&mut intake, &mut tickets, &stop).await {
            settle(&mut tickets, &settlements, &self.health).await?;
        }
        Ok(())
    }
}

/// Waits for tickets; false when there will be no more. A request to stop closes the intake.
pub(super) async fn next_burst(
    intake: &mut Intake,
    tickets: &mut Vec<Ticket>,
    stop: &CancellationToken,
) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => intake.close(),
        taken = intake.recv_many(tickets, BURST) => return taken > 0,
    }
    intake.recv_many(tickets, BURST).await > 0
}

/// Settles what the far side has taken.
pub(super) async fn settle(
    tickets: &mut Vec<Ticket>,
    settlements: &mpsc::Sender<Settlement>,
    health: &Health,
) -> Result<(), Error> {
    let at = tokio::time::Instant::now().into_std();
    for Ticket { message, entered, .. } in tickets.drain(..) {
        health.acknowledged(entered, at, message.billed_bytes());
        let settled = Settlement::Settled { id: message.id, ack_group: message.ack_group, at };
        settlements.send(settled).await.map_err(|_| Error::Abandoned)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::intake;
    use crate::sink::sns::fixture::message;

    #[tokio::test]
    async fn everything_is_settled_in_order_and_a_stop_takes_what_is_queued() {
        let (feed, intake) = intake(1 << 20);
        for id in 0..5 {
            feed.send(message(id, 1, 10)).await.expect("there is room");
        }
        let (sender, mut settlements) = mpsc::channel(10);
        let stop = CancellationToken::new();
        stop.cancel();
        Null::default().run(intake, sender, stop).await.expect("nothing can fail");
        for expected in 0..5 {
            let settlement = settlements.recv().await.expect("five come");
            assert!(matches!(settlement, Settlement::Settled { id, .. } if id == expected));
        }
        assert!(feed.send(message(9, 1, 10)).await.is_err(), "it takes no more");
    }
}
