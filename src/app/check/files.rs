//! The files that `run` keeps, and the address that it listens on, without taking any of them.

use std::path::Path;

use tokio::net::TcpListener;

use super::Report;
use crate::app::plan::Plan;
use crate::checkpoint::{self, Checkpoint, FileStore};
use crate::sink::quarantine::{self, Quarantine};

/// What the checkpoint's file says; `None`: it would be refused, and the report says why.
pub(super) async fn checkpoint(
    plan: &Plan,
    path: &Path,
    reports: &mut Vec<Report>,
) -> Option<Option<Checkpoint>> {
    let what = format!("checkpoint {}", path.display());
    match FileStore::rehearse(path, &plan.stream).await {
        Ok(saved) => {
            reports.push(Report::fine(&what, found(saved.as_ref())));
            Some(saved)
        }
        Err(error) => {
            let (needed, remedy) = of_checkpoint(&error);
            reports.push(Report::wrong(&what, error.to_string(), needed, remedy));
            None
        }
    }
}

/// A checkpoint in a few words.
pub(super) fn found(saved: Option<&Checkpoint>) -> String {
    match saved {
        Some(saved) => {
            format!("epoch {}, saved by binpulse {}", saved.epoch, saved.version)
        }
        None => "none yet: the stream begins at source.start".to_owned(),
    }
}

/// What is needed, and what fixes it.
pub(super) fn of_checkpoint(error: &checkpoint::Error) -> (&'static str, &'static str) {
    use checkpoint::Error;
    match error {
        Error::Io { .. } => (
            "a regular file in an existing, writable folder with free space",
            "create the folder, free space, grant write permission, or set checkpoint.path",
        ),
        Error::Corrupt { .. } | Error::Malformed { .. } => (
            "an undamaged checkpoint",
            "restore a copy; or begin a new epoch (docs/operate/new-epoch.md) and tell the \
             consumers",
        ),
        Error::Format { .. } => ("a format that this version reads", "run the newer version"),
        Error::OtherStream { .. } => (
            "a checkpoint of its own for each stream",
            "set checkpoint.path or stream.name back to its former value",
        ),
        Error::Fenced { .. } => (
            "a stream that no other process runs",
            "stop the process that runs it; if that is the service itself, nothing is wrong",
        ),
        Error::NotBegun { .. } => ("a checkpoint", "start `binpulse run`"),
        Error::Database { .. } => ("a table that may be read and written", "fix what is named"),
    }
}

/// The file of what is quarantined, if the plan names one.
pub(super) async fn quarantine(plan: &Plan, reports: &mut Vec<Report>) {
    let Some(path) = plan.quarantine.file.clone() else { return };
    let what = format!("quarantine {}", path.display());
    let looked = tokio::task::spawn_blocking(move || Quarantine::rehearse(&path)).await;
    let error = match looked {
        Ok(Ok(())) => return reports.push(Report::fine(&what, "usable")),
        Ok(Err(error)) => error,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let (needed, remedy) = match &error {
        quarantine::Error::Io { .. } | quarantine::Error::Broken { .. } => (
            "a regular file in an existing, writable folder",
            "create the folder, grant write permission, or set sink.quarantine",
        ),
        quarantine::Error::InUse { .. } => {
            ("a file that no other process uses", "stop the process that uses it")
        }
        quarantine::Error::Full { .. } => ("free space for quarantined messages", "redrive it"),
        quarantine::Error::Damaged { .. } => (
            "undamaged records",
            "move the file away and examine it; binpulse continues without it",
        ),
    };
    // The cause behind the words: what the system said.
    let cause = std::error::Error::source(&error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    reports.push(Report::wrong(&what, format!("{error}{cause}"), needed, remedy));
}

/// The address of the pages.
pub(super) async fn listen(plan: &Plan, reports: &mut Vec<Report>) {
    let address = plan.http.address;
    let what = format!("http.listen {address}");
    match TcpListener::bind(address).await {
        Ok(_) => reports.push(Report::fine(&what, "free")),
        Err(error) => {
            let needed = "a local address with a free port";
            let remedy = "stop the process that listens there (if it is the service itself, \
                          nothing is wrong), or set http.listen";
            reports.push(Report::wrong(&what, error.to_string(), needed, remedy));
        }
    }
}
