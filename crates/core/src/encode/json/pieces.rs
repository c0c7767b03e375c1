//! Values of any length, written in pieces, so that what waits to be written stays small.

use std::io;

use super::cell::{is_utf8, put_base64_digits, put_cell};
use super::string::{put_document, put_escaped};
use crate::change::Cell;

/// Longest piece of a value; base64 takes threes of bytes, and vectors fours.
const PIECE_BYTES: usize = 48 << 10;

/// Takes what was gathered away.
pub(super) type Drain<'d> = dyn FnMut(&mut Vec<u8>) -> io::Result<()> + 'd;

/// How the bytes of a long value are written, between its front and its back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Escaped,
    Document,
    Base64,
    Numbers,
}

/// Appends a cell as [`put_cell`] does; what was gathered is drained between the pieces of a long one.
pub(super) fn put_in_pieces(
    out: &mut Vec<u8>,
    cell: Cell<'_>,
    drain: &mut Drain<'_>,
) -> io::Result<()> {
    let (front, bytes, form, back) = match cell {
        Cell::Text(bytes) if is_utf8(bytes) => ("\"", bytes, Form::Escaped, "\""),
        Cell::Json(bytes) if is_utf8(bytes) => ("", bytes, Form::Document, ""),
        Cell::JsonDiff(bytes) if is_utf8(bytes) => ("{\"$diff\":", bytes, Form::Document, "}"),
        Cell::Vector(bytes) if bytes.len() % 4 == 0 => ("[", bytes, Form::Numbers, "]"),
        Cell::Bytes(bytes) | Cell::Vector(bytes) => ("\"", bytes, Form::Base64, "\""),
        Cell::Text(bytes) | Cell::Json(bytes) | Cell::JsonDiff(bytes) | Cell::Malformed(bytes) => {
            ("{\"$malformed\":\"", bytes, Form::Base64, "\"}")
        }
        Cell::Absent
        | Cell::Null
        | Cell::Int(_)
        | Cell::UInt(_)
        | Cell::Float(_)
        | Cell::Double(_)
        | Cell::Omitted { .. } => ("", &[][..], Form::Document, ""),
    };
    if bytes.len() <= PIECE_BYTES {
        put_cell(out, cell);
        return Ok(());
    }
    out.extend_from_slice(front.as_bytes());
    for (number, piece) in pieces(bytes, form).enumerate() {
        put_piece(out, piece, form, number == 0);
        drain(out)?;
    }
    out.extend_from_slice(back.as_bytes());
    Ok(())
}

fn put_piece(out: &mut Vec<u8>, piece: &[u8], form: Form, is_first: bool) {
    match form {
        Form::Escaped => put_escaped(out, piece),
        Form::Document => put_document(out, piece),
        Form::Base64 => put_base64_digits(out, piece),
        Form::Numbers => {
            let (elements, _) = piece.as_chunks::<4>();
            for (number, element) in elements.iter().enumerate() {
                if number > 0 || !is_first {
                    out.push(b',');
                }
                put_cell(out, Cell::Float(f32::from_le_bytes(*element)));
            }
        }
    }
}

/// The pieces of a long value; of text, no character is cut in two.
fn pieces(mut bytes: &[u8], form: Form) -> impl Iterator<Item = &[u8]> {
    let is_text = matches!(form, Form::Escaped | Form::Document);
    std::iter::from_fn(move || {
        let mut length = bytes.len().min(PIECE_BYTES);
        let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        while is_text && length > 1 && is_inside(length) {
            length -= 1;
        }
        let (piece, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
