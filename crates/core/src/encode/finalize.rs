//! Drafts to messages: what costs CPU time, on any thread.

use std::sync::Arc;

use prost::Message as _;
use sha2::{Digest, Sha256};

use super::attributes::attributes;
use super::digest::RowsDigest;
use super::encoded_batch::{Canary, Content, ControlMessage, EncodedBatch, Purpose, SnapshotPart};
use super::formats::FormatOptions;
use super::frame::{FRONT_BYTES, Framer};
use super::lane::hex;
use super::message::{Attribute, Kind, Message};
use super::options::{BeforeImage, Format};
use super::origin::Origin;
use super::outbox::Outbox;
use super::rows::Rows;
use super::schema::Schema;
use super::single_rows::RowDocuments;
use super::{json, proto, protobuf};

/// Largest content that is made of one encoded batch before it is split or made smaller, bytes. Consumers
/// need this much memory to open a message.
pub const CONTENT_BYTES_MAX: usize = 64 << 20;

/// How messages are finalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalizeOptions {
    /// zstd's level, 1 to 22; 0 switches compression off.
    pub zstd_level: i32,
}

impl Default for FinalizeOptions {
    fn default() -> Self {
        Self { zstd_level: 1 }
    }
}

/// A topic, as far as its messages depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// ARN.
    pub arn: Arc<str>,
    /// Whether it is a FIFO topic: messages then carry a group and a deduplication id.
    pub fifo: bool,
    /// Largest message it accepts, attributes included, bytes.
    pub message_bytes_max: usize,
}

/// What to do with a row too large for its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oversize {
    /// Leave out its largest cells, never those of the primary key.
    Omit,
    /// Nothing: hand it over as [`Finalized::TooLarge`].
    Keep,
}

/// What finalizing made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finalized {
    /// A message that the topic accepts.
    Message(Message),
    /// A message of one row, or a control message, that is too large for its topic.
    TooLarge(Message),
}

/// Seals encoded batches. Keeps its compressor and buffers: one for each thread.
#[derive(Debug)]
pub struct Finalizer {
    framer: Framer,
    content: Vec<u8>,
    /// Set where each row is a message, in another program's format.
    documents: Option<RowDocuments>,
    outbox: Outbox,
    lossy_cells: u64,
}

impl Finalizer {
    /// Fails only when zstd gets no memory.
    pub fn new(options: FinalizeOptions) -> std::io::Result<Self> {
        let framer = Framer::new(options.zstd_level)?;
        Ok(Self {
            framer,
            content: Vec::new(),
            documents: None,
            outbox: Outbox::default(),
            lossy_cells: 0,
        })
    }

    /// Makes a message of each row, in this format. Batches are to be of [`Format::Protobuf`].
    #[must_use]
    pub fn with_row_format(mut self, options: Option<FormatOptions>) -> Self {
        self.documents = options.map(RowDocuments::new);
        self
    }

    /// Cells since the last call that the format of single rows could not hold as they are.
    pub fn take_lossy_cells(&mut self) -> u64 {
        let total = self.documents.as_ref().map_or(0, RowDocuments::lossy_cells);
        total - std::mem::replace(&mut self.lossy_cells, total)
    }

    /// Seals a encoded batch, however large the message becomes.
    pub fn finalize(
        &mut self,
        batch: &EncodedBatch,
        origin: &Origin,
        destination: &Destination,
    ) -> Message {
        self.content.clear();
        self.content.resize(FRONT_BYTES, 0);
        let format = match batch.content() {
            Content::Rows { schema, .. } => schema.format(),
            Content::ControlMessage { format, .. } => *format,
        };
        let documents = self.documents.as_mut().filter(|_| RowDocuments::takes(batch));
        let is_text = format == Format::Json || documents.is_some();
        match (documents, format) {
            (Some(documents), _) => documents.put(&mut self.content, batch, origin),
            (None, Format::Protobuf) => put_frame(&mut self.content, batch, origin),
            (None, Format::Json) => put_document(&mut self.content, batch, origin),
        }
        let content = self.content.get(FRONT_BYTES..).unwrap_or_default();
        let uncompressed_bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let checksum = crc32c::crc32c(content);
        let body = if is_text {
            // The writers of JSON let nothing through that is not UTF-8.
            String::from_utf8_lossy(content).into_owned()
        } else {
            self.framer.body(&mut self.content, checksum)
        };
        self.keep_buffer_small();
        let (group_id, deduplication_id) = if destination.fifo {
            let identity = deduplication_id(batch, origin, checksum);
            let lane = batch.lane();
            let group = match &origin.replay {
                Some(_) => lane.replay_group_id(&origin.stream),
                None => lane.group_id(&origin.stream),
            };
            (Some(group), Some(identity))
        } else {
            (None, None)
        };
        Message {
            id: 0,
            lane: batch.lane().id,
            lane_key: Arc::clone(&batch.lane().key),
            kind: batch.kind(),
            body,
            attributes: attributes(batch, origin),
            group_id,
            deduplication_id,
            destination: Arc::clone(&destination.arn),
            rows: batch.rows(),
            sequence_first: batch.sequence_first(),
            uncompressed_bytes,
            ack_group: batch.ack_group(),
            committed_at_us: batch.committed_at_us(),
            omitted_cells: batch.omitted_cells(),
        }
    }

    /// Seals a encoded batch into messages that the topic accepts, in order: splits it while it is too
    /// large, then makes its rows smaller as `oversize` says. `out` gets at least one entry, and
    /// exactly one for each message that is to be published.
    pub fn finalize_within(
        &mut self,
        batch: EncodedBatch,
        origin: &Origin,
        destination: &Destination,
        oversize: Oversize,
        out: &mut Vec<Finalized>,
    ) {
        let mut pending = match self.documents.as_mut().filter(|_| RowDocuments::takes(&batch)) {
            Some(documents) => documents.single_rows(&batch),
            None => vec![batch],
        };
        pending.reverse();
        while let Some(batch) = pending.pop() {
            let finalized = (batch.len_bytes() <= CONTENT_BYTES_MAX)
                .then(|| self.finalize(&batch, origin, destination));
            if let Some(message) = finalized
                && message.billed_bytes() <= destination.message_bytes_max
            {
                out.push(Finalized::Message(message));
                continue;
            }
            match batch.split() {
                Ok((first, second)) => pending.extend([second, first]),
                Err(row) => {
                    out.push(self.finalize_large_row(*row, origin, destination, oversize));
                }
            }
        }
    }

    /// Makes a message of each row of an outbox table. Where a message goes may depend on the row:
    /// `destination` is given the type of its aggregate. Of a payload nothing can be left out, so with
    /// [`Oversize::Omit`] a message that is too large is handed over as it is, for the topic to
    /// refuse.
    pub fn finalize_outbox(
        &mut self,
        batch: &EncodedBatch,
        origin: &Origin,
        mut destination: impl FnMut(Option<&str>) -> Destination,
        oversize: Oversize,
        out: &mut Vec<Finalized>,
    ) {
        for row in self.outbox.messages(batch) {
            let destination = destination(row.aggregate_type());
            let message = row.into_message(batch, origin, &destination, oversize);
            let fits = message.billed_bytes() <= destination.message_bytes_max;
            out.push(if fits || oversize == Oversize::Omit {
                Finalized::Message(message)
            } else {
                Finalized::TooLarge(message)
            });
        }
    }

    fn finalize_large_row(
        &mut self,
        mut row: EncodedBatch,
        origin: &Origin,
        destination: &Destination,
        oversize: Oversize,
    ) -> Finalized {
        if oversize == Oversize::Omit && row.len_bytes() > CONTENT_BYTES_MAX {
            row = row.shrink_to(CONTENT_BYTES_MAX / 2).unwrap_or_else(|row| *row);
        }
        let mut message = self.finalize(&row, origin, destination);
        if oversize == Oversize::Keep {
            return Finalized::TooLarge(message);
        }
        // First as many cells as the compression seen so far makes likely; then as many as it
        // takes even if nothing of the rest can be compressed.
        for target in [Target::Likely, Target::Certain, Target::Least] {
            if message.billed_bytes() <= destination.message_bytes_max {
                return Finalized::Message(message);
            }
            if matches!(target, Target::Least) {
                // Text of a row's own document may take more bytes than its cells have.
                if self.documents.is_some() {
                    row = row.shrink_fully();
                    message = self.finalize(&row, origin, destination);
                }
                break;
            }
            let limit = target.images_bytes(&message, &row, destination.message_bytes_max);
            row = match limit.map(|limit| row.clone().shrink_to(limit)) {
                Some(Ok(smaller)) => smaller,
                Some(Err(_)) | None => continue,
            };
            message = self.finalize(&row, origin, destination);
        }
        if message.billed_bytes() <= destination.message_bytes_max {
            Finalized::Message(message)
        } else {
            Finalized::TooLarge(message)
        }
    }

    /// Does not hold on to the memory of one huge row for ever.
    fn keep_buffer_small(&mut self) {
        const KEPT_BYTES_MAX: usize = 4 << 20;
        if self.content.capacity() > KEPT_BYTES_MAX {
            self.content = Vec::new();
            self.framer.release();
        }
    }
}

/// How sure it must be that a smaller row fits.
#[derive(Clone, Copy)]
enum Target {
    Likely,
    Certain,
    /// As small as it becomes.
    Least,
}

impl Target {
    /// Bytes of images that make the message fit into `limit`; `None` when its header alone does not.
    fn images_bytes(self, message: &Message, row: &EncodedBatch, limit: usize) -> Option<usize> {
        let attributes: usize = message.attributes.iter().map(Attribute::billed_bytes).sum();
        let body_max = limit.checked_sub(attributes)?;
        let content = (message.uncompressed_bytes as usize).max(1);
        let content_max = match self {
            // Body bytes for each byte of content, as seen, and a tenth to spare.
            Self::Likely => {
                let wide = u128::from(body_max as u64) * u128::from(content as u64) * 9;
                usize::try_from(wide / (message.body.len().max(1) as u128 * 10)).ok()?
            }
            Self::Certain | Self::Least => body_max / 4 * 3,
        };
        let header = content.saturating_sub(row.len_bytes());
        content_max.checked_sub(header + 64)
    }
}

fn put_frame(out: &mut Vec<u8>, batch: &EncodedBatch, origin: &Origin) {
    match batch.content() {
        Content::Rows { schema, before_image, rows, purpose } => {
            put_rows_frame(out, batch, origin, (schema, *before_image, rows), purpose);
        }
        Content::ControlMessage { control, .. } => {
            let content = match (**control).clone() {
                ControlMessage::Heartbeat(mut heartbeat) => {
                    heartbeat.source = Some(origin.source());
                    proto::frame::Content::Heartbeat(heartbeat)
                }
                ControlMessage::Schema(mut change) => {
                    change.source = Some(origin.source());
                    proto::frame::Content::SchemaChange(change)
                }
                ControlMessage::SnapshotMark(mut mark, _) => {
                    mark.source = Some(of_tables(origin.source()));
                    proto::frame::Content::SnapshotMark(mark)
                }
                ControlMessage::Suppressed(mut suppressed) => {
                    suppressed.source = Some(origin.source());
                    proto::frame::Content::Suppressed(suppressed)
                }
            };
            let frame = proto::Frame { content: Some(content), ..proto::Frame::default() };
            out.extend_from_slice(&frame.encode_to_vec());
        }
    }
}

fn put_rows_frame(
    out: &mut Vec<u8>,
    batch: &EncodedBatch,
    origin: &Origin,
    (schema, before_image, rows): (&Schema, BeforeImage, &Rows),
    purpose: &Purpose,
) {
    let mut header = protobuf::Header {
        source: &origin.source().encode_to_vec(),
        schema: schema.encoded(),
        lane: batch.lane(),
        sequence_first: batch.sequence_first(),
        before_image,
        snapshot: (0, 0),
        has_transactions: true,
    };
    match purpose {
        Purpose::Changes { snapshot_next, snapshot_attempt } => {
            header.snapshot = (*snapshot_next, *snapshot_attempt);
            protobuf::put_rows_frame(out, &header, rows, protobuf::Around::Nothing);
        }
        Purpose::Canary(canary) => {
            let (before, after) = around_canary(canary);
            protobuf::put_rows_frame(out, &header, rows, protobuf::Around::Canary(&before, &after));
        }
        Purpose::Snapshot(part) => {
            let source = of_tables(origin.source()).encode_to_vec();
            header.source = &source;
            (header.sequence_first, header.has_transactions) = (0, false);
            let (before, after) = around_part(part, batch, origin.epoch);
            protobuf::put_rows_frame(
                out,
                &header,
                rows,
                protobuf::Around::SnapshotPart(&before, &after),
            );
        }
    }
}

/// The source of what was read from tables.
fn of_tables(source: proto::Source) -> proto::Source {
    proto::Source { snapshot: true, ..source }
}

/// The fields of a snapshot part before and after its batch.
fn around_part(part: &SnapshotPart, batch: &EncodedBatch, epoch: u64) -> (Vec<u8>, Vec<u8>) {
    let before = proto::SnapshotPart {
        snapshot: part.snapshot.to_string(),
        part: batch.sequence_first(),
        anchor: Some(proto::LaneMark {
            lane: batch.lane().key.to_string(),
            sequence_next: part.anchor,
            epoch,
            ..proto::LaneMark::default()
        }),
        ..proto::SnapshotPart::default()
    };
    let mut after = proto::SnapshotPart {
        chunk: part.chunk,
        attempt: part.attempt,
        last_part: part.is_last,
        ..proto::SnapshotPart::default()
    }
    .encode_to_vec();
    protobuf::put_images(&mut after, part);
    let counts = proto::SnapshotPart {
        rows_in_chunk: part.rows_in_chunk,
        rows_superseded: part.rows_superseded,
        digest: part.digest.map(RowsDigest::message),
        attempt_part: part.attempt_part,
        key_columns: part.key_columns.to_vec(),
        pass: part.pass,
        numbers_for: part
            .stands_for
            .as_ref()
            .map_or_else(String::new, |of| of.audience.to_string()),
        numbers: part.stands_for.as_ref().map_or(0, |of| of.numbers),
        ..proto::SnapshotPart::default()
    };
    after.extend_from_slice(&counts.encode_to_vec());
    (before.encode_to_vec(), after)
}

/// The fields of a canary before and after its batch.
fn around_canary(canary: &Canary) -> (Vec<u8>, Vec<u8>) {
    let before = proto::Canary {
        number: canary.number,
        phase: canary.phase.into(),
        written_at_us: canary.written_at_us,
        ..proto::Canary::default()
    };
    let after = proto::Canary {
        watermark: canary.watermark.clone(),
        path: canary.path.as_deref().unwrap_or_default().to_owned(),
        nonce: canary.nonce.clone(),
        ..proto::Canary::default()
    };
    (before.encode_to_vec(), after.encode_to_vec())
}

fn put_document(out: &mut Vec<u8>, batch: &EncodedBatch, origin: &Origin) {
    match batch.content() {
        Content::Rows { schema, before_image, rows, purpose } => {
            let header = json::Header {
                origin,
                table: schema.table(),
                schema: schema.encoded(),
                lane: batch.lane(),
                sequence_first: batch.sequence_first(),
                before_image: *before_image,
                purpose,
            };
            put_json_rows(out, &header, schema, rows);
        }
        Content::ControlMessage { control, .. } => json::put_notice(out, origin, control),
    }
}

fn put_json_rows(out: &mut Vec<u8>, header: &json::Header<'_>, schema: &Schema, rows: &Rows) {
    out.reserve(rows.images.len() + rows.marks.len() * 80 + schema.len_bytes() + 512);
    json::put_rows(out, header, rows);
}

/// Names the message's content for SNS: the same rows packed in the same way have the same id, in
/// this run and in any other.
fn deduplication_id(batch: &EncodedBatch, origin: &Origin, checksum: u32) -> String {
    let mut lane = Sha256::new();
    lane.update(origin.stream.as_bytes());
    lane.update([0]);
    lane.update(batch.lane().key.as_bytes());
    let digest = lane.finalize();
    let lane = hex(digest.get(..16).unwrap_or(&digest));
    let (epoch, first, rows) = (origin.epoch, batch.sequence_first(), batch.rows());
    // Parts of a snapshot have numbers of their own; held back rows may be sent after all.
    let of = match batch.kind() {
        Kind::Snapshot => "s",
        Kind::Suppressed => "x",
        Kind::Change | Kind::Canary | Kind::Heartbeat | Kind::Schema | Kind::Outbox => "",
    };
    let identity = format!("{lane}:{epoch}:{of}{first}:{rows}:{checksum:08x}");
    match &origin.replay {
        // SNS would take it for the first one within five minutes, and drop it.
        Some(replay) => format!("{identity}:{:x}", replay.run),
        None => identity,
    }
}
