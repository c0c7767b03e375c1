//! By Debezium Server's HTTP sink, signed by Standard Webhooks too, and set to lose and repeat as little as it
//! can: offsets are saved after each batch.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::workload::Random;
use super::super::{Error, Folder, PASSWORD, Process, Program, USER};
use super::receiver::Receiver;
use super::source::Source;
use super::{Sender, stay_down};

const MAIN: &str = "io.debezium.server.Main";
/// Its threads need it on Java 24 and later.
const OPENS: &str = "--add-opens=java.base/java.lang=ALL-UNNAMED";
/// Its jar is `debezium-server-dist-VERSION-runner.jar`.
const RUNNER: (&str, &str) = ("debezium-server-dist-", "-runner.jar");
/// Starts in a row that may end before anything was delivered.
const STARTS_MAX: u32 = 50;

pub(super) struct Debezium {
    process: Process,
    folder: Folder,
    program: Program,
    version: String,
    kills: u64,
    /// How often it ended by itself, and was started again as a supervisor does.
    ends: u64,
}

impl Debezium {
    pub(super) async fn start(
        installed: &Path,
        source: &Source,
        receiver: &Receiver,
    ) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let (runner, version) = runner(installed)?;
        let grant = format!("GRANT SELECT, RELOAD, SHOW DATABASES ON *.* TO '{USER}'@'%'");
        source.mysqld.execute(&[grant]).await?;
        let config = folder.path().join("config");
        std::fs::create_dir(&config).map_err(Error::file(&config))?;
        let properties = config.join("application.properties");
        let text = properties_for(source, receiver, folder.path());
        std::fs::write(&properties, text).map_err(Error::file(&properties))?;
        let mut classes = runner.into_os_string();
        classes.push(format!(":{}:{}/lib/*", config.display(), installed.display()));
        let java = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        let java = java.map_or("java".into(), |home| PathBuf::from(home).join("bin/java"));
        let location = format!("-Dquarkus.config.locations={}", properties.display());
        let command: Vec<OsString> = vec![
            java.into(),
            "-Xmx512m".into(),
            OPENS.into(),
            location.into(),
            "-cp".into(),
            classes,
            MAIN.into(),
        ];
        let program = Program {
            name: "Debezium Server".to_owned(),
            command,
            environment: Vec::new(),
            without: vec!["DEBEZIUM_", "QUARKUS_", "K_SINK"],
            log: folder.path().join("log"),
        };
        let process = Process::start(&program, &folder)?;
        Ok(Self { process, folder, program, version, kills: 0, ends: 0 })
    }
}

/// Its jar and version.
fn runner(installed: &Path) -> Result<(PathBuf, String), Error> {
    let missing = || Error::Missing {
        what: format!("Debezium Server in {}", installed.display()),
        remedy: "run `benches/peers/fetch.sh`",
    };
    let entries = std::fs::read_dir(installed).map_err(|_| missing())?;
    let version_of = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        Some(
            name.strip_prefix(RUNNER.0)?
                .strip_suffix(RUNNER.1)?
                .trim_end_matches(".Final")
                .to_owned(),
        )
    };
    let mut found = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version = version_of(&path)?;
        Some((path, version))
    });
    found.next().ok_or_else(missing)
}

fn properties_for(source: &Source, receiver: &Receiver, folder: &Path) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    let pairs = [
        ("debezium.sink.type", "http".to_owned()),
        ("debezium.sink.http.url", receiver.url()),
        ("debezium.sink.http.timeout.ms", "1000".to_owned()),
        // 5 attempts are its default; a pause of 1 s between them would only take longer.
        ("debezium.sink.http.retry.interval.ms", "100".to_owned()),
        ("debezium.sink.http.authentication.type", "standard-webhooks".to_owned()),
        ("debezium.sink.http.authentication.webhook.secret", Receiver::SECRET.to_owned()),
        ("debezium.format.value", "json".to_owned()),
        ("debezium.format.key", "json".to_owned()),
        ("debezium.format.value.schemas.enable", "false".to_owned()),
        ("debezium.format.key.schemas.enable", "false".to_owned()),
        (
            "debezium.source.connector.class",
            "io.debezium.connector.mysql.MySqlConnector".to_owned(),
        ),
        ("debezium.source.offset.storage.file.filename", file("offsets")),
        ("debezium.source.offset.flush.interval.ms", "0".to_owned()),
        (
            "debezium.source.schema.history.internal",
            "io.debezium.storage.file.history.FileSchemaHistory".to_owned(),
        ),
        ("debezium.source.schema.history.internal.file.filename", file("history")),
        ("debezium.source.topic.prefix", "billing".to_owned()),
        ("debezium.source.database.hostname", "127.0.0.1".to_owned()),
        ("debezium.source.database.port", source.mysqld.port().to_string()),
        ("debezium.source.database.user", USER.to_owned()),
        ("debezium.source.database.password", PASSWORD.to_owned()),
        ("debezium.source.database.server.id", "54321".to_owned()),
        ("debezium.source.database.include.list", "billing".to_owned()),
        ("debezium.source.include.schema.changes", "false".to_owned()),
        ("debezium.source.connect.keep.alive.interval.ms", "1000".to_owned()),
        ("quarkus.http.host", "127.0.0.1".to_owned()),
        ("quarkus.http.port", "0".to_owned()),
        ("quarkus.log.console.json.enabled", "false".to_owned()),
    ];
    pairs.iter().fold(String::new(), |text, (key, value)| format!("{text}{key}={value}\n"))
}

impl Sender for Debezium {
    fn name(&self) -> String {
        format!("Debezium Server {}", self.version)
    }

    async fn must_run(&mut self) -> Result<(), Error> {
        if self.process.ended()?.is_some() {
            self.ends += 1;
            if self.ends > u64::from(STARTS_MAX) {
                self.process.must_run()?;
            }
            self.process = Process::start(&self.program, &self.folder)?;
        }
        Ok(())
    }

    async fn kill(&mut self, random: &mut Random) -> Result<(), Error> {
        self.process.kill().await?;
        self.kills += 1;
        stay_down(random).await;
        self.process = Process::start(&self.program, &self.folder)?;
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn is_busy(&self) -> Result<bool, Error> {
        Ok(false)
    }

    fn faults(&self) -> (Vec<(&'static str, u64)>, Option<u64>) {
        (vec![("Debezium Server", self.kills)], None)
    }

    fn logs(&self) -> String {
        self.process.log_tail()
    }
}
