//! A snapshot as people see it in a terminal. Pure.

use std::fmt::Write as _;

use crate::cli::style::{GREEN, RED, YELLOW, bold, plain};
use crate::telemetry::duration;
use crate::telemetry::snapshot::{
    SnapshotState, SnapshotStatus, SnapshotTable, SnapshotTableState, SnapshotWait,
};

/// Tables that are shown; the others are counted.
const TABLES_MAX: usize = 10;
/// Tables that are named when it begins.
const NAMED_MAX: usize = 20;
/// Cells of a bar.
const BAR: u64 = 20;

/// All of it.
pub(super) fn picture(status: &SnapshotStatus, now_us: i64) -> String {
    let mut text = lines(status, now_us).join("\n") + "\n\n";
    let width = shown(status).iter().map(|table| name(table).chars().count()).max().unwrap_or(0);
    for table in shown(status) {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:width$}  {}", name(table), line(table));
    }
    if let Some(left) = status.tables.len().checked_sub(TABLES_MAX + 1) {
        let count = left + 1;
        let _ = writeln!(text, "and {count} more {}", if count == 1 { "table" } else { "tables" });
    }
    text
}

/// It as a whole, in a few lines.
pub(in crate::cli) fn lines(status: &SnapshotStatus, now_us: i64) -> Vec<String> {
    let colour = match status.state {
        SnapshotState::Running | SnapshotState::Done => GREEN,
        SnapshotState::Checking | SnapshotState::Paused => YELLOW,
        SnapshotState::Refused | SnapshotState::Stopped => RED,
    };
    let state = bold(colour, &status.state.as_str().to_uppercase());
    let audience = status.audience.as_deref().map(|name| format!(" for {}", plain(name)));
    let mut lines =
        vec![format!("snapshot {}  {state}{}", plain(&status.id), audience.unwrap_or_default())];
    let done = |table: &&SnapshotTable| table.state == SnapshotTableState::Done;
    let (all, done) = (status.tables.len(), status.tables.iter().filter(done).count());
    let age = |since_us: i64| duration(seconds(now_us.saturating_sub(since_us)));
    let mut facts = vec![
        format!("{done} of {all} tables done"),
        format!("{} rows", grouped(status.rows)),
        format!("begun {} ago", age(status.started_at_us)),
    ];
    if status.state == SnapshotState::Running {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        facts.insert(2, format!("{} rows/s", grouped(status.rows_per_second as u64)));
        let left = status.seconds_left;
        facts.extend(left.map(|left| format!("about {} left", duration(left))));
    }
    lines.push(facts.join(", "));
    let stalled = status.stalled_seconds.map(|age| format!("no chunk for {}", duration(age)));
    lines.extend(stalled.map(|words| bold(YELLOW, &words)));
    lines.extend(status.waits_for.map(|wait| format!("waits for {}", SnapshotWait::words(wait))));
    lines.extend(status.reason.as_deref().map(|reason| format!("reason: {}", plain(reason))));
    lines
}

/// What is read, once it has begun.
pub(super) fn begun(status: &SnapshotStatus) -> String {
    let mut text = format!("snapshot {}\n", plain(&status.id));
    for table in status.tables.iter().take(NAMED_MAX) {
        let what = match (&table.reason, table.rows_estimated) {
            (Some(reason), _) if table.state == SnapshotTableState::Abandoned => {
                format!("is not read: {}", plain(reason))
            }
            (_, Some(rows)) => format!("about {} rows", grouped(rows)),
            (_, None) => "rows not known".to_owned(),
        };
        let _ = writeln!(text, "  {}: {what}", name(table));
    }
    if let Some(more) = status.tables.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// The tables that somebody looks for: those that are read, then those given up, then the next ones.
fn shown(status: &SnapshotStatus) -> Vec<&SnapshotTable> {
    let mut tables: Vec<_> = status.tables.iter().collect();
    tables.sort_by_key(|table| match table.state {
        SnapshotTableState::Reading => 0,
        SnapshotTableState::Abandoned => 1,
        SnapshotTableState::Waiting => 2,
        SnapshotTableState::Done => 3,
    });
    tables.truncate(TABLES_MAX);
    tables
}

fn line(table: &SnapshotTable) -> String {
    let rows = grouped(table.rows);
    let of = table.rows_estimated.map(|all| format!(" of about {}", grouped(all)));
    match table.state {
        SnapshotTableState::Waiting => {
            let about = table.rows_estimated.map(|all| format!(", about {} rows", grouped(all)));
            format!("[{}]  waits{}", bar(0), about.unwrap_or_default())
        }
        SnapshotTableState::Reading => match percent(table) {
            Some(percent) => {
                format!("[{}] {percent:>3} %  {rows}{} rows", bar(percent), of.unwrap_or_default())
            }
            None => format!("[{}]      {rows} rows", bar(0)),
        },
        SnapshotTableState::Done => format!("[{}] 100 %  {rows} rows", bar(100)),
        SnapshotTableState::Abandoned => {
            let reason = table.reason.as_deref().map_or_else(String::new, plain);
            bold(RED, &format!("given up after {rows} rows: {reason}"))
        }
    }
}

/// How much of the table was read, as far as the statistics tell. Only a table that is done has all.
fn percent(table: &SnapshotTable) -> Option<u64> {
    let all = table.rows_estimated.filter(|all| *all > 0)?;
    Some((table.rows.saturating_mul(100) / all).min(99))
}

/// So many of a hundred.
pub(in crate::cli) fn bar(percent: u64) -> String {
    let full = usize::try_from(percent * BAR / 100).unwrap_or(0);
    let empty = usize::try_from(BAR).unwrap_or(0).saturating_sub(full);
    "#".repeat(full) + &".".repeat(empty)
}

fn name(table: &SnapshotTable) -> String {
    plain(&format!("{}.{}", table.database, table.table))
}

/// A number with its digits in groups of three.
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "an age, for people")]
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;

    pub(in crate::cli) fn table(name: &str, state: SnapshotTableState) -> SnapshotTable {
        SnapshotTable {
            database: "shop".to_owned(),
            table: name.to_owned(),
            state,
            rows: 1_500,
            rows_estimated: Some(3_000),
            chunks: 2,
            reason: None,
        }
    }

    pub(in crate::cli) fn status(tables: Vec<SnapshotTable>) -> SnapshotStatus {
        SnapshotStatus {
            id: "01JDZ".to_owned(),
            state: SnapshotState::Running,
            waits_for: None,
            reason: None,
            audience: None,
            verifies: false,
            started_at_us: 0,
            newest_chunk_at_us: None,
            stalled_seconds: None,
            rows: 1_234_567,
            rows_per_second: 12_345.6,
            seconds_left: Some(200.0),
            tables,
        }
    }

    #[test]
    fn what_is_read_and_what_was_given_up_is_shown_and_the_rest_is_counted() {
        let mut tables: Vec<_> =
            (0..30).map(|n| table(&format!("t{n}"), SnapshotTableState::Waiting)).collect();
        tables[27].state = SnapshotTableState::Reading;
        tables[28].state = SnapshotTableState::Abandoned;
        tables[28].reason = Some("it has no key".to_owned());
        tables[0].state = SnapshotTableState::Done;
        let mut status = status(tables);
        status.waits_for = Some(SnapshotWait::ReplicaLag);
        status.audience = Some("billing".to_owned());
        let text = picture(&status, 90_000_000);
        for part in [
            "RUNNING\u{1b}[0m for billing",
            "1 of 30 tables done, 1,234,567 rows, 12,345 rows/s, begun 1 min 30 s ago, about 3 min 20 s \
             left",
            "waits for replicas to come within snapshot.max_replica_lag",
            "shop.t27  [##########..........]  50 %  1,500 of about 3,000 rows",
            "given up after 1,500 rows: it has no key",
            "and 20 more tables",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("shop.t0 ") && text.lines().count() == 15, "{text}");
    }

    #[test]
    fn only_a_table_that_is_done_is_complete() {
        let mut reading = table("t", SnapshotTableState::Reading);
        reading.rows = 4_000;
        assert!(line(&reading).contains("99 %"), "{}", line(&reading));
        reading.rows_estimated = Some(0);
        assert!(!line(&reading).contains('%'), "{}", line(&reading));
        let done = line(&table("t", SnapshotTableState::Done));
        assert!(done.contains(&"#".repeat(20)) && done.contains("100 %"), "{done}");
    }

    #[test]
    fn a_name_can_not_command_the_terminal() {
        let mut tables = vec![table("\u{1b}]0;owned\u{7}", SnapshotTableState::Reading)];
        tables[0].reason = Some("\u{7}".to_owned());
        let mut status = status(tables);
        status.reason = Some("\u{1b}]0;".to_owned());
        for text in [picture(&status, 0), begun(&status)] {
            assert!(!text.contains("\u{1b}]") && !text.contains('\u{7}'), "{text:?}");
        }
    }
}
