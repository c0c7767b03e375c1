//! The report: one table, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::check::Findings;
use crate::collect::Received;
use crate::faults::Kind;
use crate::plan::Plan;
use crate::truth::Truth;

/// How often a fault came, and how long it took at worst until the stream had caught up.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) alone: u64,
    pub(crate) paired: u64,
    pub(crate) worst: Duration,
}

/// What happened in a run.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) took: Duration,
    /// How long of it was written.
    pub(crate) worked: Duration,
    pub(crate) transactions: u64,
    pub(crate) faults: BTreeMap<Kind, Tally>,
    pub(crate) peak_rss_bytes: u64,
}

/// The report in words.
pub(crate) fn text(run: &Run, received: &Received, truth: &Truth, findings: &Findings) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        writeln!(text, "{words}").expect("writing to a String cannot fail");
    };
    line(format_args!("{:<40} {:>6} {:>8} {:>10}", "fault", "alone", "in pairs", "recovery"));
    let mut injected = 0;
    for (kind, tally) in &run.faults {
        injected += tally.alone + tally.paired;
        line(format_args!(
            "{:<40} {:>6} {:>8} {:>8.1} s",
            kind.name(),
            tally.alone,
            tally.paired,
            tally.worst.as_secs_f64()
        ));
    }
    let (commits, rollbacks) = truth.xa;
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let peak = run.peak_rss_bytes as f64 / f64::from(1 << 20);
    let rows: [(&str, String); 20] = [
        ("seed", run.plan.seed.to_string()),
        ("source", format!("{:?} {}", run.plan.source, run.plan.release)),
        ("topic", format!("{:?}, {} lanes per table", run.plan.topic, run.plan.lanes)),
        ("seconds", format!("{:.0}", run.took.as_secs_f64())),
        ("faults injected", injected.to_string()),
        (
            "transactions",
            format!("{} ({commits} XA, {rollbacks} XA rolled back)", run.transactions),
        ),
        ("statements received", received.statements.len().to_string()),
        ("rows written", findings.written.to_string()),
        ("rows written a second", per_second(findings.written, run).to_string()),
        ("rows received", findings.received.to_string()),
        ("lost", findings.lost.to_string()),
        ("invented", findings.invented.to_string()),
        ("out of order", (findings.misplaced + received.out_of_order).to_string()),
        ("gaps in numbers", findings.gaps.to_string()),
        (
            "duplicates, all told by their numbers",
            format!(
                "{} (and {} messages that SNS held back)",
                received.duplicates, received.deduplicated
            ),
        ),
        ("tables compared value by value", findings.tables.to_string()),
        ("tables read to their end by snapshots", received.copied.len().to_string()),
        ("parts of snapshots compared", findings.parts.to_string()),
        ("messages", received.messages.to_string()),
        ("peak RSS of the streamer", format!("{peak:.0} MiB")),
    ];
    for (name, value) in rows {
        line(format_args!("{name:<40} {value}"));
    }
    text
}

fn per_second(rows: u64, run: &Run) -> u64 {
    rows / run.worked.as_secs().max(1)
}

/// The head of a table of runs, in Markdown.
pub(crate) const HEAD: &str = "\
| seed | source | topic | lanes | faults | rows written | rows/s | tables read | parts compared | \
duplicates | lost, invented, misplaced, different |
|--:|---|---|--:|---|--:|--:|--:|--:|--:|--:|";

/// A line of that table.
pub(crate) fn line(run: &Run, received: &Received, findings: &Findings) -> String {
    let (server, topic) = run.plan.place();
    let faults: Vec<_> = run
        .faults
        .iter()
        .map(|(kind, tally)| format!("{} {}", tally.alone + tally.paired, kind.name()))
        .collect();
    let wrong = findings.lost + findings.invented + findings.misplaced + findings.gaps;
    format!(
        "| {} | {server} | {topic} | {} | {} | {} | {} | {} | {} | {} | {} |",
        run.plan.seed,
        run.plan.lanes,
        faults.join("; "),
        findings.written,
        per_second(findings.written, run),
        received.copied.len(),
        findings.parts,
        received.duplicates,
        wrong + findings.wrong.len() as u64,
    )
}
