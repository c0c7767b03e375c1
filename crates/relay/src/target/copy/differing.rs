//! What `binpulse verify` found to differ, until it is found equal. Kept in the copy, and changed with the
//! lane's mark: what is compared is compared once.

use serde::{Deserialize, Serialize};

use super::session::{Failure, Session, text};
use super::verify::{Compared, Verdict};

/// Ranges of one table that are kept.
const RANGES_MAX: usize = 1_000;

/// The ranges of one table.
#[derive(Debug, Default, PartialEq, Eq, Clone, Serialize, Deserialize)]
struct Differing {
    /// The newest run that began with the first row of the table.
    whole: Option<String>,
    ranges: Vec<Compared>,
}

impl Differing {
    /// Takes what was compared, in the order of the lane.
    fn take(&mut self, found: &Compared) {
        if found.after.is_empty() {
            self.whole = Some(found.run.clone());
        }
        let is_same = |known: &Compared| known.after == found.after && known.upto == found.upto;
        // The end of a run over the whole table: what runs before it found is out of date.
        let ends = found.upto.is_empty() && self.whole.as_ref() == Some(&found.run);
        if found.verdict != Verdict::Passed {
            self.ranges.retain(|known| known.run == found.run || !(ends || is_same(known)));
        }
        let is_known = self.ranges.contains(found);
        if found.verdict == Verdict::Differs && !is_known && self.ranges.len() < RANGES_MAX {
            self.ranges.push(found.clone());
        }
    }
}

/// Notes what was compared; the ranges of the table if they have changed.
pub(super) async fn note(
    session: &mut Session,
    found: &Compared,
) -> Result<Option<Vec<Compared>>, Failure> {
    let table = session.dialect.text(&found.table);
    let select =
        format!("SELECT found FROM binpulse_relay_differing WHERE table_name = {table} FOR UPDATE");
    let rows = session.rows(select.as_bytes()).await?;
    let stored = rows.first().and_then(|row| row.first());
    let known = stored.map(|stored| read(session, text(stored).as_bytes())).unwrap_or_default();
    let mut differing = known.clone();
    differing.take(found);
    if differing == known {
        return Ok(None);
    }
    let json = serde_json::to_vec(&differing).unwrap_or_default();
    let mut sql = match stored {
        Some(_) => b"UPDATE binpulse_relay_differing SET found = ".to_vec(),
        None => {
            format!("INSERT INTO binpulse_relay_differing (table_name, found) VALUES ({table}, ")
                .into_bytes()
        }
    };
    session.dialect.put_bytes(&mut sql, &json);
    match stored {
        Some(_) => sql.extend_from_slice(format!(" WHERE table_name = {table}").as_bytes()),
        None => sql.push(b')'),
    }
    // Another process was first: what it has found is read then.
    match session.run(&sql).await {
        Err(Failure::Refused { found, .. }) if stored.is_none() => Err(Failure::Conflict(found)),
        other => other.map(|_| Some(differing.ranges)),
    }
}

/// All ranges, by table.
pub(super) async fn all(session: &mut Session) -> Result<Vec<(String, Vec<Compared>)>, Failure> {
    let sql = "SELECT table_name, found FROM binpulse_relay_differing";
    let rows = session.rows(sql.as_bytes()).await?;
    let read = |row: &Vec<_>| {
        let [table, found] = row.as_slice() else { return None };
        Some((text(table), read(session, text(found).as_bytes()).ranges))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// What can't be read was written by another version: it is found anew by the next run.
fn read(session: &Session, printed: &[u8]) -> Differing {
    serde_json::from_slice(&session.dialect.read_bytes(printed)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(run: &str, range: [&[&str]; 2], verdict: Verdict) -> Compared {
        let [after, upto] = range.map(|key| key.iter().map(|text| (*text).to_owned()).collect());
        let table = "shop.orders".to_owned();
        Compared { table, run: run.to_owned(), after, upto, verdict, rows: 3, rows_here: 4 }
    }

    fn noted(all: &[Compared]) -> Vec<Vec<String>> {
        let mut differing = Differing::default();
        for found in all {
            differing.take(found);
        }
        differing.ranges.into_iter().map(|range| range.upto).collect()
    }

    #[test]
    fn a_range_differs_until_it_is_found_equal() {
        use Verdict::{Differs, Equal, Passed};
        let (head, tail): ([&[&str]; 2], [&[&str]; 2]) = ([&[], &["9"]], [&["9"], &[]]);
        let first = [found("1", head, Differs), found("1", tail, Equal)];
        assert_eq!(noted(&first), [["9"]]);
        // Told twice it is one.
        assert_eq!(noted(&[&first[..], &first].concat()), [["9"]]);
        // Repaired and verified alone.
        assert_eq!(noted(&[&first[..], &[found("2", head, Equal)]].concat()).len(), 0);
        // Whoever can't tell leaves it.
        assert_eq!(noted(&[&first[..], &[found("2", head, Passed)]].concat()), [["9"]]);
        // Another run over the whole table, in other ranges.
        let other: [[&[&str]; 2]; 2] = [[&[], &["5"]], [&["5"], &[]]];
        let again = [found("2", other[0], Equal), found("2", other[1], Differs)];
        assert_eq!(noted(&[&first[..], &again].concat()), [Vec::<String>::new()]);
        // Its end alone does not say so.
        assert_eq!(noted(&[&first[..], &again[1..]].concat()).len(), 2);
    }
}
