//! Why a demo could not be shown.

use std::path::PathBuf;

use super::HttpError;

/// What went wrong around the streamer: the servers beside it, the workload, the consumer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that has to be fetched or installed first is not there.
    #[error("{what} not found: {remedy}")]
    Missing {
        /// What was looked for.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The list of fetched servers can't be read.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder of ours.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be started or signalled.
    #[error("{program}: {source}")]
    Program {
        /// Which.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended although it was needed.
    #[error("{program} ended with code {code:?}; its log ends:\n{log}")]
    Ended {
        /// Which.
        program: String,
        /// Its exit code.
        code: Option<i32>,
        /// The last lines of its log.
        log: String,
    },
    /// A deadline passed.
    #[error("timed out after {seconds} s waiting for {what}")]
    Deadline {
        /// What was waited for, and what was seen last.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The private MySQL refused something.
    #[error("MySQL: {0}")]
    Sql(#[from] mysql_async::Error),
    /// The stand-in of SNS and SQS refused something.
    #[error("{call}: {reason}")]
    Aws {
        /// Which call.
        call: &'static str,
        /// What it said.
        reason: String,
    },
    /// An HTTP answer of the streamer or the stand-in.
    #[error("http://{0}")]
    Http(#[from] HttpError),
    /// `DEMO_SECONDS` is not a number of seconds.
    #[error("DEMO_SECONDS is `{found}`, expected 0 to {}", super::audience::SECONDS_MAX)]
    Seconds {
        /// Its value.
        found: String,
    },
    /// Ctrl-C before it had begun, or twice.
    #[error("interrupted")]
    Interrupted,
    /// The consumer got a message that it can't read.
    #[error("unreadable message: {0}")]
    Message(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
