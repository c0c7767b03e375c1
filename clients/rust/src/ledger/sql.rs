//! Numbers of lanes in a table of a SQL database, with any driver.

use std::future::Future;

use super::{Change, LaneName, State, Store, StoreError, state, text};

/// Makes the table. For MySQL, whose comparisons ignore case, add `COLLATE utf8mb4_bin` behind it.
pub const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS binpulse_lanes (stream VARCHAR(64) NOT NULL, \
     epoch BIGINT NOT NULL, lane VARCHAR(600) NOT NULL, next BIGINT NOT NULL, suppressed TEXT NOT NULL, \
     PRIMARY KEY (stream, epoch, lane))";

/// A value for a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlValue<'a> {
    /// BIGINT.
    Number(i64),
    /// VARCHAR, TEXT.
    Text(&'a str),
}

/// What a statement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The first row, if any: a BIGINT and a TEXT.
    pub row: Option<(i64, String)>,
    /// How many rows it changed.
    pub changed: u64,
}

/// A connection to a database, or the open transaction of one: each is a [`Store`]. It neither begins nor
/// commits. The feature `mysql` has it for `mysql_async`; for another driver, write this one method.
pub trait Sql {
    /// The driver's error.
    type Error: Send;

    /// Runs a statement, whose placeholders are `?`. (PostgreSQL has `$1`, `$2` ..: replace them in order.)
    fn run(
        &mut self,
        sql: &str,
        values: &[SqlValue<'_>],
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

impl<S: Sql + Send> Store for S {
    type Error = StoreError<S::Error>;

    async fn load(&mut self, lane: &LaneName) -> Result<Option<State>, Self::Error> {
        let sql = "SELECT next, suppressed FROM binpulse_lanes WHERE stream = ? AND epoch = ? AND lane = ?";
        let Some((next, suppressed)) = self.run(sql, &key(lane)?).await?.row else {
            return Ok(None);
        };
        let found = u64::try_from(next).ok().and_then(|next| state(next, &suppressed));
        found.map(Some).ok_or_else(|| StoreError::State(lane.lane.clone()))
    }

    async fn save(&mut self, change: &Change) -> Result<(), Self::Error> {
        let Change { lane, before, after, .. } = change;
        let [stream, epoch, name] = key(lane)?;
        let next = |state: &State| number(state.next.unwrap_or(0), lane);
        let to = text(&after.suppressed);
        let Some(before) = before else {
            let sql = "INSERT INTO binpulse_lanes VALUES (?, ?, ?, ?, ?)";
            self.run(sql, &[stream, epoch, name, next(after)?, SqlValue::Text(&to)]).await?;
            return Ok(());
        };
        if before == after {
            return Ok(());
        }
        let sql = "UPDATE binpulse_lanes SET next = ?, suppressed = ? \
                   WHERE stream = ? AND epoch = ? AND lane = ? AND next = ? AND suppressed = ?";
        let from = text(&before.suppressed);
        let (from, to) =
            ([next(before)?, SqlValue::Text(&from)], [next(after)?, SqlValue::Text(&to)]);
        let values = [to[0], to[1], stream, epoch, name, from[0], from[1]];
        match self.run(sql, &values).await?.changed {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(lane.lane.clone())),
        }
    }
}

fn key<E>(lane: &LaneName) -> Result<[SqlValue<'_>; 3], StoreError<E>> {
    Ok([SqlValue::Text(&lane.stream), number(lane.epoch, lane)?, SqlValue::Text(&lane.lane)])
}

fn number<E>(number: u64, lane: &LaneName) -> Result<SqlValue<'static>, StoreError<E>> {
    let number = i64::try_from(number).map_err(|_| StoreError::State(lane.lane.clone()))?;
    Ok(SqlValue::Number(number))
}
