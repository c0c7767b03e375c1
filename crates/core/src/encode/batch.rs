//! Rows of one table and lane, encoded as they come.

use std::sync::Arc;

use super::encoded_batch::{Content, EncodedBatch, Purpose};
use super::image_buffer::ImageBuffer;
use super::json;
use super::lane::Lane;
use super::options::{BeforeImage, Format, RowOptions, span_bytes};
use super::protobuf;
use super::rows::{OpSet, RowMark, Rows};
use super::schema::Schema;
use crate::change::{Cell, Change, Image, Op, Table, Transaction};

/// What a row costs in a message besides its images, about, bytes: tags, lengths, numbers.
const ROW_OVERHEAD_BYTES: usize = 12;
/// What a transaction costs in a message, about, bytes: GTID, times, offset.
const TRANSACTION_OVERHEAD_BYTES: usize = 64;
/// What a message costs besides rows, transactions and schema, about, bytes: source, lane, times.
const HEADER_BYTES: usize = 192;

/// What a new message may reserve because its predecessor needed it: thousands of batches can be open
/// at once, most of them for a row or two.
const RESERVED_BYTES_MAX: usize = 8 << 10;
const RESERVED_ROWS_MAX: usize = 64;

/// Rows of one table and lane, encoded as they come, not yet a message. A row costs no allocation in
/// steady state: buffers grow to the size of a message and are handed on as a whole.
#[derive(Debug)]
pub struct Batch {
    schema: Arc<Schema>,
    options: RowOptions,
    /// Bodies of the images: [`Rows::images`] of what is gathered.
    images: ImageBuffer,
    /// All but the images.
    rows: Rows,
    /// Sizes of the last message: what the next one reserves.
    images_bytes: usize,
    marks: usize,
    transactions: usize,
}

impl Batch {
    /// An empty batch for rows of `table`. Encodes the table's schema, once.
    pub fn new(format: Format, options: RowOptions, table: Arc<Table>) -> Self {
        let schema = Arc::new(Schema::new(format, table));
        Self {
            schema,
            options,
            images: ImageBuffer::default(),
            rows: Rows::default(),
            images_bytes: 0,
            marks: 0,
            transactions: 0,
        }
    }

    /// Adds a row. `ack_group` is the ack group of delivery that its transaction belongs to.
    pub fn push(&mut self, ack_group: u64, transaction: &Transaction, change: &Change<'_>) {
        self.reserve();
        let transaction = self.rows.transaction(ack_group, transaction);
        let before_bytes = change.before.map(|before| self.put_before(change, &before));
        let after_bytes = change.after.map(|after| self.put_whole(&after));
        self.rows.ops.insert(change.op);
        let (row, op) = (change.row, change.op);
        self.rows.marks.push(RowMark { row, before_bytes, after_bytes, transaction, op });
    }

    /// Makes room in two steps: a little for the first rows, as much as the last message had once
    /// they turn out to be many. Growing by doubling would copy each message about twice.
    #[inline]
    fn reserve(&mut self) {
        let (filled, room) = (self.images.len(), self.images.capacity());
        if room == 0 {
            self.images.reserve_to(self.images_bytes.min(RESERVED_BYTES_MAX));
            self.rows.marks.reserve(self.marks.min(RESERVED_ROWS_MAX));
        } else if filled > RESERVED_BYTES_MAX / 2 && room < self.images_bytes {
            // An eighth to spare: messages of a table are about as large as each other.
            let marks = self.marks / 8 * 9;
            let transactions = self.transactions / 8 * 9;
            let known = self.rows.transactions.len();
            self.rows.transactions.reserve_exact(transactions.saturating_sub(known));
            self.images.reserve_to(self.images_bytes / 8 * 9);
            self.rows.marks.reserve_exact(marks.saturating_sub(self.rows.marks.len()));
        }
    }

    fn put_before(&mut self, change: &Change<'_>, before: &Image<'_>) -> usize {
        match (self.options.before_image, change.op, change.after) {
            (BeforeImage::Changed, Op::Update, Some(after)) => {
                let limit = self.options.cell_limit(before);
                self.put_image(before, |schema, ordinal, cell| {
                    if schema.is_key(ordinal) || cell != after.cell(ordinal) {
                        schema.limited(ordinal, cell, limit)
                    } else {
                        Cell::Absent
                    }
                })
            }
            (BeforeImage::Key, _, _) if self.schema.has_key() => self.put_image(
                before,
                |schema, ordinal, cell| {
                    if schema.is_key(ordinal) { cell } else { Cell::Absent }
                },
            ),
            _ => self.put_whole(before),
        }
    }

    /// Writes all cells of an image; returns how many bytes that took.
    fn put_whole(&mut self, image: &Image<'_>) -> usize {
        let RowOptions { cell_bytes_max, image_bytes_max, .. } = self.options;
        let bound = cell_bytes_max.min(image_bytes_max);
        if image.spans_bytes_max() <= bound || span_bytes(image) <= bound {
            // Nearly every image of every table: cells go straight from the event to the batch.
            let Self { schema, images, .. } = self;
            let start = images.len();
            match schema.format() {
                Format::Protobuf => protobuf::put_image(images, image),
                Format::Json => images.append(|out| {
                    json::put_object(out, schema.keys(), image.cells());
                }),
            }
            return images.len() - start;
        }
        let limit = self.options.cell_limit(image);
        self.put_image(image, |schema, ordinal, cell| schema.limited(ordinal, cell, limit))
    }

    /// Writes an image's cells as `choose` has them; returns how many bytes that took.
    #[inline]
    fn put_image<'a>(
        &mut self,
        image: &Image<'a>,
        choose: impl Fn(&Schema, usize, Cell<'a>) -> Cell<'a>,
    ) -> usize {
        let Self { schema, images, rows, .. } = self;
        let start = images.len();
        let mut omitted = 0;
        let cells = image.cells().enumerate().map(|(ordinal, cell)| {
            let chosen = choose(schema, ordinal, cell);
            omitted += u32::from(matches!(chosen, Cell::Omitted { .. }));
            chosen
        });
        images.append(|out| match schema.format() {
            Format::Protobuf => cells.for_each(|cell| protobuf::put_cell(out, cell)),
            Format::Json => json::put_object(out, schema.keys(), cells),
        });
        rows.omitted_cells += omitted;
        images.len() - start
    }

    /// About how many bytes the content of a message would have, uncompressed.
    pub fn len_bytes(&self) -> usize {
        let rows = self.images.len() + self.rows.marks.len() * ROW_OVERHEAD_BYTES;
        let transactions = self.rows.transactions.len() * TRANSACTION_OVERHEAD_BYTES;
        rows + transactions + self.schema.len_bytes() + HEADER_BYTES
    }

    /// Rows gathered.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.rows.marks.len()).unwrap_or(u32::MAX)
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.rows.marks.is_empty()
    }

    /// Operations gathered.
    pub fn ops(&self) -> OpSet {
        self.rows.ops
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        self.schema.table()
    }

    /// Takes what was gathered; `None` when that is nothing. `sequence_first` is the first row's
    /// number in `lane`.
    pub fn take(&mut self, lane: Lane, sequence_first: u64) -> Option<EncodedBatch> {
        (!self.is_empty()).then(|| self.take_even_empty(lane, sequence_first))
    }

    /// What was gathered, even if that is nothing: a part of a snapshot may have no rows, though it has
    /// an ack group. Its number is given later.
    pub fn take_part(&mut self, ack_group: u64, read_at: &Transaction, lane: Lane) -> EncodedBatch {
        if self.is_empty() {
            self.rows.transaction(ack_group, read_at);
        }
        self.take_even_empty(lane, 0)
    }

    fn take_even_empty(&mut self, lane: Lane, sequence_first: u64) -> EncodedBatch {
        let mut rows = std::mem::take(&mut self.rows);
        rows.images = self.images.take();
        self.images_bytes = rows.images.len();
        self.marks = rows.marks.len();
        self.transactions = rows.transactions.len();
        let content = Content::Rows {
            schema: Arc::clone(&self.schema),
            before_image: self.options.before_image,
            rows,
            purpose: Purpose::Changes { snapshot_next: 0, snapshot_attempt: 0 },
        };
        EncodedBatch::new(lane, sequence_first, content)
    }
}
