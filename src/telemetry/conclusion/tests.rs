use super::*;
use crate::telemetry::status::{Condition, Consumer, Finding, Halted, Path, Probe};
use crate::telemetry::words::{ConditionStatus, HaltReason, NoticeKind};

/// A word by its text.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(serde_json::json!(text)).expect(text)
}

/// A status with this verdict, and every condition well.
fn status(state: &str, grade: &str, hop: &str) -> Status {
    let names = [
        ("sql_admits", StationKey::Source),
        ("stream_connected", StationKey::Stream),
        ("sink_moves", StationKey::Publish),
        ("canaries_arrive", StationKey::Delivery),
    ];
    let well = |(name, station): &(&str, StationKey)| Condition {
        speaks_for: Some(*station),
        name: (*name).to_owned(),
        status: ConditionStatus::True,
        needed: true,
        ..Condition::default()
    };
    let verdict = Verdict {
        state: state.to_owned(),
        grade: word(grade),
        hop: word(hop),
        headline: "It is so".to_owned(),
        sentence: "It is so, by a lock: the last commit is 4 s old.".to_owned(),
        next_step: "Nothing.".to_owned(),
        conditions: names.iter().map(well).collect(),
        ..Verdict::default()
    };
    let consumers = vec![Consumer { name: "billing".to_owned(), ..Consumer::default() }];
    Status { verdict, consumers, ..Status::default() }
}

fn looks(status: &Status) -> Vec<&'static str> {
    status.conclusion.stations.iter().map(|station| station.indicator.name()).collect()
}

#[test]
fn what_is_before_the_break_works_and_what_is_after_it_waits() {
    let broken = status("sink_stalled", "outage", "publish").concluded();
    assert_eq!(looks(&broken)[..5], ["works", "works", "broken", "waits", "waits"]);
    assert_eq!(
        broken.conclusion.after,
        "What comes after publish is not evaluated until that is fixed."
    );
    assert_eq!(broken.conclusion.label, "outage at publish");
    assert_eq!(broken.conclusion.evidence, "By a lock: the last commit is 4 s old.");
    let back = status("writes_blocked", "recovering", "source").concluded();
    assert_eq!(back.conclusion.stations[0].word, "recovering here");
    assert_eq!(back.conclusion.indicator, Indicator::Late);
}

#[test]
fn a_halt_marks_its_station_whatever_the_verdict_says() {
    for (reason, hop, at) in [
        (HaltReason::Undecodable, "none", 1),
        (HaltReason::Refused, "none", 2),
        (HaltReason::Undecodable, "source", 1),
    ] {
        let mut halted = status("quiet", "healthy", hop);
        halted.halted = Some(Halted {
            reason,
            message: "shop.orders".to_owned(),
            remedy: "exclude it and restart".to_owned(),
        });
        let halted = halted.concluded();
        assert_eq!(looks(&halted)[at], "broken", "{reason:?}, {hop}");
        let conclusion = &halted.conclusion;
        assert_eq!((conclusion.grade, conclusion.indicator), (Grade::Outage, Indicator::Broken));
        assert_eq!(conclusion.next_step, "Exclude it and restart.");
        assert!(conclusion.label.starts_with("halted at "), "{}", conclusion.label);
    }
}

#[test]
fn what_needs_attention_leaves_nothing_green_and_is_the_next_step() {
    let mut warned = status("live", "healthy", "none");
    assert_eq!(warned.clone().concluded().conclusion.indicator, Indicator::Works);
    let canary = Probe { last_result: "denied: no INSERT".to_owned(), ..Probe::default() };
    warned.paths = vec![Path {
        name: "orders".to_owned(),
        table: "billing.orders".to_owned(),
        canary,
        failing: true,
        ..Path::default()
    }];
    let said = warned.clone().concluded().conclusion;
    assert_eq!((said.grade, said.indicator), (Grade::Healthy, Indicator::Late));
    assert!(
        said.next_step.contains("canary of orders out of billing.orders"),
        "{}",
        said.next_step
    );
    assert!(said.notices[0].text.contains("denied: no INSERT"), "{:?}", said.notices);
    // Loss comes first, and an outage keeps its own next step
    warned.verdict.unaccounted_transactions = 2;
    let kinds: Vec<_> = warned.clone().concluded().conclusion.notices;
    assert_eq!(
        kinds.iter().map(|notice| notice.kind).collect::<Vec<_>>(),
        [NoticeKind::Loss, NoticeKind::Path]
    );
    warned.verdict.grade = Grade::Outage;
    "Fix it.".clone_into(&mut warned.verdict.next_step);
    assert_eq!(warned.concluded().conclusion.next_step, "Fix it.");
}

#[test]
fn a_verdict_that_is_no_longer_evaluated_says_nothing() {
    let mut frozen = status("quiet", "healthy", "none");
    frozen.verdict.evaluated_age_seconds = 40.0;
    let frozen = frozen.concluded();
    assert!(looks(&frozen).iter().all(|indicator| *indicator == "unknown"));
    let said = &frozen.conclusion;
    assert_eq!((said.grade, said.is_frozen), (Grade::Unknown, true));
    assert!(said.evidence.starts_with("The last verdict was: It is so."), "{}", said.evidence);
}

#[test]
fn a_finding_is_told_with_what_to_do_unless_it_is_only_worth_knowing() {
    let finding = |level: &str| Finding {
        level: word(level),
        what: "binlog_row_image".to_owned(),
        found: "MINIMAL".to_owned(),
        needed: "FULL, or columns are absent".to_owned(),
        remedy: "SET PERSIST binlog_row_image = FULL;".to_owned(),
        refuses: level == "refusal",
    };
    let mut found = status("live", "healthy", "none");
    found.findings = vec![finding("note")];
    let said = found.clone().concluded().conclusion;
    assert_eq!((said.indicator, said.notices), (Indicator::Works, Vec::new()));
    found.findings = vec![finding("warning"), finding("note")];
    let said = found.concluded().conclusion;
    assert_eq!((said.indicator, said.notices.len()), (Indicator::Late, 1));
    assert_eq!(said.headline, "It is so; binlog_row_image is not as it should be");
    assert_eq!(
        said.notices[0].text,
        "binlog_row_image: found MINIMAL, needed FULL, or columns are absent."
    );
    assert_eq!(said.next_step, "SET PERSIST binlog_row_image = FULL.");
    assert_eq!(said.runbook.as_deref(), Some("/runbooks/BinpulseSourceFinding"));
}

#[test]
fn settings_that_were_refused_are_told_until_some_are_in_force() {
    let mut status = Status::default();
    status.reload.told = "needs a restart:\n  sns.topic: a -> b\n".to_owned();
    let kinds = |status: &Status| -> Vec<_> {
        let notices = status.clone().concluded().conclusion.notices;
        notices.into_iter().map(|notice| (notice.kind, notice.text)).collect()
    };
    assert_eq!(kinds(&status), []);
    status.reload.state = crate::telemetry::status::ReloadState::Refused;
    let told = kinds(&status);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, NoticeKind::Settings);
    assert!(told[0].1.ends_with("needs a restart: sns.topic: a -> b"), "{}", told[0].1);
}
