//! The runbooks, carried along: at night the page must lead somewhere while everything else is down.

macro_rules! runbooks {
    ($($name:literal),+ $(,)?) => {
        /// Names of alerts, and the runbook of each, in Markdown.
        const RUNBOOKS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../docs/runbooks/", $name, ".md")))),+];
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

/// Under this path, each by its alert's name.
pub(super) const PATH: &str = "/runbooks/";

/// The runbook of an alert; links between them end in `.md`.
pub(super) fn find(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    RUNBOOKS.iter().find(|(alert, _)| *alert == name).map(|(_, text)| *text)
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
        assert!(find("BinpulseHalted.md").is_some() && find("../Cargo.toml").is_none());
    }
}
