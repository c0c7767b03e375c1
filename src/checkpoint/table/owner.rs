//! Who has the stream, by the row in its table: taken over at start, and taken along when the store
//! goes with the stream to another server, at a failover.
//!
//! A new server may lack what was saved last on the one before. So the first save there writes all that
//! is known, and only if no later owner has the stream there. The condition of each other save is in
//! `TableStore::write_in_transaction`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Error, FORMAT, HASH_BYTES, TableConfig, TableStore, Value, number};
use crate::mysql::HostPort;

/// Where a store is, and where it was.
#[derive(Debug)]
pub(super) struct Place {
    /// The server that sessions go to.
    pub(super) at: HostPort,
    /// The server that has all that was saved.
    pub(super) home: HostPort,
}

impl Place {
    pub(super) fn new(host: HostPort) -> Self {
        Self { at: host.clone(), home: host }
    }

    /// Whether the next save is the first on its server.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.at != self.home
    }
}

impl TableStore {
    /// Makes the stream ours.
    pub(super) async fn take_over(&mut self) -> Result<u64, Error> {
        let (table, stream) = (self.config.table.clone(), self.config.stream.clone());
        let take = format!(
            "{} ON DUPLICATE KEY UPDATE owner = owner + 1, owner_name = VALUES(owner_name)",
            new_row(&table)
        );
        let read = format!("SELECT owner, owner_name FROM {table} WHERE stream = ?");
        let name = owner_name(&self.config);
        let values = vec![stream.clone().into(), 1.into(), name.into()];
        self.exec("take over", &take, values).await?;
        // Another take-over in between makes both read the same number; the name tells them apart
        // in what follows, since saves ask for both.
        let rows = self.exec("read", &read, vec![stream.into()]).await?;
        let owner = rows.first().map(|row| number(row, 0, "owner", &self.config)).transpose()?;
        owner.ok_or_else(|| self.malformed("owner", "no row after it was written"))
    }

    /// Makes the stream ours under this number, unless a later owner has it.
    pub(super) async fn take_over_as(&mut self, fence: u64) -> Result<(), Error> {
        self.owner = fence;
        self.end_former_session().await?;
        self.query("take over", "START TRANSACTION").await?;
        self.claim().await?;
        self.query("take over", "COMMIT").await
    }

    /// Ends the session that saved before, if it is still there: of a process that stands still in the
    /// middle of a save it would keep the row locked for hours. An account may end its own sessions.
    async fn end_former_session(&mut self) -> Result<(), Error> {
        let ask = format!("SELECT IS_USED_LOCK('{}')", lock_name(&self.config.stream));
        let Ok(rows) = self.exec("look for the former session", &ask, Vec::new()).await else {
            return Ok(());
        };
        let former = rows.first().and_then(|row| row.unsigned(0).ok().flatten());
        let ours = self.session().await.ok().and_then(|session| session.id()).map(u64::from);
        if let Some(former) = former.filter(|former| Some(*former) != ours) {
            // It may have ended by itself meanwhile.
            drop(self.query("end the former session", &format!("KILL {former}")).await);
            let take = format!("DO GET_LOCK('{}', 2)", lock_name(&self.config.stream));
            drop(self.query("end the former session", &take).await);
            tracing::info!(former, "the session of the former owner is ended");
        }
        Ok(())
    }

    /// Goes to where the stream is now. To be called between transactions.
    pub(super) fn go_along(&mut self) {
        let host = self.config.host.now();
        if host != self.place.at {
            self.session = None;
            self.place.at = host;
        }
    }

    /// Makes the row on this server ours, within the transaction that saves, unless a later owner has it.
    pub(super) async fn claim(&mut self) -> Result<(), Error> {
        let (table, stream) = (self.config.table.clone(), self.config.stream.clone());
        let name = owner_name(&self.config);
        let read = format!("SELECT owner, owner_name FROM {table} WHERE stream = ? FOR UPDATE");
        let rows = self.exec("read", &read, vec![stream.clone().into()]).await?;
        let (sql, values): (_, Vec<Value>) = match rows.first() {
            None => (new_row(&table), vec![stream.into(), self.owner.into(), name.into()]),
            Some(row) => {
                let owner = number(row, 0, "owner", &self.config)?;
                let is_ours = owner == self.owner && row.text(1).as_deref() == Some(&name);
                if is_ours {
                    return Ok(());
                }
                if owner >= self.owner {
                    return Err(self.fenced().await);
                }
                let sql = format!("UPDATE {table} SET owner = ?, owner_name = ? WHERE stream = ?");
                (sql, vec![self.owner.into(), name.into(), stream.into()])
            }
        };
        self.exec("take over", &sql, values).await?;
        if self.place.is_elsewhere() {
            tracing::info!(
                host = %self.place.at,
                "the checkpoint continues in the table of another server"
            );
        }
        Ok(())
    }

    /// Refuses if another has become the owner since.
    pub(crate) async fn is_still_ours(&mut self) -> Result<(), Error> {
        let TableConfig { table, stream, .. } = self.config.clone();
        let sql = format!("SELECT owner, owner_name FROM {table} WHERE stream = ?");
        let rows = self.exec("read", &sql, vec![stream.into()]).await?;
        let owner = rows.first().map(|row| number(row, 0, "owner", &self.config)).transpose()?;
        let name = rows.first().and_then(|row| row.text(1));
        if owner == Some(self.owner) && name == Some(owner_name(&self.config)) {
            Ok(())
        } else {
            Err(self.fenced().await)
        }
    }

    /// Says who has the stream now.
    pub(super) async fn fenced(&mut self) -> Error {
        let TableConfig { table, stream, .. } = self.config.clone();
        let sql = format!("SELECT owner_name FROM {table} WHERE stream = ?");
        let rows = self.exec("read", &sql, vec![stream.into()]).await;
        let owner = rows.ok().and_then(|rows| rows.first()?.text(0));
        Error::Fenced {
            place: table,
            owner: owner.unwrap_or_else(|| "no one: its row is gone".into()),
        }
    }
}

/// The statement that makes the row of a stream that has not begun, of an owner by number and name. Only
/// the key and the owner count; the rest is filled in by a save.
fn new_row(table: &str) -> String {
    format!(
        "INSERT INTO {table} (stream, owner, owner_name, saves, format, begun, server_uuid, epoch, \
         gtid_set, resume_file, resume_offset, resume_maria, settled_file, settled_offset, \
         settled_maria, saved_at_us, version, snapshot) \
         VALUES (?, ?, ?, 0, {FORMAT}, 0, '', 0, '', '', 0, '', '', 0, '', 0, '', '')"
    )
}

/// This process's name, as far as the column has room for it.
pub(super) fn owner_name(config: &TableConfig) -> String {
    config.owner_name.chars().take(255).collect()
}

/// The name of the server's lock that the session which saves has, so that its successor finds it.
pub(super) fn lock_name(stream: &str) -> String {
    let hash = Sha256::digest(stream.as_bytes());
    let mut name = "binpulse.save.".to_owned();
    for byte in hash.iter().take(HASH_BYTES) {
        write!(name, "{byte:02x}").expect("a String takes any text");
    }
    name
}
