//! The servers that chunks are read from, and where their tables are locked.

use std::sync::Arc;

use super::halt::Halt;
use crate::change::Position;
use crate::mysql::HostPort;
use crate::snapshot::Layout;
use crate::snapshot::config::Config;
use crate::snapshot::reader::{Lock, ReadError, Reader};
use crate::telemetry::snapshot::ChunkDiscard as Discard;

/// Sessions, each made when it is first needed.
pub(super) struct Connections {
    config: Arc<Config>,
    reader: Option<Reader>,
    /// Tells where the source's log ends, when chunks are read elsewhere.
    source: Option<Reader>,
    /// Holds the lock on a table without a key.
    locker: Option<Reader>,
}

impl Connections {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, reader: None, source: None, locker: None }
    }

    /// Where chunks are read; `None`: no stream stands yet.
    pub(super) fn reads_at(&self) -> Option<HostPort> {
        self.config.read_from.clone().or_else(|| (self.config.stream_at)())
    }

    /// Who reads chunks; `None`: no stream stands yet.
    pub(super) async fn reader(&mut self) -> Result<Option<&mut Reader>, ReadError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let Some(host) = self.reads_at() else { return Ok(None) };
                self.connect(&host).await?
            }
        };
        Ok(Some(self.reader.insert(reader)))
    }

    /// The next chunk is read in another session.
    pub(super) fn forget_reader(&mut self) {
        self.reader = None;
    }

    /// All is to be connected anew.
    pub(super) fn forget(&mut self) {
        (self.reader, self.source) = (None, None);
    }

    /// Locks the table where chunks are read, in a session of its own: it is kept until
    /// [`Connections::unlock`].
    pub(super) async fn lock(&mut self, layout: &Layout) -> Result<Lock, Halt> {
        const ELSEWHERE: Halt = Halt::Discarded(Discard::ServerChanged);
        let mut locker = self.connect(&self.reads_at().ok_or(ELSEWHERE)?).await?;
        let lock = locker.lock(layout).await?;
        if locker.server() != self.reader().await?.ok_or(ELSEWHERE)?.server() {
            return Err(ELSEWHERE);
        }
        self.locker = Some(locker);
        Ok(lock)
    }

    /// Ends the session that holds a lock, and with it the lock.
    pub(super) async fn unlock(&mut self) -> Result<(), ReadError> {
        match self.locker.take() {
            Some(mut locker) => locker.unlock().await,
            None => Ok(()),
        }
    }

    /// Where the log of the stream's source ends, if that is still the `server` that the window is of.
    pub(super) async fn log_end(&mut self, server: &str) -> Result<Position, Halt> {
        if self.config.read_from.is_some() && self.source.is_none() {
            let host = (self.config.stream_at)();
            let host = host.ok_or(Halt::Discarded(Discard::ServerChanged))?;
            self.source = Some(self.connect(&host).await?);
        }
        let source = self.source.as_mut().or(self.reader.as_mut());
        let source = source.ok_or(Halt::Discarded(Discard::ServerChanged))?;
        if source.server() != server {
            return Err(Halt::Discarded(Discard::ServerChanged));
        }
        Ok(source.log_end().await?)
    }

    async fn connect(&self, host: &HostPort) -> Result<Reader, ReadError> {
        let mut config = self.config.source.clone();
        config.hosts = vec![host.clone()];
        Reader::connect(&config, 0).await
    }
}
