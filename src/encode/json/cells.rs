//! The members of a written object that can be left out.

use super::Keys;
use crate::encode::shrink::Candidate;

/// Members of an object that [`put_object`](super::put_object) wrote, with their columns' ordinals.
pub(crate) fn cells(keys: &Keys, object: &[u8]) -> Vec<(usize, Candidate)> {
    let mut found = Vec::new();
    // Past the brace or the comma.
    let mut at = 1;
    for (ordinal, key) in keys.0.iter().enumerate() {
        let Some(rest) = object.get(at..) else {
            break;
        };
        let Some(value) = rest.strip_prefix(&**key) else {
            continue;
        };
        let start = at + key.len();
        let end = start + value_bytes(value);
        found.push((ordinal, Candidate { element: start..end, value: start..end }));
        at = end + 1;
    }
    found
}

/// Length of the JSON value at the front of `json`: up to the comma or brace that ends its member.
fn value_bytes(json: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    json.len()
}
