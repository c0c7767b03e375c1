//! Messages of every kind, each in every form that it comes in, with what it means.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_client::proto;
use binpulse_core::change::{
    Gtid, MariaGtid, Op, Position, Slot, Table, Tag, Transaction, TransactionId, Uuid,
};
use binpulse_core::encode::testing::{Owned, OwnedChange, OwnedImage, absent, int, null, text};
use binpulse_core::encode::{
    Batch, BeforeImage, Canary, EncodedBatch, Format, KeyWriter, Lane, LaneId, Message, RowOptions,
    RowsDigest, SnapshotPart, control_message,
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::cells::{columns, meaning, rows_of_edges, type_name};
use crate::shown::{extend, hex, number, source, watermark};
use crate::support::{finalized, lane, origin};

/// A message in one form.
pub(crate) fn form(name: &str, message: &Message) -> Value {
    let attributes = message.attributes.iter();
    let attributes = attributes.map(|one| (one.name.to_string(), Value::from(one.value.as_str())));
    let attributes: serde_json::Map<_, _> = attributes.collect();
    json!({"form": name, "attributes": attributes, "body": message.body})
}

/// A case: the same content in the forms that the encoder writes.
fn case(
    name: &str,
    about: &str,
    content: Value,
    make: impl Fn(Format) -> EncodedBatch,
    replay: Option<&str>,
) -> Value {
    let forms = [
        ("frame", Format::Protobuf, 0),
        ("frame-zstd", Format::Protobuf, 1),
        ("json", Format::Json, 0),
    ];
    let messages = forms
        .iter()
        .map(|(name, format, level)| form(name, &finalized(&make(*format), *level, replay)));
    json!({"name": name, "about": about, "messages": messages.collect::<Vec<_>>(), "content": content})
}

/// A case whose content the encoder does not write.
fn frame_case(name: &str, about: &str, content: Value, kind: &str, inner: &[u8]) -> Value {
    let body = STANDARD.encode(frame_of(inner));
    let messages = [json!({"form": "frame", "attributes": {"kind": kind, "v": "1"}, "body": body})];
    json!({"name": name, "about": about, "messages": messages, "content": content})
}

/// The bytes of a frame with this payload, not compressed.
pub(crate) fn frame_of(payload: &[u8]) -> Vec<u8> {
    proto::Frame {
        format_version: 1,
        codec: proto::Codec::None.into(),
        uncompressed_size: payload.len() as u64,
        crc32c: crc32c::crc32c(payload),
        content: Some(proto::frame::Content::Payload(payload.to_vec())),
    }
    .encode_to_vec()
}

fn inner(content: proto::frame::Content) -> Vec<u8> {
    proto::Frame { content: Some(content), ..proto::Frame::default() }.encode_to_vec()
}

fn table() -> Arc<Table> {
    Arc::new(Table {
        database: "shop".into(),
        name: "orders".into(),
        columns: columns(),
        primary_key: vec![0],
        named: true,
        outbox: None,
        fingerprint: 0xfeed_0000_0000_0001,
    })
}

/// A narrow table, whose key has two columns that do not stand first.
pub(crate) fn lines() -> Arc<Table> {
    let all = columns();
    let column = |name: &str, at: usize| binpulse_core::change::Column {
        name: name.into(),
        nullable: false,
        ..all[at].clone()
    };
    Arc::new(Table {
        database: "shop".into(),
        name: "order_lines".into(),
        columns: vec![column("note", 11), column("line", 1), column("order_id", 0)],
        primary_key: vec![2, 1],
        named: true,
        outbox: None,
        fingerprint: 0xfeed_0000_0000_0002,
    })
}

pub(crate) fn gtid(sequence: u64) -> TransactionId {
    TransactionId::Gtid(Gtid { source: Uuid([0xab; 16]), tag: Tag::default(), sequence })
}

pub(crate) fn transaction(
    id: TransactionId,
    file: u32,
    offset: u64,
    original_us: i64,
) -> Transaction {
    let committed_at_us = 1_795_000_000_000_000 + i64::try_from(offset).expect("small");
    Transaction {
        id,
        start: Position::new(format!("binlog.{file:06}"), offset),
        committed_at_us,
        original_committed_at_us: committed_at_us + original_us,
        server_id: 7,
        length_bytes: None,
    }
}

type Input = Vec<(Transaction, Vec<OwnedRow>)>;

/// A change whose cells can be looked at.
pub(crate) struct OwnedRow {
    op: Op,
    before: Option<Vec<Owned>>,
    after: Option<Vec<Owned>>,
}

impl OwnedRow {
    pub(crate) fn insert(after: Vec<Owned>) -> Self {
        Self { op: Op::Insert, before: None, after: Some(after) }
    }

    pub(crate) fn change(&self, row: u64) -> OwnedChange {
        let image = |cells: &Option<Vec<Owned>>| cells.as_ref().map(|cells| OwnedImage::new(cells));
        OwnedChange { op: self.op, row, before: image(&self.before), after: image(&self.after) }
    }
}

fn batch_of(
    format: Format,
    options: RowOptions,
    table: &Arc<Table>,
    input: &Input,
) -> EncodedBatch {
    let mut batch = Batch::new(format, options, Arc::clone(table));
    for (ack_group, (transaction, rows)) in input.iter().enumerate() {
        for (number, row) in rows.iter().enumerate() {
            batch.push(ack_group as u64, transaction, &row.change(number as u64).change());
        }
    }
    batch.take(lane(), 41).expect("rows")
}

/// What an image means, cells of the other columns absent.
fn image(
    table: &Table,
    cells: &[Owned],
    bytes_max: usize,
    is_there: impl Fn(usize) -> bool,
) -> Value {
    let members = table.columns.iter().zip(cells).enumerate().map(|(at, (column, cell))| {
        let limit = if table.primary_key.contains(&at) { usize::MAX } else { bytes_max };
        let cell = if is_there(at) {
            meaning(column.logical_type, cell, limit)
        } else {
            json!({"absent": true})
        };
        (column.name.clone(), cell)
    });
    Value::Object(members.collect())
}

fn row_meaning(table: &Table, row: &OwnedRow, options: &RowOptions) -> Value {
    let max = options.cell_bytes_max;
    let is_key = |at: usize| table.primary_key.contains(&at);
    let before = row.before.as_ref().map(|cells| {
        image(table, cells, max, |at| match options.before_image {
            BeforeImage::Full => true,
            BeforeImage::Key => is_key(at),
            BeforeImage::Changed => {
                row.after.as_ref().is_none_or(|after| is_key(at) || after[at] != cells[at])
            }
        })
    });
    let after = row.after.as_ref().map(|cells| image(table, cells, max, |_| true));
    json!({"op": row.op.as_str(), "before": before, "after": after})
}

fn table_meaning(table: &Table) -> Value {
    let columns = table.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": type_name(column.logical_type),
            "mysql_type": column.mysql_type,
            "nullable": column.nullable,
            "unsigned": column.unsigned,
            "members": column.members,
        })
    });
    let key = table.primary_key.iter().map(|at| &table.columns[*at].name).collect::<Vec<_>>();
    json!({
        "database": &*table.database,
        "table": &*table.name,
        "columns": columns.collect::<Vec<_>>(),
        "primary_key": key,
        "fingerprint": format!("{:016x}", table.fingerprint),
        "lane": &*lane().key,
        "lane_number": number(lane().number),
        "lane_count": number(lane().count),
    })
}

fn batch_meaning(table: &Table, input: &Input, options: &RowOptions) -> Value {
    let mut rows = Vec::new();
    for (transaction, changes) in input {
        for (number_in_transaction, change) in changes.iter().enumerate() {
            let mut row = row_meaning(table, change, options);
            extend(
                &mut row,
                json!({
                    "number": number(41 + rows.len()),
                    "number_in_transaction": number(number_in_transaction),
                    "gtid": transaction.id.text().unwrap_or_default(),
                    "committed_at_us": number(transaction.committed_at_us),
                    "original_committed_at_us": number(transaction.original_committed_at_us),
                    "position": {"file": &*transaction.start.file, "offset": number(transaction.start.offset)},
                    "server_id": number(transaction.server_id),
                }),
            );
            rows.push(row);
        }
    }
    let before_image = match options.before_image {
        BeforeImage::Full => "full",
        BeforeImage::Changed => "changed",
        BeforeImage::Key => "key",
    };
    let mut shown = table_meaning(table);
    extend(
        &mut shown,
        json!({
            "source": source(&origin(None).source()), "before_image": before_image, "rows": rows,
        }),
    );
    shown
}

fn changes(
    name: &str,
    about: &str,
    table: &Arc<Table>,
    input: &Input,
    options: RowOptions,
    replay: Option<&str>,
) -> Value {
    let mut content = json!({"kind": "change", "snapshot_next": "5", "snapshot_attempt": "2"});
    extend(&mut content, batch_meaning(table, input, &options));
    let make = |format| batch_of(format, options, table, input).before_snapshot_part(5, 2);
    case(name, about, content, make, replay)
}

pub(crate) fn line(note: &str, line: i64, order: u64) -> Vec<Owned> {
    vec![text(note), int(line), Owned::Plain(Slot::UInt(order))]
}

fn update(before: Vec<Owned>, after: Vec<Owned>) -> OwnedRow {
    OwnedRow { op: Op::Update, before: Some(before), after: Some(after) }
}

/// An insert, an update that changes nothing of the key, one that does, and a delete.
fn operations() -> Input {
    let delete = OwnedRow { op: Op::Delete, before: Some(line("c", 3, 9)), after: None };
    vec![(
        transaction(gtid(5), 7, 400, 0),
        vec![
            OwnedRow::insert(line("a", 1, 9)),
            update(line("a", 1, 9), line("b", 1, 9)),
            update(line("b", 1, 9), line("b", 2, 9)),
            delete,
        ],
    )]
}

fn of_rows() -> Vec<Value> {
    let plain = RowOptions::default();
    let edges = rows_of_edges().into_iter().map(OwnedRow::insert).collect();
    let types = vec![(transaction(gtid(5), 7, 400, 0), edges)];
    let mut cases = vec![changes(
        "every-type",
        "a column of every type; each row has another edge of each, the last one NULLs",
        &table(),
        &types,
        plain,
        None,
    )];
    for (name, before_image) in
        [("full", BeforeImage::Full), ("changed", BeforeImage::Changed), ("key", BeforeImage::Key)]
    {
        let options = RowOptions { before_image, ..plain };
        let about = "insert, two updates and a delete: what the images before carry";
        let name = format!("before-image-{name}");
        cases.push(changes(&name, about, &lines(), &operations(), options, None));
    }
    let sparse = vec![(
        transaction(gtid(5), 7, 400, 0),
        vec![update(
            vec![absent(), int(1), Owned::Plain(Slot::UInt(9))],
            vec![null(), absent(), absent()],
        )],
    )];
    let about = "columns that the source's log does not have: absent is not NULL";
    cases.push(changes("absent-is-not-null", about, &lines(), &sparse, plain, None));
    let large = vec![(
        transaction(gtid(5), 7, 400, 0),
        vec![
            OwnedRow::insert(line(&"x".repeat(5_000), 1, 9)),
            OwnedRow::insert(line("short", 2, 9)),
        ],
    )];
    let options = RowOptions { cell_bytes_max: 1_000, ..plain };
    cases.push(changes("omitted", "a value too large to travel", &lines(), &large, options, None));
    cases.push(changes(
        "transactions",
        "GTIDs of all kinds, and none; two files",
        &lines(),
        &ids(),
        plain,
        None,
    ));
    let about = "published again for somebody: the attribute `replay`";
    cases.push(changes("replay", about, &lines(), &operations(), plain, Some("billing team")));
    let many =
        (0..100).map(|number| OwnedRow::insert(line("the same text in each row", number, 9)));
    let many = vec![(transaction(gtid(5), 7, 400, 0), many.collect())];
    cases.push(changes("many-rows", "100 rows", &lines(), &many, plain, None));
    cases
}

fn ids() -> Input {
    let tag = Tag::new(b"red_1").expect("a tag");
    let tagged =
        TransactionId::Gtid(Gtid { source: Uuid([0xab; 16]), tag, sequence: u64::MAX / 2 });
    let maria = TransactionId::Maria(MariaGtid { domain: u32::MAX, server: 1, sequence: u64::MAX });
    let row = |number| vec![OwnedRow::insert(line("n", number, 9))];
    vec![
        (transaction(gtid(5), 7, 400, 0), row(1)),
        (transaction(tagged, 7, 800, -1_500_000), row(2)),
        (transaction(maria, 8, 4, 0), row(3)),
        (transaction(TransactionId::Anonymous, 7, 900, 0), row(4)),
    ]
}

fn part_case(
    name: &str,
    about: &str,
    table: &Arc<Table>,
    rows: &[Vec<Owned>],
    has_digest: bool,
) -> Value {
    let key_columns: &[u32] = if table.primary_key.is_empty() { &[2, 1] } else { &[] };
    let mut digest = RowsDigest::default();
    digest.add(&OwnedImage::new(&line("a", 1, 9)).image(), &mut Vec::new());
    let keys = [(8_u64, i64::MAX), (9, 4), (9, -2)];
    let make = |format| {
        let mut batch = Batch::new(format, RowOptions::default(), Arc::clone(table));
        for (row, cells) in rows.iter().enumerate() {
            let change = OwnedRow { op: Op::Read, before: None, after: Some(cells.clone()) };
            batch.push(1, &transaction(gtid(5), 7, 400, 0), &change.change(row as u64).change());
        }
        let writer = KeyWriter::new(format, table, vec![2, 1]);
        let key = |at: usize| {
            let (order, line) = keys[at];
            let cells = OwnedImage::new(&[absent(), int(line), Owned::Plain(Slot::UInt(order))]);
            let mut out = Vec::new();
            writer.put(&mut out, |ordinal| cells.image().cell(ordinal));
            out
        };
        let part = SnapshotPart {
            snapshot: "01JD1QW3G7ZZZZZZZZZZZZZZZZ".into(),
            audience: Some("billing".into()),
            anchor: 41,
            chunk: 3,
            attempt: 2,
            attempt_part: 17,
            is_last: true,
            key_after: (!has_digest).then(|| key(0).into()),
            key_upto: Some(key(1).into()),
            touched: vec![key(2).into()],
            rows_in_chunk: 5,
            rows_superseded: 1,
            digest: has_digest.then_some(digest),
            key_columns: key_columns.into(),
            ..SnapshotPart::default()
        };
        let read_at = transaction(gtid(5), 7, 400, 0);
        batch.take_part(1, &read_at, lane()).into_snapshot_part(23, part)
    };
    let key = |at: usize| {
        let (order, line) = keys[at];
        json!({"order_id": {"unsigned": number(order)}, "line": {"integer": number(line)}})
    };
    let read =
        |cells: &Vec<Owned>| OwnedRow { op: Op::Read, before: None, after: Some(cells.clone()) };
    let shown = rows.iter().map(|cells| row_meaning(table, &read(cells), &RowOptions::default()));
    let mut batch = table_meaning(table);
    let of = proto::Source { snapshot: true, ..origin(None).source() };
    extend(&mut batch, json!({"source": source(&of), "rows": shown.collect::<Vec<_>>()}));
    // The digest of one row: SHA-256 over its cells as the frame has them; sum and xor are the same.
    let digest = has_digest.then(|| {
        let mut cells = Vec::new();
        let values = [
            proto::value::Kind::Text("a".into()),
            proto::value::Kind::Integer(1),
            proto::value::Kind::Unsigned(9),
        ];
        let values = values.map(|kind| proto::Value { kind: Some(kind) }).to_vec();
        cells.extend(proto::Image { values }.encode_to_vec());
        let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&cells);
        let first: Vec<u8> = sha256.iter().take(8).rev().copied().collect();
        json!({"rows": "1", "sum": hex(&first), "xor": hex(&first)})
    });
    let content = json!({
        "kind": "snapshot_part",
        "snapshot": "01JD1QW3G7ZZZZZZZZZZZZZZZZ",
        "part": "23", "key": ["order_id", "line"],
        "anchor": {"lane": &*lane().key, "sequence_next": "41", "epoch": "3"},
        "chunk": "3", "attempt": "2", "attempt_part": "17", "last_part": true,
        "key_after": (!has_digest).then(|| key(0)), "key_upto": key(1), "touched": [key(2)],
        "rows_in_chunk": "5", "rows_superseded": "1", "digest": digest, "batch": batch,
    });
    case(name, about, content, make, None)
}

fn of_snapshots() -> Vec<Value> {
    let rows = [line("a", 1, 9), line("b", 2, 9)];
    let keyless = Arc::new(Table { primary_key: Vec::new(), ..(*lines()).clone() });
    let mut cases = vec![
        part_case("snapshot-part", "rows as they stood in the table", &lines(), &rows, false),
        part_case("snapshot-digest", "no rows: only what they are, in short", &lines(), &[], true),
        part_case(
            "snapshot-part-unique-key",
            "a table without a primary key",
            &keyless,
            &rows,
            false,
        ),
    ];
    for (phase, form, reason) in [
        ("started", proto::SnapshotPhase::Started, ""),
        ("done", proto::SnapshotPhase::Done, ""),
        ("abandoned", proto::SnapshotPhase::Abandoned, "the table was dropped"),
    ] {
        let mark = proto::SnapshotMark {
            snapshot: "01JD1QW3G7ZZZZZZZZZZZZZZZZ".into(),
            database: "shop".into(),
            table: "orders".into(),
            phase: form.into(),
            rows: 3,
            chunks: 1,
            lanes: watermark_form().lanes,
            reason: reason.into(),
            ..proto::SnapshotMark::default()
        };
        let make = |format| {
            control_message::snapshot_mark(format, notice("snapshot"), 1, 2, mark.clone(), None)
        };
        let of = proto::Source { snapshot: true, ..origin(None).source() };
        let content = json!({
            "kind": "snapshot_mark", "source": source(&of), "snapshot": mark.snapshot,
            "database": "shop", "table": "orders", "phase": phase, "rows": "3", "chunks": "1",
            "lanes": watermark(&watermark_form())["lanes"], "reason": reason,
        });
        cases.push(case(&format!("snapshot-{phase}"), "a mark of a snapshot", content, make, None));
    }
    cases
}

fn notice(name: &str) -> Lane {
    Lane { id: LaneId(1), key: Lane::notice_key_of(name).into(), number: 0, count: 1 }
}

fn watermark_form() -> proto::Watermark {
    let mark = |lane: &str, sequence_next| proto::LaneMark {
        lane: lane.into(),
        sequence_next,
        epoch: 3,
        ..proto::LaneMark::default()
    };
    proto::Watermark {
        verdict: "quiet".into(),
        server_uuid: "abababab-abab-abab-abab-abababababab".into(),
        gtid_set: "abababab-abab-abab-abab-abababababab:1-9".into(),
        position: Some(proto::Position { file: "binlog.000007".into(), offset: 5_000_000_000 }),
        lanes: vec![mark("shop.orders#1", 45), mark("shop.orders#0", u64::MAX)],
        lanes_truncated: true,
        certificate: Some(proto::QuietCertificate {
            heartbeat_first: 7,
            heartbeat_last: 8,
            proven_at_us: 1_795_000_000_500_000,
            ..proto::QuietCertificate::default()
        }),
        taken_at_us: 1_795_000_001_000_000,
    }
}

fn of_control() -> Vec<Value> {
    let mut cases = Vec::new();
    let input =
        vec![(transaction(gtid(5), 7, 400, 0), vec![OwnedRow::insert(line("canary", 1, 12))])];
    for (name, path, mark) in [
        ("canary", None, Some(watermark_form())),
        ("canary-with-path", Some("orders"), Some(watermark_form())),
        ("canary-without-watermark", None, None),
    ] {
        let make = |format| {
            batch_of(format, RowOptions::default(), &lines(), &input).into_canary(Canary {
                path: path.map(Into::into),
                number: 12,
                phase: proto::CanaryPhase::Update,
                written_at_us: 1_795_000_000_000_001,
                watermark: mark.clone(),
                nonce: vec![7; 16],
            })
        };
        let content = json!({
            "kind": "canary", "number": "12", "phase": "update", "written_at_us": "1795000000000001",
            "path": path.unwrap_or_default(), "watermark": mark.as_ref().map(watermark),
            "batch": batch_meaning(&lines(), &input, &RowOptions::default()),
        });
        let about = "never a row of the business; tells how far publishing has got";
        cases.push(case(name, about, content, make, None));
    }
    let at = transaction(gtid(6), 7, 700, 0);
    let origin_source = source(&origin(None).source());
    let heartbeat = json!({
        "kind": "heartbeat", "source": origin_source, "number": "77", "written_at_us": "5",
        "gtid": at.id.text(), "committed_at_us": number(at.committed_at_us),
        "watermark": watermark(&watermark_form()),
    });
    let make = |format| {
        let mark = Some(watermark_form());
        control_message::heartbeat(format, notice("heartbeat"), 4, 77, 5, &at, mark)
    };
    cases.push(case("heartbeat", "reserved: this version publishes none", heartbeat, make, None));
    for (name, database, id) in
        [("schema", "shop", gtid(6)), ("schema-without-database", "", TransactionId::Anonymous)]
    {
        let at = Transaction { id, ..at.clone() };
        let schema = json!({
            "kind": "schema", "source": origin_source, "database": database,
            "statement": "ALTER TABLE `o` ADD COLUMN `é` INT", "gtid": id.text().unwrap_or_default(),
            "position": {"file": "binlog.000007", "offset": "700"},
            "committed_at_us": number(at.committed_at_us), "sequence": "6", "lane": "!schema",
        });
        let make = |format| {
            let statement = "ALTER TABLE `o` ADD COLUMN `é` INT";
            control_message::schema_change(format, notice("schema"), 4, 6, database, statement, &at)
        };
        cases.push(case(name, "a statement, for information", schema, make, None));
    }
    cases
}

fn of_later_versions() -> Vec<Value> {
    use proto::frame::Content;
    let origin_form = origin(None).source();
    let suppressed = proto::Suppressed {
        source: Some(origin_form.clone()),
        lane: "shop.orders#1".into(),
        database: "shop".into(),
        table: "orders".into(),
        sequence_first: 45,
        count: 10,
        reason: "a runaway job".into(),
        by: "ada@db-1".into(),
        gtid_first: "abababab-abab-abab-abab-abababababab:5".into(),
        since_us: 1_795_000_000_000_400,
    };
    let held = json!({
        "kind": "suppressed", "source": source(&origin_form), "lane": "shop.orders#1", "database": "shop",
        "table": "orders", "sequence_first": "45", "count": "10", "reason": "a runaway job",
    });
    let lane = Lane { id: LaneId(1), key: "shop.orders#1".into(), number: 1, count: 2 };
    let make = |format| control_message::suppressed(format, lane.clone(), 1, suppressed.clone());
    let end = proto::TransactionEnd {
        source: Some(origin_form.clone()),
        gtid: "abababab-abab-abab-abab-abababababab:5".into(),
        committed_at_us: 1_795_000_000_000_400,
        lanes: vec![proto::LaneRows { lane: "shop.orders#1".into(), sequence_first: 41, rows: 4 }],
        rows: 4,
        sequence: 3,
        lane: "!transaction".into(),
        ..proto::TransactionEnd::default()
    };
    let ended = json!({
        "kind": "transaction", "source": source(&origin_form),
        "gtid": "abababab-abab-abab-abab-abababababab:5", "committed_at_us": "1795000000000400",
        "rows": "4", "lanes": [{"lane": "shop.orders#1", "sequence_first": "41", "rows": "4"}],
    });
    let unknown = |of: &str| json!({"kind": "unknown", "of": of});
    // Field 99, a message; and field 98 behind a content that is known.
    let later = [0x9a, 6, 2, 8, 1];
    let mut with_more = inner(Content::Suppressed(suppressed.clone()));
    with_more.extend([0x92, 6, 2, 8, 1]);
    let document = json!({"kind": "comet", "v": 1, "tail": [1, {"a": null}]}).to_string();
    let about = "a kind of a later version: count it, acknowledge it, go on";
    let messages =
        [json!({"form": "json", "attributes": {"kind": "comet", "v": "1"}, "body": document})];
    vec![
        case("suppressed", "numbers that were held back: no gap", held.clone(), make, None),
        frame_case(
            "transaction",
            "a transaction has ended",
            ended,
            "transaction",
            &inner(Content::TransactionEnd(end)),
        ),
        frame_case("unknown-kind", about, unknown("comet"), "comet", &later),
        json!({"name": "unknown-kind-json", "about": about, "messages": messages, "content": unknown("comet")}),
        frame_case(
            "unknown-field",
            "fields of a later version are passed over",
            held,
            "suppressed",
            &with_more,
        ),
    ]
}

/// All cases.
pub(crate) fn all() -> Vec<Value> {
    [of_rows(), of_snapshots(), of_control(), of_later_versions()].concat()
}
