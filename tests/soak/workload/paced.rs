//! A session that writes rows at a rate, whatever the others do: small transactions over one table, in
//! which rows are inserted, changed, moved to other keys and deleted all over the range of its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};

use super::DATABASE;
use crate::dice::Dice;
use crate::service::session;

/// Rows a second that one session is trusted with.
pub(super) const RATE_MAX: u64 = 1_000;
/// Rows that the table begins with.
const ROWS: u64 = 20_000;
/// Ids that rows are moved to, behind all others.
const FAR: u64 = 1_000_000_000;
/// Rows of a transaction, at most.
const TOGETHER: u64 = 16;
/// What could not be written in time is left out, but for this.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Statements that make the table.
pub(super) fn table() -> [String; 2] {
    let digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION \
                  SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    [
        "CREATE TABLE busy (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL, note VARCHAR(90))"
            .to_owned(),
        format!(
            "INSERT INTO busy (v, note) SELECT 0, REPEAT('.', 60) FROM {digits} a, {digits} b, \
             {digits} c, {digits} e, (SELECT 0 UNION SELECT 1) f LIMIT {ROWS}"
        ),
    ]
}

pub(super) struct Paced {
    pub(super) port: Arc<AtomicU16>,
    /// Rows a second.
    pub(super) rate: u64,
    pub(super) dice: Dice,
    pub(super) committed: Arc<AtomicU64>,
}

impl Paced {
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            // An error ends the session only: the server was killed, or is down.
            self.write(&stop).await.ok();
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn write(&mut self, stop: &AtomicBool) -> Result<(), mysql_async::Error> {
        let mut session = session(self.port.load(Ordering::Relaxed)).await?;
        session.query_drop(format!("USE {DATABASE}")).await?;
        session.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let rows = self.dice.between(1, TOGETHER);
            match session.query_drop(self.transaction(rows)).await {
                Ok(()) => drop(self.committed.fetch_add(1, Ordering::Relaxed)),
                // A deadlock.
                Err(mysql_async::Error::Server(_)) => session.query_drop("ROLLBACK").await?,
                Err(error) => return Err(error),
            }
            due += Duration::from_secs(rows) / u32::try_from(self.rate).expect("a few thousands");
            due = due.max(Instant::now() - LATE_MAX);
            tokio::time::sleep_until(due).await;
        }
        session.disconnect().await
    }

    fn transaction(&mut self, rows: u64) -> String {
        let mut statements = vec!["BEGIN".to_owned()];
        statements.extend((0..rows).map(|_| self.statement()));
        statements.push("COMMIT".to_owned());
        statements.join("; ")
    }

    fn statement(&mut self) -> String {
        let dice = &mut self.dice;
        let from = if dice.one_in(8) { FAR + dice.below(FAR) } else { dice.below(2 * ROWS) };
        let which = format!("WHERE id >= {from} ORDER BY id LIMIT 1");
        match dice.below(10) {
            0 | 1 => format!("INSERT INTO busy (v, note) VALUES ({}, 'new')", dice.below(1_000)),
            2 | 3 => format!("DELETE FROM busy {which}"),
            4 => format!("UPDATE busy SET id = {} {which}", FAR + dice.below(FAR)),
            5 => format!("UPDATE busy SET id = -id {which}"),
            _ => format!("UPDATE busy SET v = v + 1 {which}"),
        }
    }
}
