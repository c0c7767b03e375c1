//! Inputs to begin with: out of the captured logs, and examples of what no log has.

use super::log::{self, kind};
use super::payloads;

macro_rules! logs {
    ($($path:literal)*) => {
        &[$(include_bytes!(concat!("../../tests/fixtures/", $path))),*]
    };
}

/// Logs that have what the others have not.
const LOGS: &[&[u8]] = logs!(
    "all_types/mysql-9.7/binlog.000001"
    "all_types/mysql-5.6/binlog.000001"
    "all_types/mariadb-10.11/binlog.000001"
    "compressed_events/mariadb-10.11/binlog.000001"
    "minimal/mysql-9.7/binlog.000001"
    "partial_json/mysql-9.7/binlog.000001"
    "payload/mysql-9.7/binlog.000001"
    "rows/mysql-9.7/binlog.000001"
    "rows/mariadb-10.11/binlog.000001"
    "table_map_new_types/mysql-9.7/binlog.000001"
    "tagged_gtid/mysql-9.7/binlog.000001"
    "xa/mysql-9.7/binlog.000001"
    "xa/mariadb-10.11/binlog.000001"
);

/// Longest input made of a log: fuzzers do best with short ones.
const INPUT_BYTES_MAX: usize = 16 << 10;

pub(crate) fn events() -> Vec<Vec<u8>> {
    let whole = LOGS.iter().map(|log| log.to_vec());
    whole.filter(|log| log.len() <= INPUT_BYTES_MAX).chain(beginnings()).collect()
}

pub(crate) fn log_file() -> Vec<Vec<u8>> {
    events()
}

/// The first events of those logs that are long.
fn beginnings() -> impl Iterator<Item = Vec<u8>> {
    LOGS.iter().filter(|log| log.len() > INPUT_BYTES_MAX).map(|log| {
        let mut end = 4;
        for event in log::split(log) {
            if end + event.len() > INPUT_BYTES_MAX {
                break;
            }
            end += event.len();
        }
        log[..end].to_vec()
    })
}

/// Bodies of the logs' events of these types.
fn bodies(kinds: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let events = LOGS.iter().flat_map(|file| log::split(file));
    let wanted = events.filter(|event| kinds.contains(&log::kind_of(event)));
    let all = wanted.map(|event| (log::kind_of(event), log::body(event).to_vec()));
    let mut bodies: Vec<_> = all.filter(|(_, body)| body.len() <= INPUT_BYTES_MAX).collect();
    bodies.sort();
    bodies.dedup();
    bodies
}

/// Each table map with the rows behind it.
fn pairs() -> Vec<(bool, Vec<u8>, u8, Vec<u8>)> {
    let mut pairs = Vec::new();
    for file in LOGS {
        let mut map = Vec::new();
        let is_maria = file.windows(7).take(200).any(|word| word == b"MariaDB");
        for event in log::split(file) {
            let behind_id = log::body(event).get(6..).unwrap_or_default();
            match log::kind_of(event) {
                kind::TABLE_MAP => map = behind_id.to_vec(),
                rows @ (kind::WRITE_ROWS
                | kind::UPDATE_ROWS
                | kind::DELETE_ROWS
                | kind::PARTIAL_UPDATE_ROWS) => {
                    pairs.push((is_maria, map.clone(), rows, behind_id.to_vec()));
                }
                _ => {}
            }
        }
    }
    pairs.sort();
    pairs.dedup_by(|one, other| one.1 == other.1 && one.2 == other.2);
    pairs
}

fn choice_of(rows: u8, is_maria: bool) -> u8 {
    let kinds = [kind::WRITE_ROWS, kind::UPDATE_ROWS, kind::DELETE_ROWS, kind::PARTIAL_UPDATE_ROWS];
    let choice = kinds.iter().position(|kind| *kind == rows).unwrap_or_default();
    u8::try_from(choice).unwrap_or_default() | if is_maria { 0x80 } else { 0 }
}

pub(crate) fn table_map() -> Vec<Vec<u8>> {
    let inputs = pairs().into_iter().filter_map(|(is_maria, map, rows, body)| {
        let length = u16::try_from(map.len()).ok()?.to_le_bytes();
        let front = [length[0], length[1], choice_of(rows, is_maria)];
        Some([&front[..], &map, &body].concat())
    });
    inputs.filter(|input| input.len() <= INPUT_BYTES_MAX).collect()
}

pub(crate) fn row_image() -> Vec<Vec<u8>> {
    let mut inputs = vec![[255, 0, 0, 1, 0].to_vec()];
    for column in 0..41 {
        for (collation, image) in [
            (0, &[0_u8, 1, 0, 0, 0, 0, 0, 0, 0][..]),
            (1, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (3, &[0, 3, 0, 0, 0, 0x83, 0x5c, b'a', 1]),
            (6, &[0, 4, 0, 0, 0, 0xd8, 0x3d, 0xde, 0x00]),
        ] {
            inputs.push([&[column, 255, 255, collation, 0][..], image].concat());
        }
        inputs.push(vec![column, 255, 255, 1, 1, 1, 1, 0, 1, 1, 1]);
    }
    inputs
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    let mut inputs = vec![
        vec![4, 0],
        vec![5, 7, 0],
        vec![0xb, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        vec![0xc, 3, b'a', b'"', b'\n'],
        // {"a": 1}
        vec![0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a'],
        // [1, [true]]
        vec![2, 2, 0, 17, 0, 5, 1, 0, 2, 10, 0, 1, 0, 7, 0, 4, 1, 0],
        // The same, large.
        vec![3, 1, 0, 0, 0, 13, 0, 0, 0, 7, 1, 0, 0, 0],
        // A DECIMAL and a DATETIME.
        vec![0xf, 0xf6, 4, 3, 2, 0x80, 0x01],
        vec![0xf, 12, 8, 0, 0, 0, 0, 0, 0x12, 0x34, 0x19],
    ];
    // Documents of the logs: they stand behind four bytes of length.
    for (_, _, _, rows) in pairs() {
        for at in 0..rows.len().saturating_sub(5) {
            let length = rows.get(at..at + 4).and_then(<[u8]>::first_chunk);
            let length = length.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
            let kind_of = rows[at + 4];
            if (3..2_000).contains(&length)
                && kind_of <= 15
                && let Some(document) = rows.get(at + 4..at + 4 + length)
            {
                inputs.push(document.to_vec());
            }
        }
    }
    inputs.truncate(300);
    inputs
}

pub(crate) fn json_diff() -> Vec<Vec<u8>> {
    let object = [0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a'];
    let array = [2, 2, 0, 10, 0, 5, 1, 0, 5, 2, 0];
    let value = [5, 9, 0];
    let mut inputs = Vec::new();
    for document in [&object[..], &array] {
        for path in ["$.a", "$.b", "$[0]", "$[last]", "$", "$.\"a\"", "$[1].a"] {
            for operation in 0..3 {
                let mut diff = vec![operation, u8::try_from(path.len()).expect("short")];
                diff.extend_from_slice(path.as_bytes());
                if operation < 2 {
                    diff.push(3);
                    diff.extend_from_slice(&value);
                }
                let length = u16::try_from(document.len()).expect("short").to_le_bytes();
                inputs.push([&length, document, &diff].concat());
            }
        }
    }
    inputs
}

pub(crate) fn payload() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (_, body) in bodies(&[kind::TRANSACTION_PAYLOAD]) {
        inputs.push([&[0], &body[..]].concat());
    }
    // Whole transactions, to be put into payloads of either kind.
    for file in LOGS.iter().take(9) {
        let mut transaction = Vec::new();
        for event in log::split(file) {
            match log::kind_of(event) {
                kind::QUERY if log::body(event).ends_with(b"BEGIN") => transaction.clear(),
                kind::GTID => continue,
                _ => {}
            }
            transaction.extend(log::inner_event(log::kind_of(event), log::body(event)));
            if log::kind_of(event) == kind::XID && transaction.len() < 4_000 {
                inputs.push([&[2], &transaction[..]].concat());
                inputs.push([&[3], &transaction[..]].concat());
                let size = transaction.len().to_le_bytes();
                if let Ok(zipped) = zstd::encode_all(&transaction[..], 1) {
                    inputs.push([&[1, size[0], size[1], size[2]], &zipped[..]].concat());
                }
            }
        }
    }
    inputs.push([&[0], &payloads::body(b"", 255, 0)[..]].concat());
    inputs.truncate(120);
    inputs
}

pub(crate) fn gtid() -> Vec<Vec<u8>> {
    const A: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let texts = [
        format!("{A}:1-9:tag:1-2,{B}:5|{A}:3-4:tag:2"),
        format!("\n{A} : 1 - 3 : 4,,|{B}:1-9223372036854775806"),
        "0-1-100,1-2-50|0-2-101".to_owned(),
    ];
    let mut inputs: Vec<_> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    let sets = [format!("{A}:1-9:tag:1-2:8"), format!("{A}:1-9,{B}:5"), String::new()];
    for text in sets {
        let set: binpulse::change::GtidSet = text.parse().expect("a set");
        inputs.push(set.encode());
    }
    inputs
}

pub(crate) fn gtid_event() -> Vec<Vec<u8>> {
    let mysql = [33, 34, 42, 35, 38, 2];
    let maria = [162, 163, 33, 160, 161, 2];
    let mut inputs = Vec::new();
    for (kinds, choice) in [(mysql, 0_u8), (maria, 0x80)] {
        for (kind, body) in bodies(&kinds) {
            let at = kinds.iter().position(|known| *known == kind).unwrap_or_default();
            let at = u8::try_from(at).unwrap_or_default();
            inputs.push([&[at | choice], &body[..]].concat());
        }
    }
    inputs.truncate(300);
    inputs
}

pub(crate) fn checkpoint() -> Vec<Vec<u8>> {
    const BASE: &str = r#"{"binpulse_checkpoint":1,"stream":"main","epoch":1,"owner":2,"version":"0.1.0","server_uuid":"00bbe985-e52d-11f1-91a9-02fc00000001","gtids":"00bbe985-e52d-11f1-91a9-02fc00000001:1-9:tag:1","settled":{"file":"binlog.000001","offset":1234},"resume":{"file":"binlog.000001","offset":4,"maria":"0-1-2"},"lanes":{"shop.orders#0":17},"at_us":1700000000000000}"#;
    const DELTA: &str = r#"{"settled":{"file":"binlog.000002","offset":4},"gtids":"00bbe985-e52d-11f1-91a9-02fc00000001:10","lanes":{"shop.orders#0":18},"at_us":1700000000000001}"#;
    vec![
        BASE.as_bytes().to_vec(),
        format!("{BASE}\n{DELTA}").into_bytes(),
        format!("{BASE}\n{DELTA}\n{DELTA}").into_bytes(),
        format!("#00000000 {BASE}\n").into_bytes(),
        b"#".to_vec(),
        Vec::new(),
    ]
}

pub(crate) fn quarantine() -> Vec<Vec<u8>> {
    const MESSAGE: &str = r#"{"quarantined_at_us":1,"error":"e","kind":"change","lane":"shop.t#0","destination":"arn:aws:sns:eu-west-1:000000000000:t.fifo","group_id":"g","deduplication_id":"d","attributes":[["kind","String","change"]],"rows":1,"sequence_first":1,"uncompressed_bytes":3,"committed_at_us":1,"omitted_cells":0,"body":"AAAA"}"#;
    const EVENT: &str = r#"{"quarantined_at_us":1,"error":"e","gtid":null,"transaction":"binlog.000001:4","position":"binlog.000001:9","database":"shop","table":"t","committed_at_us":1,"event":"AAAA"}"#;
    vec![
        MESSAGE.as_bytes().to_vec(),
        EVENT.as_bytes().to_vec(),
        format!("{MESSAGE}\n{EVENT}").into_bytes(),
        format!("#00000000 {MESSAGE}\n").into_bytes(),
    ]
}

pub(crate) fn config() -> Vec<Vec<u8>> {
    let texts = [
        "[source]\nhosts = [\"a:1\", \"[::1]:3306\"]\nstart = \"gtid:00bbe985-e52d-11f1-91a9-02fc00000001:1-9\"\n[sink]\nkind = \"null\"\n",
        "[source]\nstart = \"position:binlog.000001:4\"\n[sns]\ntopic = \"arn:aws:sns:eu-west-1:000000000000:{database}-{table}.fifo\"\n[canary]\nenabled = false\n",
        "[source]\nstart = \"time:2026-11-20T20:12:00Z\"\npassword_file = \"/secret\"\n[filter]\ntables = [\"shop.*\", \"a?.b\"]\nhash_columns = [\"a.b.c\"]\n[message]\nlanes = 7\ntarget_bytes = \"32KiB\"\n",
        "[heartbeat]\ninterval = \"1s\"\n===\nBINPULSE_SINK_KIND=stdout\nBINPULSE_SOURCE_PASSWORD_FILE=/secret\nBINPULSE_FILTER_TABLES=a.b,c.d\n===\nsource.hosts=h:1\nmessage.linger_max=1.5s\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn frame() -> Vec<Vec<u8>> {
    // Field 8 of an inner frame: a canary with number 5; field 9: a statement without anything.
    let contents = [&[0x42_u8, 2, 0x10, 5][..], &[0x4a, 0]];
    let mut inputs = vec![b"{\"kind\":\"canary\"}".to_vec(), b"CAEoAA==".to_vec(), vec![8, 1]];
    for content in contents {
        let zipped = zstd::bulk::compress(content, 1).expect("zstd compresses anything");
        for (codec, payload) in [(CODEC_NONE, content), (CODEC_ZSTD, &zipped)] {
            let short = |length: usize| u8::try_from(length).expect("short");
            let mut frame = vec![8, 1, 16, codec, 24, short(content.len()), 0x25];
            frame.extend(crc32c::crc32c(content).to_le_bytes());
            frame.extend([0x2a, short(payload.len())]);
            frame.extend_from_slice(payload);
            inputs.push(frame);
        }
    }
    inputs
}

/// Bodies of the conformance suite, and pointers with the objects that they point to.
pub(crate) fn message() -> Vec<Vec<u8>> {
    const MESSAGES: &str = include_str!("../../conformance/messages.json");
    const ENVELOPES: &str = include_str!("../../conformance/envelopes.json");
    let cases =
        |text| -> Vec<serde_json::Value> { serde_json::from_str(text).expect("the suite is JSON") };
    let mut inputs = Vec::new();
    for case in cases(MESSAGES) {
        let messages = case["messages"].as_array().into_iter().flatten();
        inputs.extend(messages.filter_map(|message| message["body"].as_str().map(str::to_owned)));
    }
    for case in cases(ENVELOPES) {
        let object = case["objects"].as_object().and_then(|objects| objects.values().next());
        let object = object.and_then(serde_json::Value::as_str).unwrap_or_default();
        inputs.extend(case["body"].as_str().map(|body| format!("{body}\n{object}")));
    }
    inputs.retain(|input| input.len() <= INPUT_BYTES_MAX);
    inputs.into_iter().map(String::into_bytes).collect()
}

/// Numbers of `binpulse.v1.Codec`.
const CODEC_NONE: u8 = 1;
const CODEC_ZSTD: u8 = 2;

pub(crate) fn sns_answer() -> Vec<Vec<u8>> {
    let bodies = [
        "<PublishBatchResponse><PublishBatchResult><Successful><member><Id>0</Id><MessageId>m</MessageId></member></Successful><Failed><member><Id>1</Id><Code>InternalError</Code><Message>m</Message><SenderFault>false</SenderFault></member></Failed></PublishBatchResult></PublishBatchResponse>",
        "<PublishBatchResponse><PublishBatchResult><Failed><member><Id>0</Id><Code>InvalidParameter</Code><SenderFault>true</SenderFault></member></Failed></PublishBatchResult></PublishBatchResponse>",
        "<ErrorResponse><Error><Type>Sender</Type><Code>Throttled</Code><Message>m</Message></Error></ErrorResponse>",
        "<ErrorResponse><Error><Code>BatchRequestTooLong</Code></Error></ErrorResponse>",
        "<ErrorResponse><Error><Code>KMSThrottling</Code></Error></ErrorResponse>",
        "<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>",
        "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>MaximumMessageSize</key><value>1048576</value></entry><entry><key>FifoTopic</key><value>true</value></entry></Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>",
        "",
        "not XML",
    ];
    let mut inputs = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        for (choice, status) in [(0, 0), (2, 3), (1, 0), (3, 7)] {
            let status = if number == 0 { 0 } else { status };
            inputs.push([&[choice, status], body.as_bytes()].concat());
        }
    }
    inputs
}

pub(crate) fn sqs_answer() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"Messages":[{"MessageId":"m","ReceiptHandle":"r","MD5OfBody":"x","Body":"CAE="},{"Body":"{}"}]}"#,
        "{}",
        r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}"#,
        "",
    ];
    let all = bodies.iter().flat_map(|body| [0, 3, 7].map(|s| [&[s], body.as_bytes()].concat()));
    all.collect()
}

pub(crate) fn statement() -> Vec<Vec<u8>> {
    let texts = [
        "INSERT INTO a.t (x, y) VALUES (1, 'it''s')",
        "REPLACE `a`.`t``x` SET x = CONCAT('a', 1)",
        "UPDATE a.t AS o JOIN (b.u, c.v) ON o.x = LEFT(u.y, 3) SET o.x = 1",
        "DELETE o FROM a.t o JOIN b.u USING (x)",
        "WITH c (x) AS (SELECT 1) DELETE FROM a.t WHERE x IN (SELECT x FROM c)",
        "LOAD DATA INFILE '/tmp/x' INTO TABLE a.t FIELDS TERMINATED BY ',' (x, @y) SET z = @y",
        "CREATE TABLE a.t SELECT * FROM b.u",
        "CREATE PROCEDURE p() BEGIN PREPARE s FROM 'ALTER USER u IDENTIFIED BY ''x'''; END",
        "/*!50003 CREATE*/ /*!50003 TRIGGER a.g BEFORE INSERT ON a.t FOR EACH ROW SET @a = 1 */",
        "SET STATEMENT max_statement_time = 1 FOR DELETE FROM a.t",
    ];
    texts.iter().map(|text| [&[0], text.as_bytes()].concat()).collect()
}
