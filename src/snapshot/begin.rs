//! Whether a snapshot that is asked for can begin, and of which tables it is.

use std::sync::Arc;

use super::Request;
use super::config::Config;
use super::layout::{Layout, Unreadable};
use super::progress::{Bound, Progress, TableProgress};
use super::reader::{Lock, ReadError, Reader};
use crate::change::{Cell, LogicalType};
use crate::encode::KeyWriter;
use crate::filter::{Filter, Pattern, Route};
use crate::telemetry::snapshot::SnapshotTableState;

/// Why it can't begin, and what helps.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

/// Most tables of a snapshot.
const TABLES_MAX: usize = 100_000;

/// Most keys that are given one by one.
const KEYS_MAX: usize = 1_000;

/// Looks at everything that is asked for. Nothing is sent or saved before.
pub(super) async fn check(
    reader: &mut Reader,
    config: &Config,
    id: &str,
    request: &Request,
    now_us: i64,
) -> Result<Progress, Refused> {
    if let Some(why) = reader.cannot_prove_visibility().await? {
        return Err(Refused(why));
    }
    let names = chosen(reader, config, request).await?;
    let mut tables = Vec::with_capacity(names.len());
    let mut refused = Vec::new();
    for (database, table) in &names {
        match look(reader, config, request, database, table).await? {
            Ok(progress) => tables.push(progress),
            Err(why) => {
                refused.push(format!("{database}.{table}: {why}"));
                let mut table = TableProgress::new(database, table, None);
                table.state = SnapshotTableState::Abandoned;
                table.reason = Some(why);
                tables.push(table);
            }
        }
    }
    // A table that was asked for by name is what somebody wants; of a pattern the others are.
    let by_pattern = request.tables.iter().any(|pattern| pattern.contains('*'));
    if !refused.is_empty() && (!by_pattern || refused.len() == names.len()) {
        return Err(Refused(refused.join("; ")));
    }
    let mut progress = Progress::new(id.into(), request, now_us, tables);
    progress.head.locks_keyless |= config.locks_keyless;
    Ok(progress)
}

/// The pattern of all that is published.
pub const EVERYTHING: &str = "*.*";

/// Patterns of `filter.tables` that match none of these tables. "All" has to be all, and a database that
/// the account may not read is not to be seen.
pub fn unseen<'a>(
    published: &'a crate::filter::Config,
    all: &'a [(String, String)],
) -> impl Iterator<Item = &'a Pattern> {
    published.tables.iter().filter(move |pattern| {
        !all.iter().any(|(database, table)| pattern.matches(&[database, table], published.names))
    })
}

/// The tables that the patterns match and the filters publish.
async fn chosen(
    reader: &mut Reader,
    config: &Config,
    request: &Request,
) -> Result<Vec<(String, String)>, Refused> {
    let all = reader.tables().await?;
    let published = (config.filter)();
    let case = published.names;
    if request.tables.iter().any(|text| text == EVERYTHING)
        && let Some(pattern) = unseen(&published, &all).next()
    {
        return Err(Refused(format!(
            "`{}` of filter.tables matches no table that the account may see: grant it SELECT there, or \
             take the pattern away",
            pattern.as_str()
        )));
    }
    let filter = Filter::new(published);
    let is_own = |database: &str| case.same(database, &config.own_database);
    let mut chosen = Vec::new();
    for text in &request.tables {
        let pattern = Pattern::parse(text, 2).ok_or_else(|| {
            Refused(format!(
                "`{text}` is no pattern of a table: expected database.table, as in shop.*"
            ))
        })?;
        let matched: Vec<_> = all
            .iter()
            .filter(|(database, table)| {
                pattern.matches(&[database.as_str(), table.as_str()], case) && !is_own(database)
            })
            .collect();
        if matched.is_empty() {
            return Err(not_there(reader, text).await?);
        }
        let published: Vec<_> = matched
            .into_iter()
            .filter(|(database, table)| {
                filter.wants(database, table) && !filter.is_outbox(database, table)
            })
            .collect();
        if published.is_empty() {
            return Err(Refused(format!(
                "`{text}` matches only tables that the filters leave out (filter.tables, \
                 filter.exclude) or whose rows are messages (outbox.tables)"
            )));
        }
        for name in published {
            if !chosen.contains(name) {
                chosen.push(name.clone());
            }
        }
    }
    if chosen.len() > TABLES_MAX {
        return Err(Refused(format!(
            "{} tables match; a snapshot has at most {TABLES_MAX}: name fewer",
            chosen.len()
        )));
    }
    if request.keys.len() > KEYS_MAX {
        return Err(Refused(format!(
            "{} keys are given; the most is {KEYS_MAX}: give a condition",
            request.keys.len()
        )));
    }
    if chosen.len() > 1 && is_part(request) {
        return Err(Refused(format!(
            "{} tables match; a condition or keys can be given for one table only",
            chosen.len()
        )));
    }
    Ok(chosen)
}

/// Why a pattern matches nothing.
async fn not_there(reader: &mut Reader, pattern: &str) -> Result<Refused, ReadError> {
    if let Some((database, table)) = pattern.split_once('.')
        && let Err(unreadable @ Unreadable::Kind(_)) = reader.layout(database, table).await?
    {
        return Ok(Refused(format!("{pattern}: {unreadable}")));
    }
    Ok(Refused(format!(
        "`{pattern}` matches no table that the account may see: check the name, and grant it SELECT on \
         the table"
    )))
}

/// How one table begins, or why it can't be read.
async fn look(
    reader: &mut Reader,
    config: &Config,
    request: &Request,
    database: &str,
    table: &str,
) -> Result<Result<TableProgress, String>, Refused> {
    reader.locks_keyless(config.locks_keyless || request.lock_keyless);
    let layout = match reader.layout(database, table).await? {
        Ok(layout) => layout,
        Err(unreadable) => return Ok(Err(unreadable.to_string())),
    };
    if layout.is_keyless()
        && let Err(why) = may_lock(reader, config, request, &layout).await?
    {
        return Ok(Err(why));
    }
    if let Err(Refused(why)) = key_is_seen(config, &layout) {
        return Ok(Err(why));
    }
    if request.verify && !layout.is_ascending() {
        return Ok(Err(
            "its key has descending columns: who compares can't tell which keys lie in a range"
                .to_owned(),
        ));
    }
    let mut progress = TableProgress::new(database, table, layout.estimated_rows);
    progress.condition.clone_from(&request.condition);
    for key in &request.keys {
        match layout.key_value(key) {
            Ok(literal) => progress.keys.push(literal),
            Err(error) => return Ok(Err(format!("key `{key}`: {error}"))),
        }
    }
    match bounds(config, request, &layout) {
        Ok((after, upto)) => progress.within(after, upto),
        Err(Refused(why)) => return Ok(Err(why)),
    }
    if let Some(condition) = &progress.condition
        && let Err(words) = reader.check_condition(&layout, condition).await?
    {
        return Ok(Err(format!("the server does not take the condition `{condition}`: {words}")));
    }
    Ok(Ok(progress))
}

/// Whether a table without a key can be read under a lock, as far as that can be told before.
async fn may_lock(
    reader: &mut Reader,
    config: &Config,
    request: &Request,
    layout: &Layout,
) -> Result<Result<(), String>, Refused> {
    if is_part(request) {
        let why = "it has no key, so all of it is read or nothing: leave out --where, --keys, --after \
                   and --upto";
        return Ok(Err(why.to_owned()));
    }
    if config.read_from.is_some() {
        let why = "it has no key, and is read under a lock where the stream comes from: leave out \
                   snapshot.host, or the table";
        return Ok(Err(why.to_owned()));
    }
    if let Some(rows) = layout.estimated_rows.filter(|rows| *rows > config.keyless_rows) {
        return Ok(Err(too_large(&format!("about {rows} rows"), config.keyless_rows)));
    }
    let lock = reader.lock(layout).await?;
    reader.unlock().await?;
    Ok(match lock {
        // A table that is busy now need not be when it is read.
        Lock::Held | Lock::Busy | Lock::SchemaChanged => Ok(()),
        Lock::Refused(why) => Err(why),
    })
}

/// Why a table is not read under a lock.
pub(super) fn too_large(found: &str, rows_max: u64) -> String {
    format!(
        "it has no key and {found}: at most {rows_max} rows (snapshot.keyless_rows) and four times \
         snapshot.chunk_bytes are read under a lock; add a PRIMARY KEY, or load it from a dump"
    )
}

/// Whether only a part of a table is asked for.
fn is_part(request: &Request) -> bool {
    request.condition.is_some()
        || !request.keys.is_empty()
        || request.after.is_some()
        || request.upto.is_some()
}

/// Where the table's reading begins and ends, if that was asked for.
fn bounds(
    config: &Config,
    request: &Request,
    layout: &Layout,
) -> Result<(Option<Bound>, Option<Bound>), Refused> {
    let bound = |typed: &Option<String>| {
        typed.as_ref().map(|typed| bound(config, layout, typed)).transpose()
    };
    Ok((bound(&request.after)?, bound(&request.upto)?))
}

fn bound(config: &Config, layout: &Layout, typed: &str) -> Result<Bound, Refused> {
    let [ordinal] = layout.key[..] else {
        return Err(Refused(
            "its key has several columns: a range can be given by a condition (--where) only"
                .to_owned(),
        ));
    };
    let literal = layout.key_value(typed);
    let literal = literal.map_err(|error| Refused(format!("key `{typed}`: {error}")))?;
    let kind =
        layout.table.columns.get(ordinal).map(|column| (column.logical_type, column.unsigned));
    let cell = match kind {
        Some((LogicalType::Integer, true)) => typed.trim().parse().ok().map(Cell::UInt),
        Some((LogicalType::Integer, false)) => typed.trim().parse().ok().map(Cell::Int),
        Some((LogicalType::Text, _)) => Some(Cell::Text(typed.as_bytes())),
        _ => None,
    };
    let cell = cell.ok_or_else(|| {
        Refused(format!(
            "key `{typed}`: a range can be given for keys of integers and text; give a condition \
             (--where)"
        ))
    })?;
    let mut image = Vec::new();
    KeyWriter::new(config.format, &layout.table, vec![ordinal]).put(&mut image, |_| cell);
    Ok(Bound::new(literal, &image))
}

/// Consumers find rows by their key: it must reach them as it is.
pub(super) fn key_is_seen(config: &Config, layout: &Layout) -> Result<(), Refused> {
    let mut filter = Filter::new((config.filter)());
    let Route::Mask(mask) = filter.route(&layout.table) else { return Ok(()) };
    let hidden = layout.key.iter().find(|ordinal| !mask.keeps(**ordinal));
    let column = hidden.and_then(|ordinal| layout.table.columns.get(*ordinal));
    column.map_or(Ok(()), |column| {
        Err(Refused(format!(
            "column `{}` of its key is dropped or hashed by the filters, so consumers can't tell its \
             rows apart",
            column.name
        )))
    })
}

/// A ULID: milliseconds since 1970 and 80 random bits, in Crockford's base 32.
pub(super) fn ulid(now_us: i64, random: fn() -> u64) -> Arc<str> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::from((now_us / 1000).cast_unsigned()) & ((1 << 48) - 1);
    let chance = u128::from(random()) << 16 | u128::from(random() & 0xffff);
    let value = time << 80 | chance & ((1 << 80) - 1);
    let digit = |place: u32| char::from(DIGITS[(value >> (5 * place) & 31) as usize]);
    (0..26).rev().map(digit).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ulid_has_26_digits_and_sorts_by_time() {
        let (one, other) = (ulid(1_000_000, || 7), ulid(2_000_000, || 0));
        assert_eq!((one.len(), other.len()), (26, 26));
        assert!(one < other);
        // The example of the specification: 1469918176385 ms.
        assert_eq!(&ulid(1_469_918_176_385_000, || 0)[..10], "01ARYZ6S41");
    }
}
