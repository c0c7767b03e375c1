//! Tables that the log does not name the columns of: who is asked, and what is said about the answers.

use std::collections::HashSet;

use crate::decode::Agreement;
use crate::source::Columns;
use crate::telemetry::Metrics;

/// Who is asked, and of which tables the log has been told.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// `None`: nobody; the decoder does not ask then.
    pub(super) columns: Option<Columns>,
    told: HashSet<(String, Agreement)>,
}

/// Tables that are remembered as told; beyond that they are told again.
const TOLD_MAX: usize = 10_000;

impl Schemas {
    /// Counts each answer, and logs once per table what is doubtful about it.
    pub(super) fn tell(&mut self, table: &str, agreement: Agreement, metrics: &Metrics) {
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
