//! What a relay makes of rows, in short: two relays that read the same rows, of two versions or with two
//! configurations, are compared by it.

use std::collections::VecDeque;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Rows by number that are told together.
const BLOCK_ROWS: u64 = 1_000;
/// Blocks that are told of a lane.
const BLOCKS_MAX: usize = 8;

/// The documents of a block of rows of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Documents {
    /// `stream/epoch/lane`.
    pub lane: String,
    /// Number of the first row, filtered or not.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
    /// Rows that the filters let through.
    pub rows: u64,
    /// SHA-256 over their documents, hexadecimal.
    pub digest: String,
}

/// The documents of one lane: of the block that is going by, and of the last ones.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Option<Open>,
    done: VecDeque<Documents>,
}

#[derive(Debug)]
struct Open {
    first: u64,
    /// The number that follows.
    next: u64,
    rows: u64,
    digest: Sha256,
}

impl Blocks {
    /// A row goes by, in the order of numbers; `document` is `None` for one that the filters leave out.
    pub(super) fn row(&mut self, number: u64, document: Option<&[u8]>) {
        if number % BLOCK_ROWS == 1 {
            let digest = Sha256::new();
            self.open = Some(Open { first: number, next: number, rows: 0, digest });
        }
        // A block of which a row is missing, or that began before this process, tells nothing.
        let Some(mut open) = self.open.take_if(|open| open.next == number) else {
            self.open = None;
            return;
        };
        if let Some(document) = document {
            open.rows += 1;
            open.digest.update((document.len() as u64).to_le_bytes());
            open.digest.update(document);
        }
        open.next = number.saturating_add(1);
        if !number.is_multiple_of(BLOCK_ROWS) {
            self.open = Some(open);
            return;
        }
        if self.done.len() == BLOCKS_MAX {
            self.done.pop_front();
        }
        self.done.push_back(Documents {
            lane: String::new(),
            first: open.first,
            last: number,
            rows: open.rows,
            digest: format!("{:x}", open.digest.finalize()),
        });
    }

    /// The last blocks, the oldest first.
    pub(super) fn of<'a>(&'a self, lane: &'a str) -> impl Iterator<Item = Documents> + 'a {
        self.done.iter().map(|documents| Documents { lane: lane.to_owned(), ..documents.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::Blocks;

    fn blocks(
        numbers: impl Iterator<Item = u64>,
        odd: Option<u64>,
    ) -> Vec<(u64, u64, u64, String)> {
        let mut blocks = Blocks::default();
        for number in numbers {
            let document = format!("{number}{}", if odd == Some(number) { "!" } else { "" });
            blocks.row(number, (number % 7 != 0).then_some(document.as_bytes()));
        }
        blocks.of("a").map(|found| (found.first, found.last, found.rows, found.digest)).collect()
    }

    #[test]
    fn whole_blocks_are_told_and_differ_where_a_document_does() {
        let all = blocks(1..=3_500, None);
        let places: Vec<_> =
            all.iter().map(|(first, last, rows, _)| (*first, *last, *rows)).collect();
        assert_eq!(places, [(1, 1_000, 858), (1_001, 2_000, 857), (2_001, 3_000, 857)]);
        assert_eq!(blocks(500..=3_500, None), all[1..], "the first was not whole");
        assert_eq!(blocks((1..=3_500).filter(|number| *number != 1_500), None).len(), 2);
        let other = blocks(1..=3_500, Some(1_500));
        assert_eq!((&other[0], &other[2]), (&all[0], &all[2]));
        assert_ne!(other[1], all[1]);
        assert_eq!(blocks(1..=20_000, None).len(), 8);
    }
}
