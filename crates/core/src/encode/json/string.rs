//! JSON strings.

/// Whether a byte of UTF-8 text may need an escape. 0xEF begins U+FFFE and U+FFFF, which SNS refuses
/// because XML 1.0 does, among many that need none.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[0xef] = true;
    special
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text`, valid UTF-8, as a JSON string.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    put_escaped(out, text);
    out.push(b'"');
}

/// Appends `text`, valid UTF-8, for a JSON string that it is a part of.
pub(crate) fn put_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        text = put_special(out, rest);
    }
    out.extend_from_slice(text);
}

/// Writes the special character at the front of `text`; returns what follows it.
fn put_special<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    let (byte, rest) = text.split_first().unwrap_or((&0, &[]));
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0xef => return put_noncharacter(out, text),
        control => {
            let digits = [HEX[usize::from(control >> 4)], HEX[usize::from(control & 0xf)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
    rest
}

/// Appends a JSON text, valid UTF-8, as it is: but for two characters that may stand only in its
/// strings, and that SNS does not accept.
pub(crate) fn put_document(out: &mut Vec<u8>, mut json: &[u8]) {
    while let Some(at) = json.iter().position(|byte| *byte == 0xef) {
        let (plain, rest) = json.split_at(at);
        out.extend_from_slice(plain);
        json = put_noncharacter(out, rest);
    }
    out.extend_from_slice(json);
}

/// Writes the character that begins with 0xEF at the front of `text`; returns what follows it.
fn put_noncharacter<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    match text {
        [0xef, 0xbf, 0xbe, rest @ ..] => {
            out.extend_from_slice(b"\\ufffe");
            rest
        }
        [0xef, 0xbf, 0xbf, rest @ ..] => {
            out.extend_from_slice(b"\\uffff");
            rest
        }
        [byte, rest @ ..] => {
            out.push(*byte);
            rest
        }
        [] => text,
    }
}
