//! Exit codes, after sysexits.h.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked.
    Done,
    /// 1: it ran, and the answer is no (`check` found something).
    Failed,
    /// 2: it ran, and nobody can say (`verdict`).
    Unknown,
    /// 64: wrong invocation or configuration.
    Usage,
    /// 65: bad input data.
    BadData,
    /// 69: source or sink unavailable at start.
    Unavailable,
    /// 70: a bug.
    Bug,
    /// 75: the position is lost, or delivery can't go on: an operator is needed.
    Operator,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unknown => 2,
            Exit::Usage => 64,
            Exit::BadData => 65,
            Exit::Unavailable => 69,
            Exit::Bug => 70,
            Exit::Operator => 75,
        })
    }
}
