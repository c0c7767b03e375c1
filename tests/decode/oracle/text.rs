//! Text as it is stored, and as `mysqlbinlog` quotes it.

use encoding_rs::Encoding;

use super::pseudo::Column;

/// The column's character set as they print it; `None` when none is told, or it is binary.
pub(super) fn charset(column: &Column) -> Option<String> {
    let definition = String::from_utf8_lossy(&column.definition).into_owned();
    let (_, behind) = definition.rsplit_once(" CHARSET ")?;
    behind.split(' ').next().map(str::to_owned)
}

/// The stored bytes of a text in a character set.
pub(super) fn stored(charset: &str, text: &str) -> Vec<u8> {
    let units = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
    match charset {
        "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => text.as_bytes().to_vec(),
        "utf16" | "ucs2" => units(u16::to_be_bytes),
        "utf16le" => units(u16::to_le_bytes),
        "utf32" => text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
        other => {
            let label = match other {
                "latin1" => "windows-1252",
                "sjis" | "cp932" => "shift_jis",
                "ujis" => "euc-jp",
                "euckr" => "euc-kr",
                "cp1251" => "windows-1251",
                "koi8r" => "koi8-r",
                "greek" => "iso-8859-7",
                "hebrew" => "iso-8859-8",
                "cp866" => "ibm866",
                same @ ("gbk" | "big5") => same,
                unknown => panic!("how to write {unknown}?"),
            };
            let encoding = Encoding::for_label(label.as_bytes()).expect("a known encoding");
            let (bytes, _, unmappable) = encoding.encode(text);
            assert!(!unmappable, "{text} is not in {other}");
            bytes.into_owned()
        }
    }
}

/// Bytes in quotes, as the tool of a server's family writes them.
///
/// MySQL's escapes what C does, and other control characters as `\xHH`. MariaDB's writes all control
/// characters as `\xHH`, and quotes and backslashes as they are, so that its text can't be read
/// back; hence ours is written, and theirs is never read.
pub(super) fn quoted(server: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![b'\''];
    for byte in bytes {
        let escape = match byte {
            0x20.. if server.starts_with("mariadb") => None,
            b'\\' => Some('\\'),
            b'\'' => Some('\''),
            0x20.. => None,
            _ if server.starts_with("mariadb") => Some('x'),
            b'\n' => Some('n'),
            b'\r' => Some('r'),
            b'\t' => Some('t'),
            0x08 => Some('b'),
            0x0c => Some('f'),
            _ => Some('x'),
        };
        match escape {
            None => text.push(*byte),
            Some('x') => text.extend(format!("\\x{byte:02x}").into_bytes()),
            Some(letter) => text.extend(format!("\\{letter}").into_bytes()),
        }
    }
    text.push(b'\'');
    text
}
