//! The keys of a snapshot part.

use super::wire::put_field;
use crate::encode::encoded_batch::SnapshotPart;

/// Fields of `SnapshotPart`.
const KEY_AFTER: u32 = 8;
const KEY_UPTO: u32 = 9;
const TOUCHED: u32 = 10;

/// Appends the part's range and the keys that the stream changed.
pub(crate) fn put_images(out: &mut Vec<u8>, part: &SnapshotPart) {
    for (field, image) in [(KEY_AFTER, &part.key_after), (KEY_UPTO, &part.key_upto)] {
        if let Some(image) = image {
            put_field(out, field, image);
        }
    }
    for image in &part.touched {
        put_field(out, TOUCHED, image);
    }
}
