//! Parts of snapshots, compared with the copy: at its place a chunk says of its range what the stream
//! alone has made of it there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use binpulse::encode::proto::{Image, SnapshotPart, TableSchema};
use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use super::literal::{condition, stored};
use super::writer::{Writer, name};
use crate::collect::{PartKey, Received};

/// Rows that are asked for in one statement.
const ROWS_AT_ONCE: usize = 50;

/// A lane, by epoch and name.
type Lane<'a> = (u64, &'a str);

/// Parts that wait for their places.
pub(super) struct Parts<'a> {
    all: &'a BTreeMap<PartKey, SnapshotPart>,
    waiting: HashMap<Lane<'a>, VecDeque<(&'a PartKey, &'a SnapshotPart)>>,
    /// Number of the next row of each lane.
    next: HashMap<Lane<'a>, u64>,
}

fn sequence_next(part: &SnapshotPart) -> u64 {
    part.anchor.as_ref().map_or(0, |anchor| anchor.sequence_next)
}

impl<'a> Parts<'a> {
    pub(super) fn new(received: &'a Received) -> Self {
        let mut waiting: HashMap<Lane<'a>, VecDeque<_>> = HashMap::new();
        for (key, part) in &received.parts {
            waiting.entry((key.0, key.1.as_str())).or_default().push_back((key, part));
        }
        for parts in waiting.values_mut() {
            // A process that begins again from an older checkpoint begins at an older place.
            parts.make_contiguous().sort_by_key(|(_, part)| sequence_next(part));
        }
        Self { all: &received.parts, waiting, next: HashMap::new() }
    }

    /// Compares what stands in front of a row.
    pub(super) async fn before_row(
        &mut self,
        writer: &mut Writer,
        lane: Lane<'a>,
        number: u64,
    ) -> Result<(), Error> {
        self.next.insert(lane, number + 1);
        let Some(waiting) = self.waiting.get_mut(&lane) else { return Ok(()) };
        while let Some((key, part)) = waiting.front().copied() {
            if sequence_next(part) > number {
                break;
            }
            waiting.pop_front();
            must_agree(writer, self.all, key, part).await?;
        }
        Ok(())
    }

    /// Compares what may stand in front of a statement. Statements have no numbers in lanes: what does
    /// not agree here may stand behind it.
    pub(super) async fn before_statement(&mut self, writer: &mut Writer) -> Result<(), Error> {
        for (lane, waiting) in &mut self.waiting {
            let next = self.next.get(lane).copied().unwrap_or(1);
            let due = waiting.iter().take_while(|(_, part)| sequence_next(part) <= next).count();
            for _ in 0..due {
                let Some((key, part)) = waiting.pop_front() else { break };
                if difference(writer, self.all, key, part).await?.is_some() {
                    waiting.push_back((key, part));
                }
            }
            waiting.make_contiguous().sort_by_key(|(_, part)| sequence_next(part));
        }
        Ok(())
    }

    pub(super) async fn at_the_end(&mut self, writer: &mut Writer) -> Result<(), Error> {
        for (key, part) in self.waiting.values_mut().flat_map(std::mem::take) {
            must_agree(writer, self.all, key, part).await?;
        }
        Ok(())
    }
}

async fn must_agree(
    writer: &mut Writer,
    all: &BTreeMap<PartKey, SnapshotPart>,
    key: &PartKey,
    part: &SnapshotPart,
) -> Result<(), Error> {
    if let Some(difference) = difference(writer, all, key, part).await? {
        writer.wrong(&format!("part {key:?}, in front of {}: {difference}", sequence_next(part)));
    }
    Ok(())
}

/// What is not the same; nothing if all is.
async fn difference(
    writer: &mut Writer,
    all: &BTreeMap<PartKey, SnapshotPart>,
    key: &PartKey,
    part: &SnapshotPart,
) -> Result<Option<String>, Error> {
    writer.flush().await?;
    let Some(batch) = &part.batch else { return Ok(Some("no batch".to_owned())) };
    let Some(schema) = &batch.table else { return Ok(Some("no schema".to_owned())) };
    for rows in batch.rows.chunks(ROWS_AT_ONCE) {
        let images = rows.iter().filter_map(|row| row.after.as_ref());
        let any: Vec<_> = images.map(|image| whole(schema, image)).collect();
        let query = format!("SELECT COUNT(*) FROM {} WHERE {}", name(schema), any.join(" OR "));
        match writer.session().query_first::<usize, _>(&query).await {
            Ok(Some(found)) if found == rows.len() => {}
            // Without a key there may be equal rows; how many there are of all is counted below.
            Ok(Some(found)) if found > 0 && schema.primary_key.is_empty() => {}
            Ok(found) => {
                return Ok(Some(format!("{found:?} of {} rows are as it says", rows.len())));
            }
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    if !part.last_part || batch.lane_count > 1 {
        return Ok(None);
    }
    let Some((query, rows)) = range(all, key, part, schema) else { return Ok(None) };
    match writer.session().query_first::<usize, _>(&query).await {
        Ok(Some(found)) if found == rows => Ok(None),
        Ok(found) => Ok(Some(format!("it has {rows} rows, its range {found:?}"))),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// How many rows there are in a chunk's range that the stream did not change meanwhile, as a question,
/// and how many the chunk has; nothing where not all parts of the chunk have come.
fn range(
    all: &BTreeMap<PartKey, SnapshotPart>,
    key: &PartKey,
    last: &SnapshotPart,
    schema: &TableSchema,
) -> Option<(String, usize)> {
    let first = (key.0, key.1.clone(), key.2, 0);
    let of_chunk = all.range(first..=key.clone()).map(|(_, part)| part);
    let of_chunk = of_chunk.filter(|it| it.snapshot == last.snapshot && it.chunk == last.chunk);
    let (mut rows, mut touched) = (0, Vec::new());
    for part in of_chunk {
        rows += part.batch.as_ref().map_or(0, |batch| batch.rows.len());
        touched.extend(part.touched.iter().map(|image| format!("({})", of_key(schema, image))));
    }
    if rows as u64 != last.rows_in_chunk - last.rows_superseded {
        return None;
    }
    let columns: Vec<_> =
        key_columns(schema).map(|column| super::literal::quoted(&column.name)).collect();
    let side = |sign: &str, image: &Option<Image>| {
        let image = image.as_ref().filter(|image| !image.values.is_empty())?;
        let values = key_columns(schema).zip(&image.values);
        let values: Option<Vec<_>> = values.map(|(column, value)| stored(column, value)).collect();
        Some(format!("({}) {sign} ({})", columns.join(","), values?.join(",")))
    };
    let mut all = vec!["TRUE".to_owned()];
    all.extend(side(">", &last.key_after));
    all.extend(side("<=", &last.key_upto));
    if !touched.is_empty() {
        all.push(format!("NOT ({})", touched.join(" OR ")));
    }
    Some((format!("SELECT COUNT(*) FROM {} WHERE {}", name(schema), all.join(" AND ")), rows))
}

fn key_columns(schema: &TableSchema) -> impl Iterator<Item = &binpulse::encode::proto::Column> {
    let ordinals = schema.primary_key.iter();
    ordinals.filter_map(|ordinal| schema.columns.get(usize::try_from(*ordinal).ok()?))
}

/// Finds the row with this key.
fn of_key(schema: &TableSchema, key: &Image) -> String {
    let values = key_columns(schema).zip(&key.values);
    let all: Vec<_> = values.filter_map(|(column, value)| condition(column, value)).collect();
    all.join(" AND ")
}

/// Finds exactly this row.
fn whole(schema: &TableSchema, image: &Image) -> String {
    let values = schema.columns.iter().zip(&image.values);
    let all: Vec<_> = values.filter_map(|(column, value)| condition(column, value)).collect();
    format!("({})", all.join(" AND "))
}
