//! TABLE_MAP: what the rows behind it are rows of.

mod declared;
mod described;
mod fit;
mod metadata;
mod read;

use std::collections::HashMap;
use std::sync::Arc;

use super::bytes::Bytes;
use super::format_description::Format;
use super::row::ColumnPlan;
use super::{Answer, CellError, Fault, Misfit};
use crate::change::Table;

pub use described::{NotUnderstood, table_as_described};

/// A table map, read: the table, and how to read its rows.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) table: Arc<Table>,
    pub(super) plans: Vec<ColumnPlan>,
    /// Why its rows can't be read. It is an error once a row is asked for, so that a table that nobody
    /// wants stops nothing.
    pub(super) unreadable: Option<Unreadable>,
    /// The log does not name the columns, and nobody was asked yet.
    is_nameless: bool,
    /// The event's body, to tell whether the next one says the same.
    body: Box<[u8]>,
}

/// Why the rows of a table can't be read.
#[derive(Debug, Clone)]
pub(super) enum Unreadable {
    /// The first column that is the reason.
    Column(usize, CellError),
    /// The answer to the question for its description.
    Schema(Misfit),
}

/// What an answer came to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) mapped: Arc<Mapped>,
    /// Labels may lack characters that the dictionary can't show.
    pub(super) is_lossy: bool,
}

impl Mapped {
    /// Whether a description could tell more than the log, and none was asked for.
    pub(super) fn is_nameless(&self) -> bool {
        self.is_nameless
    }
}

/// Table maps: those of the statement that is being read, and a cache of those read before.
///
/// Invariant: rows are read by a table map of their own statement only, as servers do; the cache
/// just saves reading it again. A table id may come to mean another table, after DDL or a restart:
/// hence the bodies are compared, all of them.
///
/// A description that the log lacks is asked for once for each of them, and so again as soon as the
/// table has another id or another body; [`Tables::forget`] makes it so in all other cases.
#[derive(Debug, Default)]
pub(super) struct Tables {
    mapped: Vec<(u64, Arc<Mapped>)>,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    maps: HashMap<u64, Arc<Mapped>>,
    body_bytes: usize,
}

/// Bounds of a generation; when it is full, the one before it is forgotten.
const GENERATION_TABLES_MAX: usize = 8192;
const GENERATION_BODY_BYTES_MAX: usize = 8 << 20;

impl Tables {
    /// Takes a table map event's body.
    pub(super) fn map(&mut self, body: &[u8], format: &Format) -> Result<(), Fault> {
        let mut bytes = Bytes::new(body);
        let id = table_id(&mut bytes, format.short_table_ids)?;
        let mapped = match self.cached(id, body) {
            Some(mapped) => mapped,
            None => {
                let mapped =
                    Arc::new(read::read(&mut bytes, body, format.maria, read::Names::Log)?);
                self.remember(id, Arc::clone(&mapped));
                mapped
            }
        };
        match self.mapped.iter_mut().find(|(known, _)| *known == id) {
            Some(slot) => slot.1 = mapped,
            None => self.mapped.push((id, mapped)),
        }
        Ok(())
    }

    /// The table map of this id in the statement that is being read.
    pub(super) fn find(&self, id: u64) -> Option<&Arc<Mapped>> {
        self.mapped.iter().find(|(known, _)| *known == id).map(|(_, mapped)| mapped)
    }

    /// The statement has ended: its table ids mean nothing any more.
    pub(super) fn end_statement(&mut self) {
        self.mapped.clear();
    }

    /// Forgets what was read: tables may have been altered, or have got other ids.
    pub(super) fn forget(&mut self) {
        self.young = Generation::default();
        self.old = Generation::default();
    }

    /// Reads a table map again, with the answer to the question for what it lacks. `is_refused`: the
    /// answer may be of another time than these rows, and may not be used for them; it is asked again
    /// for others.
    pub(super) fn settle(
        &mut self,
        mapped: &Arc<Mapped>,
        answer: Answer<'_>,
        is_refused: bool,
        format: &Format,
    ) -> Result<Settled, Fault> {
        let mut bytes = Bytes::new(&mapped.body);
        let id = table_id(&mut bytes, format.short_table_ids)?;
        let declared = match answer {
            Answer::Described(description) | Answer::MustBeOlder(description) => {
                fit::declared(description)
            }
            Answer::Unknown | Answer::NotNeeded | Answer::Unsigned(_) => Vec::new(),
        };
        let lossy = |declared: &declared::Declared| declared.may_have_lost_characters();
        let is_lossy = declared.iter().flatten().any(lossy);
        let names = match answer {
            Answer::Described(description) | Answer::MustBeOlder(description) => {
                read::Names::Described(description, &declared)
            }
            Answer::Unknown => read::Names::Unknown,
            Answer::NotNeeded => read::Names::NotNeeded,
            Answer::Unsigned(ordinals) => read::Names::Unsigned(ordinals),
        };
        let mut settled = read::read(&mut bytes, &mapped.body, format.maria, names)?;
        if is_refused {
            settled.unreadable.get_or_insert(Unreadable::Schema(Misfit::ChangedSince));
        }
        let settled = Arc::new(settled);
        if let Some(slot) = self.mapped.iter_mut().find(|(known, _)| *known == id)
            && Arc::ptr_eq(&slot.1, mapped)
        {
            slot.1 = Arc::clone(&settled);
        }
        if !is_refused {
            self.remember(id, Arc::clone(&settled));
        }
        Ok(Settled { mapped: settled, is_lossy })
    }

    fn cached(&mut self, id: u64, body: &[u8]) -> Option<Arc<Mapped>> {
        if let Some(mapped) = self.young.maps.get(&id) {
            return (*mapped.body == *body).then(|| Arc::clone(mapped));
        }
        let mapped = self.old.maps.remove(&id).filter(|mapped| *mapped.body == *body)?;
        self.remember(id, Arc::clone(&mapped));
        Some(mapped)
    }

    fn remember(&mut self, id: u64, mapped: Arc<Mapped>) {
        let length = mapped.body.len();
        if self.young.maps.len() >= GENERATION_TABLES_MAX
            || self.young.body_bytes.saturating_add(length) > GENERATION_BODY_BYTES_MAX
        {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.body_bytes = self.young.body_bytes.saturating_add(length);
        if let Some(replaced) = self.young.maps.insert(id, mapped) {
            self.young.body_bytes = self.young.body_bytes.saturating_sub(replaced.body.len());
        }
    }
}

/// A table id: 6 bytes, or 4 in the first releases of 5.1.
pub(super) fn table_id(bytes: &mut Bytes<'_>, short: bool) -> Result<u64, Fault> {
    if short { bytes.u32("table id").map(u64::from) } else { bytes.u48("table id") }
}

#[cfg(test)]
mod tests;
