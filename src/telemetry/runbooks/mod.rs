//! The runbooks, carried along: at night the page must lead somewhere while everything else is down. So
//! are the documents that they name.

mod html;

pub(crate) use html::told;
pub(super) use html::{Shown, index, page, state};

macro_rules! runbooks {
    ($($name:literal),+ $(,)?) => {
        /// Names of alerts, and the runbook of each, in Markdown.
        const RUNBOOKS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../docs/runbooks/", $name, ".md")))),+];
    };
}

runbooks![
    "BinpulseCanaryErrorBudgetBurn",
    "BinpulseCanaryLost",
    "BinpulseCanaryMismatched",
    "BinpulseCanaryPathFailing",
    "BinpulseCatchUpTooLong",
    "BinpulseCheckpointStuck",
    "BinpulseConsumerCanariesLost",
    "BinpulseConsumerStale",
    "BinpulseEchoUnreadable",
    "BinpulseEndToEndStale",
    "BinpulseFreshnessUnknown",
    "BinpulseHalted",
    "BinpulseLagging",
    "BinpulseMessagesQuarantined",
    "BinpulseNoStandby",
    "BinpulsePauseOverdue",
    "BinpulsePositionLost",
    "BinpulsePurgeMarginLow",
    "BinpulseProbeDown",
    "BinpulseReconnecting",
    "BinpulseRelayAbsent",
    "BinpulseRelayCanaryLate",
    "BinpulseRelayDown",
    "BinpulseRelayGapOpen",
    "BinpulseRelayParked",
    "BinpulseRelayParkedGrowing",
    "BinpulseRelayQueueUnreadable",
    "BinpulseRelayRetentionLow",
    "BinpulseRelayStateFailing",
    "BinpulseRelayTargetFailing",
    "BinpulseRelayTargetGone",
    "BinpulseReloadRefused",
    "BinpulseSinkStalled",
    "BinpulseSnapshotStalled",
    "BinpulseSuppressed",
    "BinpulseSuppressedPurgeMarginLow",
    "BinpulseSourceClockOffset",
    "BinpulseSourceDown",
    "BinpulseSourceFinding",
    "BinpulseSourceWritesBlocked",
    "BinpulseStreamStalled",
    "BinpulseStreamerAbsent",
    "BinpulseStreamerDown",
    "BinpulseTaskRestarted",
    "BinpulseUnaccountedTransactions",
    "BinpulseValuesOmitted",
    "BinpulseVerdictFrozen",
    "BinpulseVerifyDiffers",
    "BinpulseWatchdog",
    "BinpulseWrongSource",
];

macro_rules! documents {
    ($($name:literal),+ $(,)?) => {
        /// Documents that runbooks name, by their place in `docs`, in Markdown.
        const DOCUMENTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../docs/", $name, ".md")))),+];
    };
}

documents![
    "operate/new-epoch",
    "operate/relay-state",
    "operate/replay",
    "operate/snapshot",
    "operate/verify",
    "reference/exit-codes",
    "reference/halts",
];

/// Under this path, each by its alert's name.
pub(super) const PATH: &str = "/runbooks/";

/// Under this path, each document by its place in `docs`.
const DOCUMENTS_PATH: &str = "/docs/";

/// The text at a path, in Markdown.
pub(super) fn find(path: &str) -> Option<&'static str> {
    let (all, name) = match path.strip_prefix(PATH) {
        Some(name) => (RUNBOOKS, name),
        None => (DOCUMENTS, path.strip_prefix(DOCUMENTS_PATH)?),
    };
    let name = name.strip_suffix(".md").unwrap_or(name);
    all.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Names of the alerts that have a runbook.
fn names() -> impl Iterator<Item = &'static str> {
    RUNBOOKS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_runbook_of_the_docs_is_carried_along() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks");
        let entries = std::fs::read_dir(folder).expect("the folder");
        let files: BTreeSet<_> =
            entries.map(|entry| entry.expect("an entry").file_name()).collect();
        let carried: BTreeSet<std::ffi::OsString> =
            RUNBOOKS.iter().map(|(name, _)| format!("{name}.md").into()).collect();
        assert_eq!(files, carried);
        assert!(find("/runbooks/BinpulseHalted.md").is_some());
        assert!(find("/runbooks/../Cargo.toml").is_none() && find("/docs/../Cargo").is_none());
    }
}
