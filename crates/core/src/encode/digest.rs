//! Digests of rows, to compare a copy with.

use sha2::{Digest, Sha256};

use super::proto;
use super::protobuf;
use crate::change::{Cell, Image};

/// Rows in short: how many, and the sum and the exclusive or of a hash of each.
///
/// The hash of a row is the first 8 bytes, little-endian, of SHA-256 over the body of its `Image`, as the
/// contract has it, whatever the format of messages. The sum is taken modulo 2^64; an exclusive or alone
/// would not see two equal changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowsDigest {
    /// Rows.
    pub rows: u64,
    sum: u64,
    xor: u64,
}

impl RowsDigest {
    /// Takes a row. `space` is used again for each.
    pub fn add(&mut self, row: &Image<'_>, space: &mut Vec<u8>) {
        self.add_cells(row.cells(), space);
    }

    /// Takes a row by its cells.
    pub fn add_cells<'c>(&mut self, cells: impl Iterator<Item = Cell<'c>>, space: &mut Vec<u8>) {
        space.clear();
        cells.for_each(|cell| protobuf::put_cell(space, cell));
        let digest = Sha256::digest(&space);
        let first =
            digest.iter().take(8).rev().fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(first);
        self.xor ^= first;
    }

    /// As the contract has it.
    pub fn message(self) -> proto::ChunkDigest {
        proto::ChunkDigest { rows: self.rows, sum: self.sum, xor: self.xor }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::encode::testing::{OwnedImage, any_cell, int, text};

    #[test]
    fn the_hash_is_that_of_the_contract() {
        let mut digest = RowsDigest::default();
        digest.add(&OwnedImage::new(&[int(1), text("a")]).image(), &mut Vec::new());
        let value = |kind| proto::Value { kind: Some(kind) };
        let image = proto::Image {
            values: vec![
                value(proto::value::Kind::Integer(1)),
                value(proto::value::Kind::Text("a".to_owned())),
            ],
        };
        let hash = Sha256::digest(image.encode_to_vec());
        let first = u64::from_le_bytes(hash[..8].try_into().expect("8 bytes"));
        assert_eq!(digest, RowsDigest { rows: 1, sum: first, xor: first });
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter_and_a_change_does(
            rows in prop::collection::vec(prop::collection::vec(any_cell(), 2), 1..8),
        ) {
            let digest = |rows: &[Vec<_>]| {
                let (mut digest, mut space) = (RowsDigest::default(), Vec::new());
                for row in rows {
                    digest.add(&OwnedImage::new(row).image(), &mut space);
                }
                digest
            };
            let mut other = rows.clone();
            other.reverse();
            prop_assert_eq!(digest(&rows), digest(&other));
            other[0] = vec![int(-7_777), text("another row")];
            prop_assert_ne!(digest(&rows), digest(&other));
            // Twice the same row: the exclusive or alone would not see it.
            let twice = [rows.clone(), vec![rows[0].clone(), rows[0].clone()]].concat();
            prop_assert_ne!(digest(&rows), digest(&twice));
        }
    }
}
