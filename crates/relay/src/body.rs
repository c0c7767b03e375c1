//! Requests: rows in the format of the route.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use binpulse_client::proto;
use binpulse_core::change::{Change, Position, RowBuffer, Transaction, TransactionId};
use binpulse_core::encode::Origin;
use binpulse_core::encode::formats::{FormatOptions, Formatter, RowContext, RowNumber, key_change};
use binpulse_core::encode::opened::OpenedRows;
use bytes::Bytes;
use prometheus::IntCounter;
use serde_json::json;

use crate::hash::hash;
use crate::lane::LaneKey;
use crate::lanes::requests::{Place, Run, text_of};
use crate::state::Parked;
use crate::target::Request;

/// A row of a message.
#[derive(Debug, Clone)]
pub(crate) struct RowRef {
    pub(crate) rows: Arc<OpenedRows>,
    pub(crate) index: usize,
    pub(crate) number: u64,
    /// Of a row of a snapshot.
    pub(crate) read: Option<Arc<Read>>,
}

/// The snapshot that rows come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) snapshot: String,
    pub(crate) attempt: u32,
    /// Stands for the transaction that rows of a table have not: committed when the part was sent.
    transaction: Transaction,
}

impl Read {
    /// Rows of this server, in a part that was sent then, microseconds since 1970 UTC.
    pub(crate) fn new(part: &proto::SnapshotPart, server_id: u32, sent_at_us: i64) -> Self {
        let transaction = Transaction {
            id: TransactionId::Anonymous,
            start: Position::default(),
            committed_at_us: sent_at_us,
            original_committed_at_us: sent_at_us,
            server_id,
            length_bytes: None,
        };
        Self { snapshot: part.snapshot.clone(), attempt: part.attempt, transaction }
    }
}

/// Writes requests. Shared by tasks.
#[derive(Debug)]
pub(crate) struct Bodies {
    options: FormatOptions,
    /// Whether a request may have several rows: then its body is a list.
    is_list: bool,
    /// Whether rows go in an envelope of type, time and data.
    has_envelope: bool,
    lossy_cells: IntCounter,
    /// Formatters that nobody uses just now: they know tables.
    idle: Mutex<Vec<Formatter>>,
}

impl Bodies {
    pub(crate) fn new(options: FormatOptions, rows_max: usize, lossy_cells: IntCounter) -> Self {
        let has_envelope = options == FormatOptions::Binpulse;
        let is_list = rows_max > 1;
        Self { options, is_list, has_envelope, lossy_cells, idle: Mutex::default() }
    }

    /// The document of one row; of an update that the format has as two changes, both.
    pub(crate) fn document(&self, row: &RowRef) -> Vec<u8> {
        let (mut formatter, mut out) = (self.formatter(), Vec::with_capacity(256));
        put_row(&mut formatter, &origin(&row.rows), row, &mut RowBuffer::default(), &mut out);
        self.put_back(formatter);
        out
    }

    fn put_back(&self, formatter: Formatter) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(formatter);
    }

    /// The request of a run of rows.
    pub(crate) fn request(&self, lane: &LaneKey, run: &Run<RowRef>) -> Request {
        let mut formatter = self.formatter();
        let mut out = Vec::with_capacity(run.rows.len() * 256);
        let id = id(lane, run.first, run.last);
        if self.has_envelope {
            put_envelope(&mut out, lane, &id, run);
        }
        if self.is_list || self.has_envelope {
            out.push(b'[');
        }
        let mut buffer = RowBuffer::default();
        let (mut is_first, mut split_at) = (true, None);
        let lossy_before = formatter.lossy_cells();
        for rows in run.rows.chunk_by(|row, next| Arc::ptr_eq(&row.rows, &next.rows)) {
            let Some(origin) = rows.first().map(|row| origin(&row.rows)) else { continue };
            for row in rows {
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                split_at = put_row(&mut formatter, &origin, row, &mut buffer, &mut out);
            }
        }
        self.lossy_cells.inc_by(formatter.lossy_cells() - lossy_before);
        if self.is_list || self.has_envelope {
            out.push(b']');
        }
        if self.has_envelope {
            out.push(b'}');
        }
        self.put_back(formatter);
        let is_single = !self.is_list && !self.has_envelope;
        // The comma stays behind.
        let insert = split_at.filter(|_| is_single).map(|at| out.split_off(at));
        let mut request = Request {
            id,
            lane: lane.clone(),
            first: number(run.first),
            last: run.last,
            group: text_of(run.key),
            body: Bytes::from(out),
            then: None,
            content_type: if self.is_list && !self.has_envelope {
                self.options.batch_content_type()
            } else {
                self.options.content_type()
            },
            kind: "change",
            attributes: Vec::new(),
        };
        if let Some(insert) = insert {
            request.becomes_two(run, insert);
        }
        request
    }

    /// Rows of one message as lines of JSON, for people.
    pub(crate) fn lines(rows: &Arc<OpenedRows>, first: u64, last: u64) -> Vec<u8> {
        let mut formatter = Formatter::new(FormatOptions::Binpulse);
        let (mut out, mut buffer, origin) = (Vec::new(), RowBuffer::default(), origin(rows));
        for index in 0..rows.len() {
            let number = rows.first().saturating_add(index as u64);
            if !(first..=last).contains(&number) {
                continue;
            }
            let row = RowRef { rows: Arc::clone(rows), index, number, read: None };
            put_row(&mut formatter, &origin, &row, &mut buffer, &mut out);
            out.push(b'\n');
        }
        out
    }

    fn formatter(&self) -> Formatter {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Formatter::new(self.options.clone()))
    }
}

impl Request {
    /// The delete of the old key, in the group of its other rows, and then the insert of the new one.
    fn becomes_two(&mut self, run: &Run<RowRef>, mut insert: Vec<u8>) {
        let id = hash(&format!("{}\u{1f}insert", self.id));
        insert.remove(0);
        self.then = Some(Box::new(Self { id, body: Bytes::from(insert), ..self.clone() }));
        if let Some(before) = run.keys.iter().find(|key| **key != run.key) {
            self.group = text_of(*before);
        }
    }
}

fn put_envelope(out: &mut Vec<u8>, lane: &LaneKey, id: &str, run: &Run<RowRef>) {
    let committed = run.rows.iter().rev().find_map(|row| row.rows.transaction(row.index));
    let timestamp = committed.map(|transaction| time_text(transaction.committed_at_us));
    let kind = match run.first {
        Place::Change(_) => "binpulse.change.v1",
        Place::Read(..) => "binpulse.snapshot.v1",
    };
    let head = json!({
        "type": kind, "timestamp": timestamp, "id": id, "stream": &*lane.stream, "epoch": lane.epoch,
        "lane": &*lane.lane, "first": number(run.first), "last": run.last,
    });
    let head = head.to_string();
    out.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    out.extend_from_slice(b",\"data\":");
}

/// The stream that the rows of a message come from: made once for all of them.
fn origin(rows: &OpenedRows) -> Origin {
    Origin::of(rows.source(), env!("CARGO_PKG_VERSION"))
}

/// Appends the document of a row; where the format has it as two changes, both with a comma between them,
/// whose place is returned.
fn put_row(
    formatter: &mut Formatter,
    origin: &Origin,
    row: &RowRef,
    buffer: &mut RowBuffer,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let (read, splits) = (row.read.as_deref(), formatter.splits_key_changes());
    let transaction = row.rows.transaction(row.index).or(read.map(|read| &read.transaction));
    let (transaction, change) = (transaction?, row.rows.change(row.index, buffer)?);
    let table = row.rows.table();
    let number = RowNumber {
        lane: row.rows.lane(),
        number: row.number,
        snapshot: read.map(|read| (read.snapshot.as_str(), read.attempt)),
    };
    let mut put = |change: &Change<'_>, out: &mut Vec<u8>| {
        let mut context = RowContext::new(origin, table, transaction, change);
        context.number = Some(number);
        formatter.row(&context, out);
    };
    let parts = if splits { key_change(table, &change) } else { None };
    let Some([delete, insert]) = parts else {
        put(&change, out);
        return None;
    };
    put(&delete, out);
    let at = out.len();
    out.push(b',');
    put(&insert, out);
    Some(at)
}

/// The request of rows that were parked: the same as before.
pub(crate) fn again(lane: &LaneKey, parked: &Parked) -> Request {
    if let Some(request) = crate::outbox::again(parked) {
        return request;
    }
    let known = ["application/cloudevents+json", "application/cloudevents-batch+json"];
    let content_type = known.into_iter().find(|known| *known == parked.content_type);
    Request {
        id: parked.id.clone(),
        lane: lane.clone(),
        first: parked.first,
        last: parked.last,
        group: parked.keys.first().cloned().unwrap_or_else(|| text_of(0)),
        body: Bytes::from(parked.body.clone()),
        content_type: content_type.unwrap_or("application/json"),
        then: None,
        kind: "change",
        attributes: Vec::new(),
    }
}

/// A canary for a receiver, which answers it as it answers rows.
pub(crate) fn canary(stream: &str, epoch: u64, canary: &proto::Canary) -> Request {
    let phase = match canary.phase() {
        proto::CanaryPhase::Unspecified => "unspecified",
        proto::CanaryPhase::Insert => "insert",
        proto::CanaryPhase::Update => "update",
        proto::CanaryPhase::Delete => "delete",
    };
    let lane = LaneKey { stream: stream.into(), epoch, lane: "!canary".into() };
    let id =
        hash(&format!("{stream}\u{1f}{epoch}\u{1f}!canary\u{1f}{}\u{1f}{phase}", canary.number));
    let body = json!({
        "type": "binpulse.canary", "timestamp": time_text(canary.written_at_us), "id": id,
        "data": {"stream": stream, "epoch": epoch, "number": canary.number, "phase": phase,
                 "path": canary.path},
    });
    Request {
        id,
        lane,
        first: canary.number,
        last: canary.number,
        group: String::from("canary"),
        body: Bytes::from(body.to_string()),
        content_type: "application/json",
        then: None,
        kind: "canary",
        attributes: Vec::new(),
    }
}

/// The id of a request: the same for the same rows.
pub(crate) fn id(lane: &LaneKey, first: Place, last: u64) -> String {
    let LaneKey { stream, epoch, lane } = lane;
    let mut text = format!("{stream}\u{1f}{epoch}\u{1f}{lane}\u{1f}");
    let written = match first {
        Place::Change(first) => write!(text, "{first}\u{1f}{last}"),
        Place::Read(attempt, first) => write!(text, "read\u{1f}{attempt}\u{1f}{first}\u{1f}{last}"),
    };
    written.expect("writing to a String cannot fail");
    hash(&text)
}

/// The id under which a message that can't be opened is parked.
pub(crate) fn message_id(body: &str) -> String {
    hash(body)
}

fn number(place: Place) -> u64 {
    match place {
        Place::Change(number) | Place::Read(_, number) => number,
    }
}

/// RFC 3339 in UTC with microseconds.
fn time_text(at_us: i64) -> String {
    let mut quoted = Vec::new();
    binpulse_core::encode::json::put_time(&mut quoted, at_us);
    String::from_utf8_lossy(quoted.trim_ascii()).trim_matches('"').to_owned()
}
