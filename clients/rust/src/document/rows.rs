//! Rows of a document: changes, canaries, and parts of snapshots.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parse::{DocumentError, Members, Name, each, each_member};
use super::values::{hex, kind};
use super::{Position, microseconds, source};
use crate::proto;

/// How many cells may still be made.
#[derive(Debug)]
pub(super) struct Room(pub(super) usize);

/// The batch of a document with changes or a canary.
pub(super) fn batch(
    document: &Members<'_>,
    room: &mut Room,
) -> Result<proto::ChangeBatch, DocumentError> {
    let before_image: Name<'_> = document.required("before_image")?;
    let before_image = match &*before_image.0 {
        "full" => proto::BeforeImage::Full,
        "changed" => proto::BeforeImage::Changed,
        "key" => proto::BeforeImage::Key,
        _ => proto::BeforeImage::Unspecified,
    };
    let mut batch = rows(document, room)?;
    batch.before_image = before_image.into();
    batch.sequence_first = document.required("sequence_first")?;
    batch.snapshot_next = document.optional("snapshot_next")?.unwrap_or_default();
    batch.snapshot_attempt = document.optional("snapshot_attempt")?.unwrap_or_default();
    put_transactions(document, &mut batch)?;
    Ok(batch)
}

/// What all batches have.
fn rows(document: &Members<'_>, room: &mut Room) -> Result<proto::ChangeBatch, DocumentError> {
    let table = table(document)?;
    let columns = Columns::new(&table.columns);
    let mut rows = Vec::new();
    let list: &RawValue = document.required("rows")?;
    each("rows", list, |row: RowForm<'_>| {
        let place = |member: &str| format!("rows[{}].{member}", rows.len());
        let image = |member: &str, raw: Option<&RawValue>, room: &mut Room| {
            raw.map(|raw| columns.image(raw, room))
                .transpose()
                .map_err(|error| error.within(&place(member)))
        };
        let (before, after) =
            (image("before", row.before, room)?, image("after", row.after, room)?);
        let op = match &*row.op.0 {
            "insert" => proto::Op::Insert,
            "update" => proto::Op::Update,
            "delete" => proto::Op::Delete,
            "read" => proto::Op::Read,
            _ => proto::Op::Unspecified,
        };
        let (op, transaction, row) = (op.into(), row.transaction, row.row);
        rows.push(proto::Row { op, transaction, row, before, after });
        Ok(())
    })?;
    Ok(proto::ChangeBatch {
        source: Some(source(document)?),
        lane: document.required("lane")?,
        lane_number: document.required("lane_number")?,
        lane_count: document.required("lane_count")?,
        table: Some(table),
        rows,
        ..proto::ChangeBatch::default()
    })
}

#[derive(Deserialize)]
struct RowForm<'a> {
    #[serde(borrow)]
    op: Name<'a>,
    #[serde(default)]
    transaction: u32,
    #[serde(default)]
    row: u64,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

/// A part of a snapshot.
pub(super) fn part(
    document: &Members<'_>,
    room: &mut Room,
) -> Result<proto::SnapshotPart, DocumentError> {
    let batch = rows(document, room)?;
    let table = batch.table.as_ref();
    let columns = Columns::new(table.map_or(&[], |table| &table.columns));
    let key_columns: Vec<u32> = document.optional("key_columns")?.unwrap_or_default();
    let primary_key = table.map_or(&[][..], |table| &table.primary_key);
    let ordinals = if key_columns.is_empty() { primary_key } else { &key_columns };
    let key: Vec<usize> =
        ordinals.iter().filter_map(|ordinal| usize::try_from(*ordinal).ok()).collect();
    let bound = |name: &'static str, room: &mut Room| {
        let image = document.raw(name).map(|raw| columns.key(&key, raw, room)).transpose();
        image.map_err(|error| error.within(name))
    };
    let mut touched = Vec::new();
    each("touched", document.required("touched")?, |raw: &RawValue| {
        let image = columns.key(&key, raw, room);
        touched.push(image.map_err(|error| error.within("touched"))?);
        Ok(())
    })?;
    let anchor = proto::LaneMark {
        lane: batch.lane.clone(),
        sequence_next: document.required("anchor")?,
        epoch: batch.source.as_ref().map_or(0, |source| source.epoch),
        ..proto::LaneMark::default()
    };
    Ok(proto::SnapshotPart {
        snapshot: document.required("snapshot")?,
        part: document.required("part")?,
        anchor: Some(anchor),
        chunk: document.required("chunk")?,
        attempt: document.required("attempt")?,
        last_part: document.required("last_part")?,
        key_after: bound("key_after", room)?,
        key_upto: bound("key_upto", room)?,
        touched,
        rows_in_chunk: document.required("rows_in_chunk")?,
        rows_superseded: document.required("rows_superseded")?,
        digest: digest(document)?,
        attempt_part: document.required("attempt_part")?,
        key_columns,
        numbers_for: document.optional("numbers_for")?.unwrap_or_default(),
        numbers: document.optional("numbers")?.unwrap_or_default(),
        pass: document.optional("pass")?.unwrap_or_default(),
        batch: Some(batch),
    })
}

fn digest(document: &Members<'_>) -> Result<Option<proto::ChunkDigest>, DocumentError> {
    #[derive(Deserialize)]
    struct Form {
        rows: u64,
        sum: String,
        xor: String,
    }
    let number = |digits: &str| number_of_hex("digest", digits);
    let digest = |form: Form| {
        let (sum, xor) = (number(&form.sum)?, number(&form.xor)?);
        Ok(proto::ChunkDigest { rows: form.rows, sum, xor })
    };
    document.optional::<Form>("digest")?.map(digest).transpose()
}

fn number_of_hex(place: &str, digits: &str) -> Result<u64, DocumentError> {
    let bytes = hex(digits).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(u64::from_be_bytes)
        .ok_or_else(|| DocumentError::new(place, "another text", "16 hexadecimal digits"))
}

fn table(document: &Members<'_>) -> Result<proto::TableSchema, DocumentError> {
    let schema: &RawValue = document.required("schema")?;
    let table = || {
        let schema = Members::of(schema.get())?;
        let mut columns = Vec::new();
        each("columns", schema.required("columns")?, |form: ColumnForm| {
            columns.push(form.into());
            Ok(())
        })?;
        let mut primary_key = Vec::new();
        each("primary_key", schema.required("primary_key")?, |name: Name<'_>| {
            let at = columns.iter().position(|column: &proto::Column| *column.name == *name.0);
            let at = at.and_then(|at| u32::try_from(at).ok());
            primary_key.push(at.ok_or_else(|| {
                DocumentError::new("primary_key", "another name", "the name of a column")
            })?);
            Ok(())
        })?;
        let fingerprint: Name<'_> = schema.required("fingerprint")?;
        Ok(proto::TableSchema {
            database: document.required("database")?,
            table: document.required("table")?,
            columns,
            primary_key,
            fingerprint: number_of_hex("fingerprint", &fingerprint.0)?,
            columns_named: schema.required("columns_named")?,
        })
    };
    table().map_err(|error: DocumentError| error.within("schema"))
}

#[derive(Deserialize)]
struct ColumnForm {
    name: String,
    #[serde(rename = "type")]
    logical_type: String,
    #[serde(default)]
    mysql_type: String,
    nullable: bool,
    unsigned: bool,
    #[serde(default)]
    charset: String,
    #[serde(default)]
    collation: u32,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    invisible: bool,
}

impl From<ColumnForm> for proto::Column {
    fn from(form: ColumnForm) -> Self {
        Self {
            name: form.name,
            logical_type: logical_type(&form.logical_type).into(),
            mysql_type: form.mysql_type,
            nullable: form.nullable,
            unsigned: form.unsigned,
            charset: form.charset,
            members: form.members,
            invisible: form.invisible,
            collation: form.collation,
        }
    }
}

/// The contract's names without their prefix, in small letters.
fn logical_type(name: &str) -> proto::LogicalType {
    let name = format!("LOGICAL_TYPE_{}", name.to_ascii_uppercase());
    proto::LogicalType::from_str_name(&name).unwrap_or(proto::LogicalType::Unspecified)
}

/// Columns, found by their names.
struct Columns<'c> {
    columns: &'c [proto::Column],
    ordinals: HashMap<&'c str, usize>,
}

impl<'c> Columns<'c> {
    fn new(columns: &'c [proto::Column]) -> Self {
        let named = columns.iter().enumerate();
        Self { columns, ordinals: named.map(|(at, column)| (&*column.name, at)).collect() }
    }

    /// Gives the members of an object away with the ordinals of their columns.
    fn each(
        &self,
        raw: &RawValue,
        room: &mut Room,
        cells: usize,
        mut put: impl FnMut(usize, proto::Value) -> Result<(), DocumentError>,
    ) -> Result<(), DocumentError> {
        room.0 = room.0.checked_sub(cells).ok_or_else(|| {
            DocumentError::new("the rows", "more cells", "so many as the limits allow")
        })?;
        // Nearly always the columns' own order.
        let mut next = 0;
        each_member(raw.get(), &mut |Name(name), value| {
            let is_next = |column: &&proto::Column| *column.name == *name;
            let at = match self.columns.get(next).filter(is_next) {
                Some(_) => Some(next),
                None => self.ordinals.get(&*name).copied(),
            };
            let Some((at, column)) = at.and_then(|at| Some((at, self.columns.get(at)?))) else {
                let found = "a member that is none of the columns";
                return Err(DocumentError::new("the image", found, "names of columns"));
            };
            next = at + 1;
            let Some(kind) = kind(column, value.get()) else {
                let expected = "a value of the column's type";
                return Err(DocumentError::new(name, "another form", expected));
            };
            put(at, proto::Value { kind: Some(kind) })
        })
    }

    /// An image of all columns: those without a member are absent.
    fn image(&self, raw: &RawValue, room: &mut Room) -> Result<proto::Image, DocumentError> {
        let mut values = vec![proto::Value::default(); self.columns.len()];
        self.each(raw, room, self.columns.len(), |at, value| match values.get_mut(at) {
            Some(place) if place.kind.is_none() => {
                *place = value;
                Ok(())
            }
            _ => Err(DocumentError::new("the image", "a column twice", "each once")),
        })?;
        Ok(proto::Image { values })
    }

    /// An image of the key's columns, in the key's order; in the object's, where the table has no
    /// primary key.
    fn key(
        &self,
        key: &[usize],
        raw: &RawValue,
        room: &mut Room,
    ) -> Result<proto::Image, DocumentError> {
        let mut values = Vec::new();
        self.each(raw, room, key.len().max(1), |at, value| {
            values.push((at, value));
            Ok(())
        })?;
        values.sort_by_key(|(at, _)| key.iter().position(|ordinal| ordinal == at));
        Ok(proto::Image { values: values.into_iter().map(|(_, value)| value).collect() })
    }
}

fn put_transactions(
    document: &Members<'_>,
    batch: &mut proto::ChangeBatch,
) -> Result<(), DocumentError> {
    #[derive(Deserialize)]
    struct Form<'a> {
        gtid: Option<String>,
        #[serde(borrow)]
        committed_at: Name<'a>,
        #[serde(borrow, default)]
        original_committed_at: Option<Name<'a>>,
        position: Position,
        server_id: u32,
        rows: u32,
        #[serde(default)]
        traceparent: String,
    }
    let mut files = HashMap::new();
    each("transactions", document.required("transactions")?, |form: Form<'_>| {
        let at_us = microseconds("transactions.committed_at", &form.committed_at.0)?;
        let original_us = match &form.original_committed_at {
            Some(text) => microseconds("transactions.original_committed_at", &text.0)?,
            None => at_us,
        };
        if batch.transactions.is_empty() {
            batch.committed_at_base_us = at_us;
        }
        let next = files.len();
        let file = *files.entry(form.position.file).or_insert_with_key(|name| {
            batch.files.push(name.clone());
            next
        });
        batch.transactions.push(proto::Transaction {
            gtid: form.gtid.unwrap_or_default(),
            committed_at_delta_us: at_us.wrapping_sub(batch.committed_at_base_us),
            file: u32::try_from(file).unwrap_or(u32::MAX),
            offset: form.position.offset,
            rows: form.rows,
            server_id: form.server_id,
            original_committed_at_delta_us: original_us.wrapping_sub(at_us),
            traceparent: form.traceparent,
        });
        Ok(())
    })
}
