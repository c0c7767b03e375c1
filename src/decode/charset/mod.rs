//! Character sets: text of a column, decoded by its collation.

/// A character set.
#[derive(Debug)]
pub(crate) struct Charset {
    /// `utf8mb4`
    name: &'static str,
}

impl Charset {
    /// MySQL's name, `utf8mb4`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// The character set of a collation id; `None` for ids that this version does not know.
pub(crate) fn by_collation(_id: u16) -> Option<&'static Charset> {
    None
}
