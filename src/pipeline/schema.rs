//! Tables that the log does not name the columns of: asking for them while an event waits.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

use super::run::{Interrupt, Pipeline};
use crate::decode::{self, Agreement, Answer, Fault, Steps};
use crate::source::Columns;
use crate::telemetry::Metrics;

/// Who is asked, and of which tables the log has been told.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// `None`: nobody; the decoder does not ask then.
    columns: Option<Columns>,
    told: HashSet<(String, Agreement)>,
}

/// Tables that are remembered as told; beyond that they are told again.
const TOLD_MAX: usize = 10_000;

impl Pipeline {
    /// From here on tables are asked for there.
    pub(crate) fn ask_for_schemas(&mut self, columns: Option<Columns>) {
        self.schemas.columns = columns;
    }

    /// The decoder can't continue by itself: it waits for an answer, or an event is to be quarantined, or
    /// the error is the end.
    pub(super) async fn on_decode_error(
        &mut self,
        steps: &mut Steps<'_, '_>,
        error: decode::Error,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        if matches!(error.fault, Fault::SchemaNeeded { .. }) {
            return self.describe(steps, error, stop).await;
        }
        Ok(self.parts.flow.on_decode_error(steps, error)?)
    }

    /// Answers the decoder. Meanwhile messages that are on their way settle.
    async fn describe(
        &mut self,
        steps: &mut Steps<'_, '_>,
        error: decode::Error,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        let Fault::SchemaNeeded { database, table } = &error.fault else {
            return Err(error.into());
        };
        if !self.parts.flow.wants(database, table) {
            steps.describe(Answer::NotNeeded)?;
            return Ok(());
        }
        let Some(mut columns) = self.schemas.columns.take() else { return Err(error.into()) };
        let mut answer = None;
        let asking = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                found = columns.describe(database, table) => answer = Some(found),
            }
        };
        let idled = Box::pin(self.idle(asking)).await;
        self.schemas.columns = Some(columns);
        idled?;
        let Some(found) = answer else { return Err(Interrupt::Stopped) };
        let found = found?;
        let as_described = if self.parts.flow.goes_by_names(database, table) {
            Answer::MustBeOlder
        } else {
            Answer::Described
        };
        let answer = found.as_ref().map_or(Answer::Unknown, as_described);
        let agreement = steps.describe(answer)?;
        self.schemas.tell(&format!("{database}.{table}"), agreement, &self.parts.metrics);
        Ok(())
    }
}

impl Schemas {
    /// Counts each answer, and logs once per table what is doubtful about it.
    fn tell(&mut self, table: &str, agreement: Agreement, metrics: &Metrics) {
        let result = match agreement {
            Agreement::Yes => "agrees",
            Agreement::ButChangedSince => "changed_since",
            Agreement::ButLossy => "lossy",
            Agreement::No => "disagrees",
            Agreement::Unasked => return,
        };
        metrics.schema_lookups_total.of(result).inc();
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if !self.told.insert((table.to_owned(), agreement)) {
            return;
        }
        match agreement {
            Agreement::Unasked => {}
            Agreement::Yes => {
                tracing::info!(table, "columns are named by information_schema, not by the binlog");
            }
            Agreement::ButChangedSince => tracing::warn!(
                table,
                "columns are named by information_schema, but the table was created or altered when \
                 its rows were committed or later: names, keys and labels may be newer than the rows"
            ),
            Agreement::ButLossy => tracing::warn!(
                table,
                "columns are named by information_schema, but a label has a question mark, which may \
                 stand for a character that information_schema can't show"
            ),
            Agreement::No => tracing::warn!(
                table,
                "information_schema has no such table, or another than the binlog: its rows can't be \
                 published"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::tests::metrics;

    #[test]
    fn each_answer_is_counted_and_what_is_doubtful_is_remembered_within_bounds() {
        let (mut schemas, metrics) = (Schemas::default(), metrics());
        let answers = [
            (Agreement::Yes, Some("agrees")),
            (Agreement::ButChangedSince, Some("changed_since")),
            (Agreement::ButLossy, Some("lossy")),
            (Agreement::No, Some("disagrees")),
            (Agreement::Unasked, None),
        ];
        for (agreement, _) in &answers {
            for _ in 0..2 {
                schemas.tell("shop.orders", *agreement, &metrics);
            }
        }
        for result in answers.into_iter().filter_map(|(_, result)| result) {
            assert_eq!(metrics.schema_lookups_total.of(result).get(), 2, "{result}");
        }
        assert_eq!(schemas.told.len(), 4, "each once");
        for number in 0..2 * TOLD_MAX {
            schemas.tell(&format!("shop.t{number}"), Agreement::Yes, &metrics);
            assert!(schemas.told.len() <= TOLD_MAX);
            let told = (format!("shop.t{number}"), Agreement::Yes);
            assert!(schemas.told.contains(&told));
        }
    }
}
