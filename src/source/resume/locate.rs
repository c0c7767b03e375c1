//! Where in a server's files a set of GTIDs continues.
//!
//! A server that is asked by a set alone begins in the newest file before which nothing is lacking.
//! It passes by what earlier files hold without GTIDs, and nobody is told: `gtid_mode` was switched
//! off and on again. So it is told the file as well. From there on it refuses what has no GTID
//! ([`crate::source::ServerErrorKind::AnonymousTransaction`]), and nothing is passed by.

use std::time::Duration;

use super::{Saved, files};
use crate::change::{GtidSet, Position};
use crate::mysql::Session;
use crate::source::preflight::{BinlogFile, Facts};
use crate::source::{Error, Start};

/// Offset of a file's first event.
const FIRST: u64 = 4;
/// From this version on every file lists the GTIDs before it, and events without GTIDs say so.
const LISTS_GTIDS: [u16; 3] = [5, 7, 6];

/// Where to continue behind `set`, which fits the server. `saved`: the checkpoint that it is of.
pub(super) async fn locate(
    session: &mut Session,
    facts: &Facts,
    set: GtidSet,
    saved: Option<&Saved>,
) -> Result<Start, Error> {
    let files = files(facts)?;
    let lists_gtids = facts.version_numbers() >= LISTS_GTIDS;
    let here = saved.filter(|saved| saved.server == facts.server_name());
    if let Some(saved) = here {
        match find(files, &saved.position) {
            // It sends everything that is asked for by place, whatever the mode.
            Found::There if !lists_gtids => return Ok(Start::Position(at_least_first(saved))),
            Found::There => match gtids_before(session, &saved.position.file).await? {
                None => return Ok(Start::Position(at_least_first(saved))),
                Some(before) if before.is_subset_of(&set) => {
                    return Ok(Start::GtidFrom { set, from: at_least_first(saved) });
                }
                // Other files of the same names.
                Some(_) => {}
            },
            Found::Purged { first, others } => {
                if others > 0 && !is_mode_unchanged_for(session, saved.age).await? {
                    return Err(gone(&saved.position, first));
                }
                if lists_gtids {
                    let from = Position::new(first.name.as_str(), FIRST);
                    return Ok(Start::GtidFrom { set, from });
                }
            }
            Found::Elsewhere => {}
        }
    }
    if !lists_gtids {
        return Ok(Start::Gtid(set));
    }
    let mut search = FirstNeeded::new(files.len(), &set);
    while let Some((at, file)) = search.next().and_then(|at| Some((at, files.get(at)?))) {
        let before = gtids_before(session, &file.name).await?.unwrap_or_default();
        search.tell(at, &before);
    }
    match files.get(search.found) {
        Some(file) => {
            let from = Position::new(file.name.as_str(), FIRST);
            Ok(Start::GtidFrom { set, from })
        }
        None => Ok(Start::Gtid(set)),
    }
}

fn at_least_first(saved: &Saved) -> Position {
    Position { offset: saved.position.offset.max(FIRST), ..saved.position.clone() }
}

fn gone(place: &Position, first: &BinlogFile) -> Error {
    let missing = format!(
        "the binlog files behind {place} and before {} (no GTID of theirs is lacking, but \
         `gtid_mode` may have been another meanwhile, and they may have held transactions without \
         GTIDs)",
        first.name
    );
    Error::Purged { missing }
}

/// What became of the file of a place.
#[derive(Debug, PartialEq)]
enum Found<'a> {
    /// It is there, and reaches as far.
    There,
    /// It was purged, and so many others behind it.
    Purged { first: &'a BinlogFile, others: u64 },
    /// The server numbers or names its files otherwise than it did.
    Elsewhere,
}

fn find<'a>(files: &'a [BinlogFile], place: &Position) -> Found<'a> {
    if let Some(file) = files.iter().find(|file| *file.name == *place.file) {
        return if place.offset <= file.bytes { Found::There } else { Found::Elsewhere };
    }
    let Some(first) = files.first() else { return Found::Elsewhere };
    match (numbered(&first.name), numbered(&place.file)) {
        (Some((base, first_number)), Some((own_base, own))) if base == own_base => {
            match first_number.checked_sub(own) {
                Some(behind @ 1..) => Found::Purged { first, others: behind - 1 },
                Some(0) | None => Found::Elsewhere,
            }
        }
        _ => Found::Elsewhere,
    }
}

/// `binlog.000042`: its name and number.
fn numbered(file: &str) -> Option<(&str, u64)> {
    let (base, number) = file.rsplit_once('.')?;
    Some((base, number.parse().ok()?))
}

/// The file of the first transaction that is not in the set: the last before which nothing is
/// lacking, and in or behind which something of the set stands. What of the set stands last was the
/// last to be delivered; what has no GTID and stands before it was delivered too.
#[derive(Debug)]
struct FirstNeeded<'a> {
    set: &'a GtidSet,
    found: usize,
    end: usize,
}

impl<'a> FirstNeeded<'a> {
    /// Among so many files.
    const fn new(files: usize, set: &'a GtidSet) -> Self {
        Self { set, found: 0, end: files }
    }

    /// The file to look at next; `None`: it is found.
    const fn next(&self) -> Option<usize> {
        if self.end - self.found > 1 { Some(usize::midpoint(self.found, self.end)) } else { None }
    }

    /// These GTIDs lie before that file.
    fn tell(&mut self, file: usize, before: &GtidSet) {
        if before.is_subset_of(self.set) && !self.set.is_subset_of(before) {
            self.found = file;
        } else {
            self.end = file;
        }
    }
}

/// The GTIDs before a file, as it lists them at its front; `None` if it does not.
async fn gtids_before(session: &mut Session, file: &str) -> Result<Option<GtidSet>, Error> {
    let sql = format!("SHOW BINLOG EVENTS IN '{}' LIMIT 3", file.replace('\'', "''"));
    let rows = session.query(&sql).await?;
    let list = rows.iter().find(|row| row.text(2).as_deref() == Some("Previous_gtids"));
    let Some(list) = list.map(|row| row.text(5).unwrap_or_default()) else { return Ok(None) };
    let set = list.parse().map_err(|_| Error::Protocol {
        step: crate::source::Step::SetUp,
        found: format!("{:?} at the front of {file}", list.chars().take(200).collect::<String>()),
        expected: "a set of GTIDs",
    })?;
    Ok(Some(set))
}

/// Whether `gtid_mode` has been the same for that long, for certain. A start of the server may have
/// changed it too.
async fn is_mode_unchanged_for(
    session: &mut Session,
    age: Option<Duration>,
) -> Result<bool, Error> {
    /// What clocks and roundings may make of it, seconds.
    const SLACK: u64 = 60;
    let Some(age) = age else { return Ok(false) };
    let mut ages = Vec::new();
    // Who may log in may read both; servers before 8.0 do not know the first.
    for sql in [
        "SELECT COALESCE(TIMESTAMPDIFF(SECOND, SET_TIME, NOW(6)), 4294967295) \
         FROM performance_schema.variables_info WHERE VARIABLE_NAME = 'gtid_mode'",
        "SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime'",
    ] {
        match session.query_first(sql).await {
            Ok(row) => {
                let last = row.and_then(|row| row.text(row.len().saturating_sub(1)));
                ages.extend(last.and_then(|text| text.parse::<u64>().ok()));
            }
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => {}
        }
    }
    let since = age.as_secs().saturating_add(SLACK);
    Ok(ages.len() == 2 && ages.iter().all(|seconds| *seconds > since))
}

#[cfg(test)]
mod tests {
    use super::{FirstNeeded, Found, find};
    use crate::change::{GtidSet, Position};
    use crate::source::preflight::BinlogFile;

    const A: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";

    fn files(numbers: std::ops::RangeInclusive<u64>) -> Vec<BinlogFile> {
        let file = |number| BinlogFile { name: format!("b.{number:06}"), bytes: 500 };
        numbers.map(file).collect()
    }

    fn until(last: u64) -> GtidSet {
        match last {
            0 => GtidSet::new(),
            last => format!("{A}:1-{last}").parse().expect("a set"),
        }
    }

    /// The file that is found where so many GTIDs lie before each.
    fn found(before: &[u64], set: &GtidSet) -> usize {
        let mut search = FirstNeeded::new(before.len(), set);
        while let Some(at) = search.next() {
            search.tell(at, &until(before[at]));
        }
        search.found
    }

    #[test]
    fn it_goes_on_in_the_file_that_ends_the_set_so_that_nothing_without_a_gtid_is_passed_by() {
        // Two files hold transactions without GTIDs only, behind 1-5
        let before = [0, 3, 5, 5, 5, 9];
        for (last, file) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 4), (9, 4), (10, 5)] {
            assert_eq!(found(&before, &until(last)), file, "{last}");
        }
        assert_eq!(found(&before, &GtidSet::new()), 0);
        // A prepared XA transaction that is not decided is lacking
        let lacking: GtidSet = format!("{A}:1-3:5-9").parse().expect("a set");
        assert_eq!(found(&before, &lacking), 1);
        assert_eq!(found(&[7], &until(9)), 0);
    }

    #[test]
    fn a_file_that_is_not_there_was_purged_or_is_of_another_numbering() {
        let files = files(7..=9);
        let at = |file: &str, offset| find(&files, &Position::new(file, offset));
        assert_eq!(at("b.000008", 500), Found::There);
        assert_eq!(at("b.000008", 501), Found::Elsewhere);
        let first = &files[0];
        assert_eq!(at("b.000006", 4), Found::Purged { first, others: 0 });
        assert_eq!(at("b.000003", 4), Found::Purged { first, others: 3 });
        for other in ["b.000010", "c.000006", "b", ""] {
            assert_eq!(at(other, 4), Found::Elsewhere, "{other}");
        }
    }
}
