//! Every character of every character set.

use binpulse::mysql::{Row, Session};

use super::{hex, start, stream};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    every_character_reads_as_the_server_converts_it on [Mysql97, Mariadb1011, Mariadb118];
}

/// What the server prints for a character that Unicode lacks.
const QUESTION_MARK: &[u8] = b"3F";
/// What some of its tables hold instead.
const REPLACEMENT: &str = "EFBFBD";
/// Question marks, and what is the replacement character indeed, where UTF-8 writes them differently.
const THEMSELVES: [&str; 7] = ["003F", "3F00", "0000003F", "8431A437", "FFFD", "FDFF", "0000FFFD"];
const ROWS_PER_INSERT: usize = 1_000;

/// Byte sequences among which are all characters of a character set that is not Unicode's.
fn candidates(charset: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let pairs = (0x81..=0xfe).flat_map(|lead| (0x40..=0xfe).map(move |trail| vec![lead, trail]));
    match charset {
        "gb18030" => {
            found.extend(pairs);
            for lead in 0x81..=0x84 {
                for (second, third) in
                    (0x30..=0x39).flat_map(|b| (0x81..=0xfe).map(move |c| (b, c)))
                {
                    found.extend((0x30..=0x39).map(|fourth| vec![lead, second, third, fourth]));
                }
            }
            // Beyond the Basic Multilingual Plane, which is arithmetic: samples.
            found.extend((0x90..=0xe3).map(|lead| vec![lead, 0x32, 0x85, 0x36]));
        }
        "ujis" | "eucjpms" => {
            found.extend(pairs);
            let third = |second| (0xa1..=0xfe).map(move |third| vec![0x8f, second, third]);
            found.extend((0xa1..=0xfe).flat_map(third));
        }
        "big5" | "cp932" | "sjis" | "euckr" | "gb2312" | "gbk" => found.extend(pairs),
        _ => {}
    }
    found
}

/// Samples of all planes, as a Unicode character set writes them.
fn samples(charset: &str) -> Option<Vec<Vec<u8>>> {
    let mut encode: fn(char) -> Vec<u8> = |point| point.to_string().into_bytes();
    let mut last = 0x10_ffff;
    match charset {
        "utf8mb4" => {}
        "utf8" | "utf8mb3" => last = 0xffff,
        "ucs2" | "utf16" => {
            encode = |point| units(point).into_iter().flat_map(u16::to_be_bytes).collect();
            last = if charset == "ucs2" { 0xffff } else { last };
        }
        "utf16le" => encode = |point| units(point).into_iter().flat_map(u16::to_le_bytes).collect(),
        "utf32" => encode = |point| u32::from(point).to_be_bytes().to_vec(),
        _ => return None,
    }
    let points = (0..=0xffff).step_by(7).chain((0x1_0000..=0x10_ffff).step_by(997));
    Some(points.filter(|point| *point <= last).filter_map(char::from_u32).map(encode).collect())
}

fn units(point: char) -> Vec<u16> {
    point.encode_utf16(&mut [0; 2]).to_vec()
}

/// Puts the candidates into a table of that character set; those that are no characters become NULL, or
/// what the server makes of them.
async fn fill(session: &mut Session, charset: &str) {
    let sequences = samples(charset).unwrap_or_else(|| candidates(charset));
    let mut run = vec![
        "SET sql_log_bin = 0".to_owned(),
        "CREATE TABLE candidates (id INT PRIMARY KEY, b VARBINARY(4))".into(),
    ];
    let numbered: Vec<_> = sequences.iter().enumerate().collect();
    run.extend(numbered.chunks(ROWS_PER_INSERT).map(|chunk| {
        let rows = chunk.iter().map(|(id, bytes)| format!("({id},x'{}')", hex(bytes)));
        format!("INSERT INTO candidates VALUES {}", rows.collect::<Vec<_>>().join(","))
    }));
    run.push("SET sql_log_bin = 1".into());
    run.push(format!(
        "CREATE TABLE t_{charset} (id INT PRIMARY KEY, c VARCHAR(4) CHARACTER SET {charset})"
    ));
    run.push(format!(
        "INSERT IGNORE INTO t_{charset} SELECT id, CONVERT(b USING {charset}) FROM candidates"
    ));
    run.push("SET sql_log_bin = 0".into());
    run.push("DROP TABLE candidates".into());
    run.push("SET sql_log_bin = 1".into());
    for sql in &run {
        session.query(sql).await.unwrap_or_else(|error| panic!("{charset}: {error}"));
    }
}

/// How the stream must show a row of stored bytes and what the server makes of them in UTF-8.
fn expected(row: &Row) -> String {
    let (Some(stored), Some(text)) = (row.text(1), row.text(2)) else { return super::NULL.into() };
    let questions = text.as_bytes().chunks(2).all(|byte| byte == QUESTION_MARK);
    let unknown = !text.is_empty() && questions || text == REPLACEMENT;
    if unknown && stored != text && !THEMSELVES.contains(&stored.as_str()) {
        return format!("malformed {stored}");
    }
    format!("text {text}")
}

/// Makes a table of every character set; their names.
pub(crate) async fn fill_all(session: &mut Session) -> Vec<String> {
    let sql = "SELECT character_set_name FROM information_schema.character_sets \
               WHERE character_set_name <> 'binary' ORDER BY 1";
    let names = session.query(sql).await.expect("a sound query");
    let charsets: Vec<_> = names.iter().filter_map(|row| row.text(0)).collect();
    assert!(charsets.len() >= 39, "{charsets:?}");
    for sql in ["CREATE DATABASE d", "USE d", "SET sql_mode = ''"] {
        session.query(sql).await.expect("a sound statement");
    }
    for charset in &charsets {
        fill(session, charset).await;
    }
    charsets
}

async fn every_character_reads_as_the_server_converts_it(bed: Bed) -> Outcome {
    let name = bed.version();
    let server = start(&bed).await;
    let mut session = server.session().await;
    let charsets = fill_all(&mut session).await;
    let mut selected = Vec::new();
    for charset in &charsets {
        let sql = format!(
            "SELECT id, HEX(c), HEX(CONVERT(c USING utf8mb4)) FROM t_{charset} ORDER BY id"
        );
        selected.push(session.query(&sql).await.expect("a sound query"));
    }
    session.close().await;

    let streamed = stream(&server).await;
    let mut characters = 0;
    for (charset, rows) in charsets.iter().zip(&selected) {
        let table = &streamed[&format!("t_{charset}")];
        assert_eq!(table.len(), rows.len(), "{name}: {charset}");
        for (row, found) in rows.iter().zip(table.values()) {
            assert_eq!(found[1], expected(row), "{name}: {charset} {:?}", row.text(1));
            characters += usize::from(found[1].starts_with("text"));
        }
    }
    assert!(characters > 100_000, "{name}: {characters}");
    Ok(())
}
