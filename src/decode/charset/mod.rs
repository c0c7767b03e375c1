//! Character sets: text of a column, decoded by its collation.
//!
//! What a character set means is what the server makes of it (`CONVERT(x USING utf8mb4)`), not what
//! its namesake elsewhere does: the tables come from real servers, and encoding_rs is used only where
//! it agrees, its differences corrected. Bytes that the server cannot decode are malformed here too.

mod asian;
mod collations;
mod multi_byte;
mod single;
mod single_byte;
mod unicode;

#[cfg(test)]
mod tests;

use asian::{Asian, Form};
use single::Single;

/// A character set.
#[derive(Debug)]
pub(crate) struct Charset {
    name: &'static str,
    len_max: u8,
    encoding: Encoding,
}

/// How to decode.
#[derive(Debug)]
enum Encoding {
    Binary,
    Utf8,
    Ascii,
    Single(Single),
    Asian(Asian),
    Ucs2,
    Utf16,
    Utf16Le,
    Utf32,
}

/// What became of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// They are valid UTF-8 as they stand.
    Borrowed,
    /// Their UTF-8 form was appended to the scratch space.
    Scratch,
    /// They are not valid in the character set; the scratch space is as it was.
    Malformed,
}

impl Charset {
    /// MySQL's name, `utf8mb4`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Most bytes that a character takes.
    pub(crate) fn len_max(&self) -> u8 {
        self.len_max
    }

    /// Whether its strings are bytes, not text.
    pub(crate) fn is_binary(&self) -> bool {
        matches!(self.encoding, Encoding::Binary)
    }

    /// Whether its strings are UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        matches!(self.encoding, Encoding::Utf8)
    }

    /// Decodes `bytes`: appends to `scratch` unless they are valid UTF-8 as they stand.
    pub(crate) fn decode(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> Decoded {
        let start = scratch.len();
        let decoded = match &self.encoding {
            Encoding::Binary | Encoding::Utf8 if is_utf8(bytes) => return Decoded::Borrowed,
            Encoding::Ascii | Encoding::Asian(_) if bytes.is_ascii() => return Decoded::Borrowed,
            Encoding::Single(single) if single.is_ascii(bytes) => return Decoded::Borrowed,
            Encoding::Binary | Encoding::Utf8 | Encoding::Ascii => None,
            Encoding::Single(single) => single.decode(bytes, scratch),
            Encoding::Asian(asian) => asian.decode(bytes, scratch),
            Encoding::Ucs2 => unicode::decode_ucs2(bytes, scratch),
            Encoding::Utf16 => unicode::decode_utf16(bytes, u16::from_be_bytes, scratch),
            Encoding::Utf16Le => unicode::decode_utf16(bytes, u16::from_le_bytes, scratch),
            Encoding::Utf32 => unicode::decode_utf32(bytes, scratch),
        };
        if decoded.is_some() {
            return Decoded::Scratch;
        }
        scratch.truncate(start);
        Decoded::Malformed
    }

    /// `bytes` with a mark in place of each character that is not ASCII: what is left of text that holds
    /// bytes for which there is no character.
    pub(crate) fn ascii_of(&self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let len =
                if let Encoding::Asian(asian) = &self.encoding { asian.len(rest) } else { None };
            let len = len.unwrap_or(1);
            let is_ascii = len == 1 && first.is_ascii();
            text.push(if is_ascii { char::from(*first) } else { char::REPLACEMENT_CHARACTER });
            rest = rest.get(len..).unwrap_or_default();
        }
        text
    }
}

/// The character set of a collation id; `None` for ids that this version does not know.
pub(crate) fn by_collation(id: u16) -> Option<&'static Charset> {
    let table = &collations::COLLATIONS;
    let after = table.partition_point(|(first, _, _)| *first <= id);
    let (_, last, name) = table.get(after.checked_sub(1)?)?;
    if id <= *last { by_name(name) } else { None }
}

/// The character set of a name, `latin1`.
pub(crate) fn by_name(name: &str) -> Option<&'static Charset> {
    CHARSETS.iter().find(|charset| charset.name == name)
}

/// Whether `bytes` are valid UTF-8.
#[inline]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    // Most text is ASCII, and to see that takes a third of the time.
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

/// Whether `bytes` are ASCII. Short ones are looked at in words of eight, the last of which overlaps,
/// and all of them before anything is decided; the library's way ends byte by byte.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    match bytes.last_chunk::<8>() {
        Some(last) if bytes.len() <= SHORT_BYTES_MAX => {
            let (words, _) = bytes.as_chunks::<8>();
            let last = u64::from_ne_bytes(*last);
            let all = words.iter().fold(last, |all, word| all | u64::from_ne_bytes(*word));
            all & HIGH_BITS == 0
        }
        _ => bytes.is_ascii(),
    }
}

/// Text of which to look at all is cheaper than to stop at the first byte that is not ASCII.
const SHORT_BYTES_MAX: usize = 256;

/// Appends `point` in UTF-8.
#[inline]
fn push(scratch: &mut Vec<u8>, point: char) {
    scratch.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
}

const fn charset(name: &'static str, len_max: u8, encoding: Encoding) -> Charset {
    Charset { name, len_max, encoding }
}

const fn single(name: &'static str, upper: &'static single_byte::Upper) -> Charset {
    charset(name, 1, Encoding::Single(Single { upper, lower: &[] }))
}

const fn asian(name: &'static str, len_max: u8, asian: Asian) -> Charset {
    charset(name, len_max, Encoding::Asian(asian))
}

/// All character sets of MySQL 5.6 to 9.7 and MariaDB, the common ones first.
static CHARSETS: [Charset; 41] = [
    charset("utf8mb4", 4, Encoding::Utf8),
    charset("utf8mb3", 3, Encoding::Utf8),
    charset("binary", 1, Encoding::Binary),
    charset("ascii", 1, Encoding::Ascii),
    single("latin1", &single_byte::LATIN1),
    charset("ucs2", 2, Encoding::Ucs2),
    charset("utf16", 4, Encoding::Utf16),
    charset("utf16le", 4, Encoding::Utf16Le),
    charset("utf32", 4, Encoding::Utf32),
    asian("big5", 2, Asian::new(Form::Big5, encoding_rs::BIG5, &multi_byte::BIG5)),
    asian("cp932", 2, Asian::new(Form::ShiftJis, encoding_rs::SHIFT_JIS, &multi_byte::CP932)),
    asian("sjis", 2, Asian::new(Form::ShiftJis, encoding_rs::SHIFT_JIS, &multi_byte::SJIS)),
    asian("euckr", 2, Asian::new(Form::EucKr, encoding_rs::EUC_KR, &multi_byte::EUCKR)),
    asian("gb2312", 2, Asian::new(Form::Gb2312, encoding_rs::GBK, &multi_byte::GB2312)),
    asian("gbk", 2, Asian::new(Form::Gbk, encoding_rs::GBK, &multi_byte::GBK)),
    asian("gb18030", 4, Asian::new(Form::Gb18030, encoding_rs::GB18030, &multi_byte::GB18030)),
    asian("ujis", 3, Asian::new(Form::EucJp, encoding_rs::EUC_JP, &multi_byte::UJIS)),
    asian("eucjpms", 3, Asian::new(Form::EucJp, encoding_rs::EUC_JP, &multi_byte::EUCJPMS)),
    charset(
        "swe7",
        1,
        Encoding::Single(Single { upper: &single_byte::SWE7, lower: &single_byte::SWE7_LOWER }),
    ),
    single("armscii8", &single_byte::ARMSCII8),
    single("cp1250", &single_byte::CP1250),
    single("cp1251", &single_byte::CP1251),
    single("cp1256", &single_byte::CP1256),
    single("cp1257", &single_byte::CP1257),
    single("cp850", &single_byte::CP850),
    single("cp852", &single_byte::CP852),
    single("cp866", &single_byte::CP866),
    single("dec8", &single_byte::DEC8),
    single("geostd8", &single_byte::GEOSTD8),
    single("greek", &single_byte::GREEK),
    single("hebrew", &single_byte::HEBREW),
    single("hp8", &single_byte::HP8),
    single("keybcs2", &single_byte::KEYBCS2),
    single("koi8r", &single_byte::KOI8R),
    single("koi8u", &single_byte::KOI8U),
    single("latin2", &single_byte::LATIN2),
    single("latin5", &single_byte::LATIN5),
    single("latin7", &single_byte::LATIN7),
    single("macce", &single_byte::MACCE),
    single("macroman", &single_byte::MACROMAN),
    single("tis620", &single_byte::TIS620),
];
