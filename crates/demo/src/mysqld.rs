//! A private MySQL or MariaDB: own folder, free port on this machine only, gone with its owner.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::datadir::provide;
use super::launch::{Options, connect, spawn};
use super::process::{Process, Signal};
use super::{Error, Folder, Server};

/// Deadline of a clean shutdown.
const STOP_DEADLINE: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Mysqld {
    // Dropped in this order: the server ends before its data goes away.
    process: Process,
    folder: Folder,
    server: Server,
    options: Options,
    port: u16,
}

impl Mysqld {
    /// Starts a server with empty data and waits until it takes connections.
    pub async fn start(server: &Server, options: Options) -> Result<Self, Error> {
        static SERVER_ID: AtomicU32 = AtomicU32::new(1);
        let mut options = options;
        options.server_id.get_or_insert_with(|| SERVER_ID.fetch_add(1, Ordering::Relaxed));
        let folder = Folder::create()?;
        let data = folder.path().join("data");
        provide(server, &options, &data).await?;
        if options.own_keys {
            remove_keys(&data)?;
        }
        let (process, port) = spawn(server, &options, &folder, None).await?;
        Ok(Self { process, folder, server: server.clone(), options, port })
    }

    /// What runs.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its data, binary logs included.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// How it is run, to be changed before [`Self::start_again`].
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// A session of `root`.
    pub async fn connect(&self) -> Result<Conn, Error> {
        connect(self.port).await
    }

    /// Runs statements as `root`, in a session of their own.
    pub async fn execute<S: AsRef<str>>(&self, statements: &[S]) -> Result<(), Error> {
        let mut session = self.connect().await?;
        for statement in statements {
            session.query_drop(statement.as_ref()).await?;
        }
        session.disconnect().await?;
        Ok(())
    }

    /// Kills it, as a power cut would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// Shuts it down in order.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.process.stop(STOP_DEADLINE).await.map(drop)
    }

    /// Starts it again on the same data and port, after [`Self::kill`] or [`Self::stop`].
    pub async fn start_again(&mut self) -> Result<(), Error> {
        self.process.kill().await?;
        let port = Some(self.port);
        let (process, _) = spawn(&self.server, &self.options, &self.folder, port).await?;
        self.process = process;
        Ok(())
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Stop)
    }

    /// Lets it continue after [`Self::freeze`].
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Cont)
    }
}

/// Without them, a server makes new ones when it starts.
fn remove_keys(data: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(data).map_err(Error::file(data))? {
        let path = entry.map_err(Error::file(data))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            std::fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}
