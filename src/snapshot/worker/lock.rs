//! Tables without a key: one chunk, read under a lock.

use std::time::Duration;

use super::halt::Halt;
use super::{UnderWay, Worker};
use crate::snapshot::Layout;
use crate::snapshot::ask::{Ask, ChunkPart};
use crate::snapshot::begin;
use crate::snapshot::progress::TableProgress;
use crate::snapshot::reader::Lock;
use crate::telemetry::snapshot::ChunkDiscard as Discard;

/// Attempts to lock a table that others write to, before it is given up.
const LOCKS_MISSED_MAX: u32 = 20;
/// Pause between two of them: writers who waited behind one go first.
const LOCK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a lock is kept for the loop to take notice of what was read under it.
const HANDED_OVER_WITHIN: Duration = Duration::from_millis(500);

impl Worker {
    /// All rows of a table without a key. The lock is kept until the loop has them, so that no row can
    /// go by that they do not have; should that take long, the loop notices and discards them.
    pub(super) async fn locked_chunk(
        &mut self,
        table: &TableProgress,
        number: usize,
    ) -> Result<UnderWay, Halt> {
        let (chunk, is_end, _) = self.chunk(table, number, ChunkPart::Locked).await?;
        if !is_end {
            self.ask(Ask::Drop { window: chunk.window }).await?;
            let found = format!("more than {} rows or so", chunk.rows.len());
            return Err(Halt::Abandon(begin::too_large(&found, self.config.keyless_rows)));
        }
        let chunk = self.hand_over(chunk).await?;
        if let Ok(looked) = tokio::time::timeout(HANDED_OVER_WITHIN, self.look()).await {
            looked?;
        }
        Ok(chunk)
    }

    /// Lets nobody write to the table.
    pub(super) async fn lock(&mut self, layout: &Layout) -> Result<(), Halt> {
        match self.connections.lock(layout).await? {
            Lock::Held => Ok(()),
            Lock::Busy => {
                self.tries.locks_missed += 1;
                if self.tries.locks_missed > LOCKS_MISSED_MAX {
                    let why = "it has no key, and others write to it for so long that it can't be \
                               locked: begin it again when it is at rest";
                    return Err(Halt::Abandon(why.to_owned()));
                }
                self.rest(LOCK_AGAIN_AFTER).await;
                Err(Halt::Discarded(Discard::TooSlow))
            }
            Lock::SchemaChanged => Err(Halt::Discarded(Discard::SchemaChanged)),
            Lock::Refused(why) => Err(Halt::Abandon(why)),
        }
    }
}
