//! One event to encoded batches.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::Error;
use super::run::{Interrupt, Pipeline};
use crate::decode::{self, Decoder, Steps};

/// How far an event's steps were taken.
enum Stepped {
    ToTheEnd,
    /// There are encoded batches to hand on first.
    Batches,
    /// The log does not tell enough.
    Stuck(Box<decode::Error>),
}

impl Pipeline {
    /// One event to encoded batches, and those to the finalizing thread.
    pub(super) async fn take(
        &mut self,
        decoder: &mut Decoder,
        event: &[u8],
        now: Instant,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        self.parts.flow.event(event);
        let mut steps = decoder.feed(event)?;
        loop {
            match self.step(&mut steps, now)? {
                Stepped::ToTheEnd => return Ok(()),
                Stepped::Batches => {
                    self.ship(stop).await?;
                    if self.parts.flow.keeps_pace() {
                        Box::pin(self.keep_pace(stop)).await?;
                    }
                }
                Stepped::Stuck(error) => {
                    self.on_decode_error(&mut steps, *error, stop).await?;
                    self.keep_undecoded()?;
                }
            }
        }
    }

    /// Takes steps until there is something to wait for: nothing else is worth a future.
    #[inline]
    fn step(&mut self, steps: &mut Steps<'_, '_>, now: Instant) -> Result<Stepped, Error> {
        loop {
            match steps.next() {
                Ok(Some(next)) => self.parts.flow.step(next, now)?,
                Ok(None) => return Ok(Stepped::ToTheEnd),
                Err(error) => return Ok(Stepped::Stuck(Box::new(error))),
            }
            self.keep_undecoded()?;
            if self.parts.flow.has_exceeded() {
                self.exceeded()?;
            }
            if self.parts.flow.has_batches() {
                return Ok(Stepped::Batches);
            }
        }
    }

    /// What can't be decoded is kept before anything behind it leaves.
    #[inline]
    fn keep_undecoded(&mut self) -> Result<(), Error> {
        for undecoded in self.parts.flow.take_undecoded() {
            if let Err(error) = self.quarantine(undecoded) {
                self.parts.flow.not_put_aside();
                return Err(error);
            }
        }
        Ok(())
    }
}
