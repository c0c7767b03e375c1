//! What is not as it should be at the source while the stream runs, as far as somebody should know:
//! for the log, `/status` and the metrics. `check` prints the same before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::catalog::{self, Catalog};
use super::plan::Plan;
use super::source::demands;
use crate::filter;
use crate::pulse::watch::Review;
use crate::source::preflight::{self, Demands, Facts, Finding, SUBJECTS, Severity};
use crate::telemetry::metrics::{Kind, Reading};
use crate::telemetry::status;

/// Shared by the stream, which looks at each connection, the loop, which sees rows, and whoever reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    inner: Arc<Mutex<Inner>>,
    asked: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    demands: Demands,
    filter: filter::Config,
    /// The database of binpulse's own tables.
    own: String,
    /// Of the filters and the server's tables, as of the start.
    catalog: Vec<Finding>,
    /// Of the last look at the server's settings.
    source: Vec<Finding>,
    /// Of the rows that come.
    stream: Option<Finding>,
    /// A look is asked for.
    is_asked: bool,
}

impl Findings {
    /// Against what the plan demands of the source.
    pub(super) fn new(plan: &Plan) -> Self {
        let inner = Inner {
            demands: demands(plan),
            filter: plan.filter.clone(),
            own: plan.pulse.schema.as_str().to_owned(),
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(inner)), asked: Arc::default() }
    }

    /// The filters were held against the source's tables.
    pub(super) fn cataloged(&self, catalog: &Catalog) {
        for finding in &catalog.findings {
            tracing::warn!("{finding}");
        }
        if let Some(unseen) = &catalog.unseen {
            tracing::info!("SELECT: {unseen}");
        }
        self.lock().catalog.clone_from(&catalog.findings);
    }

    /// Takes the facts of a look. What was not found before is logged. Returned are databases that are
    /// published and are not written to the binary log.
    pub(super) fn looked(&self, facts: &Facts) -> Vec<String> {
        let mut inner = self.lock();
        let mut found = preflight::judge(facts, &inner.demands);
        let (unlogged, more): (Vec<_>, Vec<_>) =
            catalog::unlogged(facts, &inner.filter, &inner.own).into_iter().unzip();
        found.extend(more);
        for finding in found.iter().filter(|finding| !inner.source.contains(finding)) {
            tracing::warn!("{finding}");
        }
        inner.is_asked = false;
        inner.source = found;
        unlogged
    }

    /// Takes what the rows of late show: the first table whose columns the log does not name. A setting
    /// of the source that shows so was changed: it is looked at again.
    pub(super) fn streamed(&self, unnamed: Option<&str>) {
        let mut inner = self.lock();
        if unnamed.is_some() == inner.stream.is_some() {
            return;
        }
        let Some(table) = unnamed else {
            tracing::info!("the binlog names the columns of the rows again");
            inner.stream = None;
            inner.is_asked = true;
            return self.asked.notify_one();
        };
        let finding = preflight::unnamed(table);
        tracing::warn!("{finding}");
        inner.stream = Some(finding);
        inner.is_asked = true;
        self.asked.notify_one();
    }

    /// All of them, worst first.
    pub(super) fn shown(&self) -> Vec<status::Finding> {
        let inner = self.lock();
        let of_source = |what| inner.source.iter().any(|finding| finding.what == what);
        let of_stream = inner.stream.iter().filter(|finding| !of_source(finding.what));
        let shown =
            of_stream.chain(&inner.source).chain(&inner.catalog).map(|finding| status::Finding {
                what: finding.what.to_owned(),
                found: finding.found.clone(),
                needed: finding.needed.to_owned(),
                mend: finding.mend.clone(),
                refuses: finding.severity == Severity::Refuse,
            });
        shown.collect()
    }

    /// The family of metrics about them.
    pub(super) fn family(&self) -> Reading {
        let findings = self.clone();
        let read = move || {
            let shown = findings.shown();
            let sample = |what: &&str| {
                let is_found = shown.iter().any(|finding| finding.what == *what);
                (vec![("what", (*what).to_owned())], f64::from(u8::from(is_found)))
            };
            SUBJECTS.iter().map(sample).collect()
        };
        Reading {
            name: "binpulse_source_finding",
            help: "1 for what is not as it should be at the source, a setting or a privilege; /status and `binpulse check` say what mends it.",
            kind: Kind::Gauge,
            labels: &["what"],
            read: Arc::new(read),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Review for Findings {
    fn asked(&self) -> &Notify {
        &self.asked
    }

    fn is_asked(&self) -> bool {
        self.lock().is_asked
    }

    fn looked(&self, facts: &Facts) -> Vec<String> {
        Findings::looked(self, facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_names_is_found_once_and_asks_for_a_look() {
        let findings = Findings::default();
        findings.streamed(None);
        assert!(findings.shown().is_empty() && !findings.is_asked());
        findings.streamed(Some("d.t"));
        findings.streamed(Some("d.t"));
        let shown = findings.shown();
        assert!(shown.len() == 1 && shown[0].found.contains("d.t"), "{shown:?}");
        assert!(findings.is_asked());
        let sample = (findings.family().read)();
        let set: Vec<_> = sample.iter().filter(|(_, value)| *value > 0.0).collect();
        assert_eq!(set.len(), 1, "{set:?}");
        assert_eq!(set[0].0, [("what", "binlog_row_metadata".to_owned())]);
        findings.streamed(None);
        assert!(findings.shown().is_empty());
    }
}
