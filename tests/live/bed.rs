//! What a test stands on: a server version, the stand-in, and the program under test.

use std::path::Path;
use std::time::Duration;

use binpulse_demo::{
    Aws, Command, Consumer, Error, Installed, Mysqld, Options, Server, Standin, Streamer, Tally,
    prepare, settings_for, standin_environment,
};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// Time for things to happen that take a moment.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_binpulse"))
}

/// A command of it with these settings, and credentials of the stand-in.
pub(crate) fn command(name: &str, settings: Vec<(&'static str, String)>) -> Command {
    Command {
        binary: binary().to_owned(),
        command: name.to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    }
}

/// A test's surroundings.
pub(crate) struct Bed {
    name: String,
    version: &'static str,
    server: Option<Server>,
    installed: &'static Installed,
}

impl Bed {
    pub(crate) fn new(
        name: &str,
        version: &'static str,
        server: Option<Server>,
        installed: &'static Installed,
    ) -> Self {
        Self { name: name.to_owned(), version, server, installed }
    }

    /// Name of the version that this run is about, `mysql-9.7`, also when a server of another name
    /// stands in for it.
    pub(crate) fn version(&self) -> &'static str {
        self.version
    }

    /// The server that this run is about.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the test names versions")
    }

    /// A server of its own.
    pub(crate) async fn mysqld(&self, options: Options) -> Result<Mysqld, Error> {
        Mysqld::start(self.server(), options).await
    }

    /// The stand-in, one for all tests; its topics are the test's own.
    pub(crate) async fn standin(&self) -> Result<&'static Standin, Error> {
        static STANDIN: OnceCell<Standin> = OnceCell::const_new();
        STANDIN.get_or_try_init(|| async { Standin::start(self.installed.standin()?).await }).await
    }

    /// Python with the packages of the tests.
    pub(crate) fn python(&self) -> Result<&Path, Error> {
        self.installed.python.as_deref().ok_or_else(|| Error::Missing {
            what: "the tests' Python".to_owned(),
            remedy: "run `make deps`",
        })
    }

    /// A name that no other test has, for topics and queues.
    pub(crate) fn topic_name(&self) -> String {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("t-{hash:016x}")
    }
}

/// Kind of topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Standard,
    Fifo,
}

/// A server that is streamed to a topic with a consumer.
pub(crate) struct Rig {
    pub(crate) streamer: Streamer,
    pub(crate) consumer: Consumer,
    pub(crate) mysqld: Mysqld,
    pub(crate) aws: Aws,
    pub(crate) topic_arn: String,
    pub(crate) endpoint_url: String,
}

impl Rig {
    /// Starts all of it and waits until the streamer is ready. `settings` win over the usual ones.
    pub(crate) async fn start(
        bed: &Bed,
        mysqld: Mysqld,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        prepare(&mysqld, binary()).await?;
        Self::start_prepared(bed, mysqld, topic, settings).await
    }

    /// As [`Self::start`], with a server that has the schema and the account.
    pub(crate) async fn start_prepared(
        bed: &Bed,
        mysqld: Mysqld,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        let url = bed.standin().await?.url();
        Self::start_at(&url, &bed.topic_name(), mysqld, topic, settings).await
    }

    /// As [`Self::start_prepared`], with the SNS and SQS at this address, and the topic's name.
    pub(crate) async fn start_at(
        endpoint_url: &str,
        topic_name: &str,
        mysqld: Mysqld,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        Self::start_with(endpoint_url, topic_name, mysqld, topic, settings, Vec::new()).await
    }

    /// As [`Self::start_at`], with variables added to the streamer's environment.
    pub(crate) async fn start_with(
        endpoint_url: &str,
        topic_name: &str,
        mysqld: Mysqld,
        topic: Topic,
        settings: &[(&'static str, String)],
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self, Error> {
        let aws = Aws::at(endpoint_url);
        let suffix = if topic == Topic::Fifo { ".fifo" } else { "" };
        let name = format!("{topic_name}{suffix}");
        let topic_arn = aws.create_topic(&name).await?;
        let queue_url = aws.subscribe_queue(&topic_arn, &name, &[]).await?;

        let mut all = settings_for(&mysqld);
        let usual = [
            ("stream.name", "test".to_owned()),
            ("source.start", "earliest".to_owned()),
            ("source.heartbeat_period", "200ms".to_owned()),
            ("heartbeat.interval", "500ms".to_owned()),
            ("heartbeat.write_deadline", "400ms".to_owned()),
            ("canary.enabled", "false".to_owned()),
            ("checkpoint.interval", "50ms".to_owned()),
            ("sns.topic", topic_arn.clone()),
            ("sns.endpoint_url", endpoint_url.to_owned()),
            ("shutdown.on_halt", "exit".to_owned()),
        ];
        all.extend(usual);
        all.retain(|(key, _)| !settings.iter().any(|(other, _)| other == key));
        all.extend_from_slice(settings);
        let mut run = command("run", all);
        run.environment.extend(environment);
        let mut streamer = Streamer::start(run)?;
        streamer.until_ready(SOON).await?;
        let consumer = Consumer::new(aws.clone(), queue_url);
        let endpoint_url = endpoint_url.to_owned();
        Ok(Self { streamer, consumer, mysqld, aws, topic_arn, endpoint_url })
    }

    /// Starts another process of the same stream, which takes it over if it is told so.
    pub(crate) fn again(&mut self, takes_over: bool) -> Result<Streamer, Error> {
        Streamer::start(self.another(takes_over))
    }

    /// What starts one.
    pub(crate) fn another(&mut self, takes_over: bool) -> Command {
        let first = self.streamer.command_mut();
        let own = ["http.listen", "checkpoint.path"];
        let of_stream = first.settings.iter().filter(|(key, _)| !own.contains(key));
        let mut arguments = first.arguments.clone();
        arguments.extend(takes_over.then(|| "--takeover".to_owned()));
        Command {
            binary: first.binary.clone(),
            command: first.command.clone(),
            settings: of_stream.cloned().collect(),
            arguments,
            environment: first.environment.clone(),
        }
    }

    /// Receives until exactly `written` has been received.
    pub(crate) async fn receive_all(&mut self, written: &Tally) -> Result<(), Error> {
        receive_until(&mut self.consumer, &mut self.streamer, "all rows that were written", |c| {
            c.received() == written
        })
        .await
        .map_err(|error| {
            let differences = self.consumer.received().differences(written);
            Error::Message(format!("{error}\nreceived of {}", differences.join("\n")))
        })
    }

    /// Receives until at least `rows` have been received.
    pub(crate) async fn receive_some(&mut self, rows: u64) -> Result<(), Error> {
        let what = format!("{rows} rows");
        receive_until(&mut self.consumer, &mut self.streamer, &what, |consumer| {
            consumer.received().total() >= rows
        })
        .await
    }
}

async fn receive_until(
    consumer: &mut Consumer,
    streamer: &mut Streamer,
    what: &str,
    holds: impl Fn(&Consumer) -> bool,
) -> Result<(), Error> {
    let give_up = Instant::now() + SOON;
    while !holds(consumer) {
        streamer.must_run()?;
        let received = timeout_at(give_up, consumer.receive(&mut |_, _| {})).await;
        let Ok(received) = received else {
            let what = format!("{what}; the streamer's log ends:\n{}", streamer.log_tail());
            return Err(Error::Deadline { what, seconds: SOON.as_secs() });
        };
        received?;
    }
    Ok(())
}
