//! What is not as it should be at the source while the stream runs, as far as somebody should know:
//! for the log, `/status` and the metrics. `check` prints the same before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::catalog::Catalog;
use super::plan::Plan;
use super::source::demands;
use super::unlogged::unlogged;
use crate::filter;
use crate::freshness::watch::SettingsReview;
use crate::source::preflight::{
    self, Demands, Facts, Finding, OUR_REPLICA_UUID, SUBJECTS, Severity,
};
use crate::telemetry::metrics::{Kind, ScrapedFamily};
use crate::telemetry::status;
use crate::telemetry::words::FindingLevel;

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
    /// Of the lease on the stream.
    lease: Option<Finding>,
    /// How often a look was asked for, and how many of these a look has answered that began later.
    asks: u64,
    answered: u64,
}

impl Findings {
    /// Against what the plan demands of the source.
    pub(super) fn new(plan: &Plan) -> Self {
        let inner = Inner {
            demands: demands(plan),
            filter: plan.filter.clone(),
            own: plan.freshness.schema.as_str().to_owned(),
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(inner)), asked: Arc::default() }
    }

    /// These filters are in force from here on.
    pub(super) fn filter_is(&self, filter: filter::Config) {
        let mut inner = self.lock();
        inner.filter = filter;
        inner.asks += 1;
        drop(inner);
        self.asked.notify_one();
    }

    /// The filters were held against the source's tables.
    pub(super) fn cataloged(&self, catalog: &Catalog) {
        catalog.findings.iter().for_each(log);
        if let Some(unseen) = &catalog.unseen {
            tracing::info!("SELECT: {unseen}");
        }
        self.lock().catalog.clone_from(&catalog.findings);
    }

    /// Takes the facts of a look that began when so many had been asked for. What was not found
    /// before is logged. Returned are databases that are published and are not written to the binary
    /// log.
    pub(super) fn looked(&self, facts: &Facts, asks: u64) -> Vec<String> {
        let mut inner = self.lock();
        let mut found = preflight::evaluate(facts, &inner.demands);
        let (unlogged, more): (Vec<_>, Vec<_>) =
            unlogged(facts, &inner.filter, &inner.own).into_iter().unzip();
        found.extend(more);
        // The registered process is this one, by the connection that it has or has just lost.
        found.retain(|finding| finding.what != OUR_REPLICA_UUID);
        found.iter().filter(|finding| !inner.source.contains(finding)).for_each(log);
        inner.answered = asks;
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
            tracing::info!("the binary log names the columns of the rows again");
            inner.stream = None;
            inner.asks += 1;
            return self.asked.notify_one();
        };
        let finding = preflight::unnamed(table);
        log(&finding);
        inner.stream = Some(finding);
        inner.asks += 1;
        self.asked.notify_one();
    }

    /// Why the lease on the stream is not kept; `None`: it is.
    pub(super) fn leased(&self, unkept: Option<Finding>) {
        let mut inner = self.lock();
        if inner.lease != unkept {
            unkept.iter().for_each(log);
            inner.lease = unkept;
        }
    }

    /// How many looks were asked for, to be had before one begins: what is asked for meanwhile may be
    /// about something that this one does not see any more.
    pub(super) fn asks(&self) -> u64 {
        self.lock().asks
    }

    /// All of them, worst first.
    pub(super) fn shown(&self) -> Vec<status::Finding> {
        let inner = self.lock();
        let of_source = |what| inner.source.iter().any(|finding| finding.what == what);
        let of_stream = inner.stream.iter().filter(|finding| !of_source(finding.what));
        let mut all: Vec<_> =
            of_stream.chain(&inner.source).chain(&inner.catalog).chain(&inner.lease).collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let shown = all.into_iter().map(|finding| status::Finding {
            level: level(finding.severity),
            what: finding.what.to_owned(),
            found: finding.found.clone(),
            needed: finding.needed.to_owned(),
            remedy: finding.remedy.clone(),
            refuses: finding.severity == Severity::Refuse,
        });
        shown.collect()
    }

    /// The family of metrics about them.
    pub(super) fn family(&self) -> ScrapedFamily {
        let findings = self.clone();
        let read = move || {
            let shown = findings.shown();
            let of_level = |what: &'static str, level: FindingLevel| {
                let is_it = |it: &status::Finding| it.what == what && it.level == level;
                let labels = vec![("what", what.to_owned()), ("level", level.name().to_owned())];
                (labels, f64::from(u8::from(shown.iter().any(is_it))))
            };
            let of_what =
                |what: &&'static str| FindingLevel::ALL.map(|level| of_level(what, level));
            SUBJECTS.iter().flat_map(of_what).collect()
        };
        ScrapedFamily {
            name: "binpulse_source_finding",
            help: "1 for each finding about the source (a setting or a privilege) or the filters; \
                   level: note (worth knowing), warning (someone must act), refusal (`run` does \
                   not start with it). /status has the remedy.",
            kind: Kind::Gauge,
            labels: &["what", "level"],
            read: Arc::new(read),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SettingsReview for Findings {
    fn asked(&self) -> &Notify {
        &self.asked
    }

    fn is_asked(&self) -> bool {
        let inner = self.lock();
        inner.asks > inner.answered
    }

    fn asks(&self) -> u64 {
        Findings::asks(self)
    }

    fn looked(&self, facts: &Facts, asks: u64) -> Vec<String> {
        Findings::looked(self, facts, asks)
    }
}

fn log(finding: &Finding) {
    match finding.severity {
        Severity::Note => tracing::info!("{finding}"),
        Severity::Warn | Severity::Refuse => tracing::warn!("{finding}"),
    }
}

/// A finding's severity in the words of `/status`.
fn level(severity: Severity) -> FindingLevel {
    match severity {
        Severity::Note => FindingLevel::Note,
        Severity::Warn => FindingLevel::Warning,
        Severity::Refuse => FindingLevel::Refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::derive_replica_uuid;
    use crate::source::preflight::OtherReplica;
    use crate::source::preflight::tests::good;

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
        let labels = [("what", "binlog_row_metadata"), ("level", "warning")];
        assert_eq!(set[0].0, labels.map(|(name, value)| (name, value.to_owned())));
        findings.streamed(None);
        assert!(findings.shown().is_empty());
    }

    #[test]
    fn what_is_asked_for_while_a_look_is_under_way_is_looked_at_again() {
        let findings = Findings::default();
        findings.streamed(Some("d.t"));
        let begun = findings.asks();
        findings.streamed(None);
        findings.looked(&good(), begun);
        assert!(findings.is_asked());
        findings.looked(&good(), findings.asks());
        assert!(!findings.is_asked());
    }

    #[test]
    fn the_worst_comes_first_and_our_own_registration_is_none() {
        let findings = Findings::default();
        let uuid = derive_replica_uuid("orders");
        findings.lock().demands.replica_uuid = uuid;
        let mut facts = good();
        let ours = OtherReplica { server_id: 7, host: "h".to_owned(), port: 1, uuid: Some(uuid) };
        facts.replicas = Ok(vec![ours]);
        findings.looked(&facts, findings.asks());
        assert_eq!(findings.shown(), []);
        facts.variables.insert("gtid_mode".to_owned(), "OFF".to_owned());
        findings.looked(&facts, findings.asks());
        findings.streamed(Some("d.t"));
        facts.variables.insert("binlog_format".to_owned(), "STATEMENT".to_owned());
        findings.looked(&facts, findings.asks());
        let shown = findings.shown();
        let levels: Vec<_> = shown.iter().map(|finding| finding.level.name()).collect();
        assert_eq!(levels, ["refusal", "warning", "note"], "{shown:?}");
    }
}
