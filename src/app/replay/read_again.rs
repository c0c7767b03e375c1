//! `POST /replay` for parts of a snapshot: no log has them, so their keys are read from the table again, for
//! whoever asks and nobody else.

use serde::{Deserialize, Serialize};

use crate::filter::Pattern;
use crate::snapshot::{AUDIENCE, Command, Request, SnapshotHandle, is_audience};
use crate::telemetry::http::ReplayRefused;

/// What is asked for; JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadAgain {
    /// Database of the table.
    pub(crate) database: String,
    /// Its name.
    pub(crate) table: String,
    /// Epoch of the lane of which parts are missing.
    pub(crate) epoch: u64,
    /// Only rows behind the one with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// Only rows up to the one with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upto: Option<String>,
    /// Who it is for: value of the attribute `replay`.
    #[serde(rename = "for")]
    pub(crate) audience: String,
}

impl ReadAgain {
    /// The command, if it is one; `None`: it is one for rows of the log.
    pub(crate) fn read(json: &str) -> Option<Result<Self, ReplayRefused>> {
        let document: serde_json::Value = serde_json::from_str(json).ok()?;
        document.get("table")?;
        let wrong = |error| ReplayRefused::Wrong(format!("no command to read rows again: {error}"));
        Some(serde_json::from_value(document).map_err(wrong))
    }

    /// Hands it to the reader of snapshots, of a stream in this epoch. What will be done, or why nothing
    /// will be, in words.
    pub(crate) fn command(
        self,
        snapshots: &SnapshotHandle,
        epoch: u64,
    ) -> Result<String, ReplayRefused> {
        if !is_audience(&self.audience) {
            let why = format!("for: expected {AUDIENCE}");
            return Err(ReplayRefused::Wrong(why));
        }
        if epoch == 0 {
            return Err(ReplayRefused::Busy("the stream has not begun yet: ask again".to_owned()));
        }
        if self.epoch != epoch {
            let found = self.epoch;
            let why = format!("the stream is in epoch {epoch}, not in {found}");
            return Err(ReplayRefused::Wrong(why));
        }
        let request = Request {
            tables: vec![Pattern::exactly(&[&self.database, &self.table]).literal()],
            after: self.after,
            upto: self.upto,
            audience: Some(self.audience),
            ..Request::default()
        };
        // Why not: another snapshot goes on.
        snapshots.command(Command::Start(request)).map_err(ReplayRefused::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str, epoch: u64) -> (Result<String, ReplayRefused>, SnapshotHandle) {
        let snapshots = SnapshotHandle::default();
        let command = ReadAgain::read(json).expect("a command for a table");
        (command.and_then(|command| command.command(&snapshots, epoch)), snapshots)
    }

    #[test]
    fn keys_of_one_table_are_read_again_for_who_asks_and_only_in_its_epoch() {
        let json = r#"{"database":"a.b","table":"t*","epoch":3,"after":"5","for":"partners"}"#;
        let (answer, snapshots) = asked(json, 3);
        assert!(answer.is_ok(), "{answer:?}");
        let Some(Command::Start(request)) = snapshots.take() else { panic!("no snapshot") };
        assert_eq!(request.tables, [r"a\.b.t\*"]);
        assert_eq!((request.after.as_deref(), request.upto), (Some("5"), None));
        assert_eq!(request.audience.as_deref(), Some("partners"));
        // A second one waits for the first.
        let command = ReadAgain::read(json).expect("it is one").expect("it is right");
        snapshots.command(Command::Start(request_of("x.y"))).expect("the first");
        let again = command.command(&snapshots, 3);
        assert!(matches!(again, Err(ReplayRefused::Busy(_))), "{again:?}");
        assert!(matches!(asked(json, 4).0, Err(ReplayRefused::Wrong(_))));
        assert!(matches!(asked(json, 0).0, Err(ReplayRefused::Busy(_))));
        for wrong in [
            r#"{"table":"t","epoch":3,"for":"partners"}"#,
            r#"{"database":"d","table":"t","epoch":3,"for":""}"#,
            r#"{"database":"d","table":"t","epoch":3,"for":"x","where":"1 = 1"}"#,
        ] {
            assert!(matches!(asked(wrong, 3).0, Err(ReplayRefused::Wrong(_))), "{wrong}");
        }
        assert!(ReadAgain::read(r#"{"lane":"a.b#0"}"#).is_none() && ReadAgain::read("{").is_none());
    }

    fn request_of(pattern: &str) -> Request {
        Request { tables: vec![pattern.to_owned()], ..Request::default() }
    }
}
