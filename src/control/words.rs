//! What an operator is answered, and what the log says of controls.

use std::time::Duration;

use super::Control;
use crate::telemetry::duration;

/// Rows are not sent.
pub(super) fn suppressed(pattern: &str) -> String {
    format!("rows of {pattern} are not sent from here on")
}

/// Rows wait for so long, while the source keeps its logs for that long.
pub(super) fn paused(pattern: &str, seconds: u64, expiry: Option<Duration>) -> String {
    let lasts = duration(Duration::from_secs(seconds).as_secs_f64());
    let kept = kept(expiry).unwrap_or_else(|| {
        "the source purges its binary logs by hand, or it is not known yet when: see to it that they last"
            .to_owned()
    });
    format!(
        "rows of {pattern} wait from here on, for {lasts} at most: then, or with `binpulse release`, \
         they are read from the source's binary logs and sent; {kept}"
    )
}

/// No pause can last for so many seconds.
pub(super) fn no_pause(seconds: u64, longest: Duration, expiry: Option<Duration>) -> String {
    let most = duration(longest.as_secs_f64());
    let kept = kept(expiry).map_or_else(String::new, |kept| format!(" ({kept})"));
    format!("a pause can last from 1 s to {most}{kept}: {seconds} s were asked for")
}

/// A rate is limited.
pub(super) fn limited(pattern: &str, rows_per_second: u64, expiry: Option<Duration>) -> String {
    let kept = kept(expiry).map_or_else(String::new, |kept| format!("; {kept}"));
    format!(
        "of {pattern} at most {rows_per_second} rows a second are sent from here on: what comes faster \
         waits in the source's binary logs{kept}"
    )
}

/// Its end can't be stopped any more.
pub(super) fn goes_live(pattern: &str) -> String {
    format!("{pattern} goes live just now: ask again in a moment")
}

/// How long the source keeps its logs; `None`: not known.
fn kept(expiry: Option<Duration>) -> Option<String> {
    let kept = duration(expiry?.as_secs_f64());
    Some(format!("the source keeps its binary logs for {kept}"))
}

/// Logs that a control is in force.
pub(super) fn begins(control: &Control) {
    let what = if control.rows_per_second.is_some() {
        "of these tables so many rows a second are sent from here on"
    } else {
        "rows of these tables are numbered and not sent from here on"
    };
    tracing::warn!(
        pattern = control.pattern,
        reason = control.reason,
        by = control.by,
        kind = control.kind.as_str(),
        control = control.at_us,
        rows_per_second = control.rows_per_second,
        "control: {what}"
    );
}

/// Logs that another end or rate was asked for.
pub(super) fn changes(control: &Control) {
    let what = if control.rows_per_second.is_some() {
        "the rate was changed"
    } else {
        "the pause lasts until then"
    };
    tracing::warn!(
        pattern = control.pattern,
        reason = control.reason,
        by = control.by,
        control = control.at_us,
        until_us = control.until_us,
        rows_per_second = control.rows_per_second,
        "control: {what}"
    );
}
