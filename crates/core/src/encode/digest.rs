//! Digests of rows: of a table's, to compare a copy with; of a lane's, to compare two processes.

use sha2::{Digest, Sha256};

use super::proto;
use super::protobuf;
use super::rows::{Entry, Rows};
use crate::change::{Cell, Image, Table};

/// One row of a lane in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowDigest {
    /// Number of the row in its lane.
    pub sequence: u64,
    /// First 8 bytes, little-endian, of SHA-256 over the number, the number within the transaction, the
    /// operation, the transaction (GTID and time of its commit), the schema's fingerprint, and the
    /// images as they are encoded.
    pub digest: u64,
    /// When the row's transaction was committed, microseconds since 1970 UTC.
    pub committed_at_us: i64,
}

/// A digest of each row of a batch whose first number in the lane is `first`.
pub(super) fn row_digests<'a>(
    table: &'a Table,
    rows: &'a Rows,
    first: u64,
) -> impl Iterator<Item = RowDigest> + use<'a> {
    let transactions: Vec<_> = rows.transactions.iter().map(transaction_hash).collect();
    rows.iter().zip(first..).map(move |((mark, before, after), sequence)| {
        let transaction = mark.transaction as usize;
        let mut hash = Sha256::new();
        hash.update(sequence.to_le_bytes());
        hash.update(mark.row.to_le_bytes());
        hash.update([mark.op as u8]);
        hash.update(transactions.get(transaction).copied().unwrap_or_default());
        hash.update(table.fingerprint.to_le_bytes());
        for image in [before, after] {
            // No image and an empty one are told apart, and so is where the second begins.
            let length = image.map_or(u64::MAX, |image| image.len() as u64);
            hash.update(length.to_le_bytes());
            hash.update(image.unwrap_or_default());
        }
        let entry = rows.transactions.get(transaction);
        let committed_at_us = entry.map_or(0, |entry| entry.committed_at_us);
        RowDigest { sequence, digest: first_8(hash), committed_at_us }
    })
}

fn transaction_hash(entry: &Entry) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(entry.committed_at_us.to_le_bytes());
    hash.update(entry.id.text().unwrap_or_default());
    first_8(hash).to_le_bytes()
}

/// A digest of digests that follow each other.
pub fn combined(digests: impl IntoIterator<Item = u64>) -> u64 {
    let mut hash = Sha256::new();
    for digest in digests {
        hash.update(digest.to_le_bytes());
    }
    first_8(hash)
}

fn first_8(hash: Sha256) -> u64 {
    hash.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

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
        let first = first_8(Sha256::new_with_prefix(&space));
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
    use crate::encode::testing::{
        OwnedChange, OwnedImage, any_cell, any_change, int, table, text, transaction,
    };
    use crate::encode::{Batch, Format, Lane, LaneId, RowOptions};

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

    /// The digests of rows that are published in batches of so many.
    fn row_digests(rows: &[(u64, OwnedChange)], each: usize, first: u64) -> Vec<RowDigest> {
        let lane = Lane { id: LaneId(0), key: "shop.t#0".into(), number: 0, count: 1 };
        let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table("t", 2));
        let (mut digests, mut next) = (Vec::new(), first);
        for rows in rows.chunks(each) {
            for (number, row) in rows {
                batch.push(1, &transaction(*number), &row.change());
            }
            let taken = batch.take(lane.clone(), next).expect("rows");
            next += rows.len() as u64;
            digests.extend(taken.row_digests());
        }
        digests
    }

    proptest! {
        #[test]
        fn a_row_has_its_digest_however_it_is_packed_and_no_other_has(
            rows in prop::collection::vec((1..4_u64, any_change(2)), 1..12),
            each in 1..12_usize,
            other in any_change(2),
            at: prop::sample::Index,
        ) {
            let mut rows = rows;
            rows.sort_by_key(|(number, _)| *number);
            let digests = row_digests(&rows, 1, 5);
            prop_assert_eq!(&row_digests(&rows, each, 5), &digests);
            prop_assert_eq!(digests.first().map(|row| row.sequence), Some(5));
            let all_differ = |others: &[RowDigest]| {
                digests.iter().zip(others).all(|(row, other)| row.digest != other.digest)
            };
            prop_assert!(all_differ(&row_digests(&rows, each, 6)), "another number");
            let mut changed = rows.clone();
            let at = at.index(rows.len());
            changed[at].1 = other.clone();
            let changed_digests = row_digests(&changed, each, 5);
            for (index, (row, other)) in digests.iter().zip(&changed_digests).enumerate() {
                let same = || format!("{:?}", changed[at].1) == format!("{:?}", rows[at].1);
                let is_same = index != at || same();
                prop_assert_eq!(row.digest == other.digest, is_same, "row {}", index);
            }
            changed = rows.clone();
            for (number, _) in &mut changed {
                *number += 9;
            }
            prop_assert!(all_differ(&row_digests(&changed, each, 5)), "another transaction");
        }

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
