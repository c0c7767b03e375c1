//! Exit codes, after sysexits.h.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It ran, and the answer is no.
    Failed,
    /// It ran, and the answer is not known.
    Unknown,
    /// Wrong invocation or configuration.
    Usage,
    /// Bad input data.
    BadData,
    /// Something outside is not available.
    Unavailable,
    /// A bug.
    Bug,
    /// An operator is needed.
    Operator,
}

impl Exit {
    /// All, by their codes.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Unknown,
        Self::Usage,
        Self::BadData,
        Self::Unavailable,
        Self::Bug,
        Self::Operator,
    ];

    /// What the process ends with, after sysexits.h.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unknown => 2,
            Self::Usage => 64,
            Self::BadData => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Operator => 75,
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => {
                "done, and the answer is no: a problem (check), an outage (verdict), not healthy or no \
                 answer (health), refused or no answer \
                 (ha yield, maintenance, snapshot), no lease (ha status), a snapshot that was stopped or gave a table up (snapshot status), something stays in the file \
                 (redrive)"
            }
            Self::Unknown => {
                "not known (verdict), or the service does not answer (verdict, status, ha status, snapshot \
                 status)"
            }
            Self::Usage => "wrong invocation or configuration",
            Self::BadData => "bad input data: decode and redrive name file and offset",
            Self::Unavailable => {
                "source, sink or address not available at start, or not fit for streaming"
            }
            Self::Bug => "a bug",
            Self::Operator => {
                "an operator is needed: the position is lost or diverged, the checkpoint is damaged, \
                 missing or held by another process, another process runs the stream, or delivery has \
                 halted"
            }
        }
    }

    /// What to do about it.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Done => "nothing",
            Self::Failed => "read the output",
            Self::Unknown => "wait, or see whether the service runs",
            Self::Usage => "correct what the message names; a restart does not help",
            Self::BadData => "look at the file at that place",
            Self::Unavailable => "run `binpulse check`; a restart tries again",
            Self::Bug => "report it with the log; a restart continues from the checkpoint",
            Self::Operator => "do what the message says; a restart alone ends the same way",
        }
    }
}

/// The list for the help.
pub(super) fn list() -> String {
    let mut text = "Exit codes:".to_owned();
    for exit in Exit::ALL {
        let (code, meaning) = (exit.code(), exit.meaning());
        text.extend(["\n", &format!("  {code:>3}  {meaning}")]);
    }
    text + "\n  130, 143  a second Ctrl-C or SIGTERM came before it had stopped"
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
