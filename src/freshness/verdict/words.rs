//! A verdict in words: what is so, how that is known, which hop broke, and what to do.

use std::borrow::Cow;

use super::{Certificate, Condition, Conditions, Hop, Reason, State, Status};
use crate::telemetry::Aid;

/// The first broken hop. `publish_behind`: what waits, waits for SNS; `all_lost`: no consumer
/// echoes.
pub fn hop(state: State, publish_behind: bool, all_lost: bool) -> Hop {
    state.row().at.hop(publish_behind, all_lost)
}

/// What is so, in a few words: the begin of [`sentence`]. Consumers are named.
pub fn headline(state: State, reason: Option<&Reason>, is_recovering: bool) -> Cow<'static, str> {
    let row = state.row();
    row.over.filter(|_| is_recovering).unwrap_or(row.headline).of(reason)
}

/// What to do next. Consumers are named.
pub fn next_step(state: State, reason: Option<&Reason>, is_recovering: bool) -> Cow<'static, str> {
    let row = state.row();
    if is_recovering { row.wait.into() } else { row.next.of(reason) }
}

/// The alert of a state, whose runbook says more.
pub fn alert(state: State, reason: Option<&Reason>) -> Option<&'static str> {
    (state.row().alert)(reason)
}

/// What the next step asks for.
pub fn aids(state: State) -> &'static [Aid] {
    state.row().aids
}

/// One sentence with its evidence.
pub fn sentence(
    state: State,
    reason: Option<&Reason>,
    is_recovering: bool,
    conditions: &Conditions,
    certificate: Option<&Certificate>,
) -> String {
    if state == State::Quiet
        && let Some(certificate) = certificate
    {
        return quiet(certificate);
    }
    let mut text = headline(state, reason, is_recovering).into_owned();
    if state == State::Lagging && !is_recovering {
        text.push_str(", and ");
        text.push_str(&conditions.known(Condition::LagShrinks).because);
    }
    if let Some(what) = reason.and_then(Reason::blame).filter(|_| !is_recovering) {
        text.push_str(", ");
        text.push_str(what);
    }
    let evidence = match state.row().rests_on {
        Some(condition) => Some(conditions.known(condition).because.clone()),
        None => missing(conditions).into_iter().next(),
    };
    if let Some(evidence) = evidence {
        text.push_str(": ");
        text.push_str(&evidence);
    }
    text.push('.');
    text
}

fn quiet(certificate: &Certificate) -> String {
    let Certificate { from, to, counts, .. } = certificate;
    let between = format!("between heartbeats {} and {}", from.number, to.number);
    match counts.filtered {
        0 => format!("The database is quiet: nothing was written {between}, and that is proven."),
        count => format!(
            "The database is quiet for the configured filters: {between} it wrote {count} \
             transactions, all of which the filters exclude, and that is proven."
        ),
    }
}

/// What is needed and not well, and what else there is evidence against, in words.
pub fn missing(conditions: &Conditions) -> Vec<String> {
    conditions
        .iter()
        .filter(|(condition, known)| {
            let asked = conditions.is_needed(*condition) || *condition == Condition::Accounted;
            let is_false = known.status == Status::False;
            asked && known.status != Status::True || condition.is_told() && is_false
        })
        .map(|(condition, known)| {
            format!("{} is {}: {}", condition.name(), known.status.name(), known.because)
        })
        .collect()
}
