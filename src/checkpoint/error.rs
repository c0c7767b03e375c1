//! What can go wrong with a checkpoint, and what follows from it.

use std::io;
use std::path::PathBuf;

/// What to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Save again later; deliver on meanwhile.
    Retry,
    /// Stop: an operator has to look.
    Halt,
}

/// A checkpoint could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused: full, read-only, gone.
    #[error("checkpoint: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file holds something that no crash leaves behind.
    #[error(
        "checkpoint: {} is damaged at byte {offset}: {found}. Restore a copy of the file, or start \
         the stream from a position of your choice",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged record starts, bytes.
        offset: u64,
        /// What is wrong with it.
        found: String,
    },
    /// Written by a newer binpulse.
    #[error(
        "checkpoint: {place} has format {found}, this version reads up to {known}. Run the version \
         that wrote it, or a newer one"
    )]
    Format {
        /// File or table.
        place: String,
        /// Format number found.
        found: u64,
        /// Highest format number that is understood.
        known: u64,
    },
    /// The checkpoint is another stream's.
    #[error(
        "checkpoint: {place} belongs to stream `{found}`, not `{wanted}`. Give each stream a \
         checkpoint of its own"
    )]
    OtherStream {
        /// File or table.
        place: String,
        /// Stream it belongs to.
        found: String,
        /// Stream that was configured.
        wanted: String,
    },
    /// Another process owns the stream.
    #[error("fenced: {place} is held by {owner}. Two processes must not run one stream: stop one")]
    Fenced {
        /// File or table.
        place: String,
        /// Who holds it, as far as it is known.
        owner: String,
    },
    /// `save` before there was a checkpoint to add to.
    #[error("checkpoint: {place} holds no checkpoint to update: the stream has not begun")]
    NotBegun {
        /// File or table.
        place: String,
    },
    /// The database refused, or did not answer.
    #[error("checkpoint: cannot {action} in table {table}: {message}")]
    Database {
        /// What was tried, as a verb.
        action: &'static str,
        /// Qualified table name.
        table: String,
        /// MySQL's error number; 0 when it is none of the server's.
        code: u16,
        /// Whether it may work later, without anybody doing something about it.
        passes: bool,
        /// The words.
        message: String,
    },
    /// What the table holds is no checkpoint.
    #[error("checkpoint: {table}, stream `{stream}`, column {column}: {found}")]
    Malformed {
        /// Qualified table name.
        table: String,
        /// The stream.
        stream: String,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        found: String,
    },
}

impl Error {
    /// Whether what failed at start may work later, without anybody doing something about it.
    pub fn passes(&self) -> bool {
        match self {
            Self::Database { passes, .. } => *passes,
            Self::Io { .. }
            | Self::Corrupt { .. }
            | Self::Format { .. }
            | Self::OtherStream { .. }
            | Self::Fenced { .. }
            | Self::NotBegun { .. }
            | Self::Malformed { .. } => false,
        }
    }

    /// The single place where failures become decisions.
    pub fn recovery(&self) -> Recovery {
        match self {
            // A full disk, a read-only mount or a database that is down gets fixed while the
            // stream runs: nothing is lost by going on.
            Self::Io { .. } | Self::Database { .. } => Recovery::Retry,
            Self::Corrupt { .. }
            | Self::Format { .. }
            | Self::OtherStream { .. }
            | Self::Fenced { .. }
            | Self::NotBegun { .. }
            | Self::Malformed { .. } => Recovery::Halt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_fixed_while_the_stream_runs_is_tried_again_and_only_a_database_passes_by_itself()
    {
        let text = || "x".to_owned();
        let database = |passes| Error::Database {
            action: "read",
            table: text(),
            code: 1,
            passes,
            message: text(),
        };
        let io = Error::Io { action: "read", path: "x".into(), source: io::Error::other("full") };
        let corrupt = Error::Corrupt { path: "x".into(), offset: 4, found: text() };
        let format = Error::Format { place: text(), found: 2, known: 1 };
        let other = Error::OtherStream { place: text(), found: text(), wanted: text() };
        let malformed =
            Error::Malformed { table: text(), stream: text(), column: "c", found: text() };
        for (error, recovery, passes) in [
            (io, Recovery::Retry, false),
            (database(true), Recovery::Retry, true),
            (database(false), Recovery::Retry, false),
            (corrupt, Recovery::Halt, false),
            (format, Recovery::Halt, false),
            (other, Recovery::Halt, false),
            (Error::Fenced { place: text(), owner: text() }, Recovery::Halt, false),
            (Error::NotBegun { place: text() }, Recovery::Halt, false),
            (malformed, Recovery::Halt, false),
        ] {
            assert_eq!((error.recovery(), error.passes()), (recovery, passes), "{error:?}");
        }
    }
}
