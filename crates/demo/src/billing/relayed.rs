//! By binpulse: streamer, topic, a queue that repeats and reorders, relay.

use std::time::Duration;

use super::super::workload::Random;
use super::super::{
    Aws, Command, Error, Folder, Installed, Shuffler, Shuffling, Standin, Streamer, settings_for,
    standin_environment,
};
use super::receiver::Receiver;
use super::source::Source;
use super::{Billing, Sender, stay_down};

const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Each message comes so often, at most.
const COPIES_MAX: u64 = 3;
const TOPIC: &str = "billing";
const FROM_SNS: &str = "billing-sns";
const TO_RELAY: &str = "billing";

/// Fields are dropped in their order: the senders first.
pub(super) struct Relayed {
    relay: Streamer,
    streamer: Streamer,
    shuffler: Shuffler,
    aws: Aws,
    queue: String,
    kills: [u64; 2],
    _state: Folder,
    _standin: Standin,
}

impl Relayed {
    pub(super) async fn start(
        installed: &Installed,
        billing: &Billing,
        source: &Source,
        receiver: &Receiver,
    ) -> Result<Self, Error> {
        let standin = Standin::start(installed.standin()?).await?;
        let aws = Aws::at(&standin.url());
        let topic = aws.create_topic(TOPIC).await?;
        let from_sns = aws.subscribe_queue(&topic, FROM_SNS, &[]).await?;
        let queue = aws.create_queue(TO_RELAY).await?;
        let how = Shuffling { seed: billing.seed, copies_max: COPIES_MAX };
        let shuffler = Shuffler::start(aws.clone(), from_sns, queue.clone(), how);
        let mut streamer = Streamer::start(streamer(billing, source, &standin, &topic))?;
        streamer.until_ready(READY_DEADLINE).await?;
        let state = Folder::create()?;
        let relay = Streamer::start(relay(billing, receiver, &standin, &queue, &state))?;
        let kills = [0, 0];
        Ok(Self { relay, streamer, shuffler, aws, queue, kills, _state: state, _standin: standin })
    }
}

fn streamer(billing: &Billing, source: &Source, standin: &Standin, topic: &str) -> Command {
    let mut settings = settings_for(&source.mysqld);
    let more = [
        ("stream.name", "billing"),
        ("source.start", "earliest"),
        ("filter.tables", "billing.*"),
        ("checkpoint.interval", "100ms"),
        ("canary.interval", "1s"),
        ("sns.topic", topic),
        ("sns.endpoint_url", &standin.url()),
    ];
    settings.extend(more.map(|(key, value)| (key, value.to_owned())));
    command(billing, "run", settings)
}

fn relay(
    billing: &Billing,
    receiver: &Receiver,
    standin: &Standin,
    queue: &str,
    state: &Folder,
) -> Command {
    let state = format!("file:{}", state.path().join("relay.state").display());
    let settings = [
        ("relay.name", "billing"),
        ("relay.queue", queue),
        ("relay.state", &state),
        ("relay.canaries", "false"),
        ("relay.first_wait", "12s"),
        ("relay.visibility_timeout", "10s"),
        ("relay.to.kind", "webhook"),
        ("relay.to.url", &receiver.url()),
        ("relay.to.secret", Receiver::SECRET),
        ("relay.to.timeout", "1s"),
        // The receiver is on this machine, without TLS.
        ("relay.egress.allow", "127.0.0.0/8"),
        ("relay.egress.ports", &receiver.port().to_string()),
        ("relay.egress.https_only", "false"),
        ("sns.region", Standin::REGION),
        ("sns.endpoint_url", &standin.url()),
    ];
    command(billing, "relay", settings.map(|(key, value)| (key, value.to_owned())).to_vec())
}

fn command(billing: &Billing, name: &str, settings: Vec<(&'static str, String)>) -> Command {
    Command {
        binary: billing.binary.clone(),
        command: name.to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    }
}

impl Sender for Relayed {
    fn name(&self) -> String {
        "binpulse relay".to_owned()
    }

    async fn must_run(&mut self) -> Result<(), Error> {
        self.relay.must_run()?;
        self.streamer.must_run()
    }

    async fn kill(&mut self, random: &mut Random) -> Result<(), Error> {
        // Both have been killed after two kills, for a short demo.
        let [relay, streamer] = &mut self.kills;
        let is_relay = match (*relay, *streamer) {
            (0, 1) => true,
            (1, 0) => false,
            _ => random.below(2) == 0,
        };
        let (process, kills) =
            if is_relay { (&mut self.relay, relay) } else { (&mut self.streamer, streamer) };
        process.kill().await?;
        *kills += 1;
        stay_down(random).await;
        process.start_again().await
    }

    async fn drain(&mut self) -> Result<(), Error> {
        // Its canaries would go on for ever.
        self.streamer.stop().await.map(drop)
    }

    async fn is_busy(&self) -> Result<bool, Error> {
        Ok(self.shuffler.done().held > 0 || self.aws.messages(&self.queue).await? > 0)
    }

    fn faults(&self) -> (Vec<(&'static str, u64)>, Option<u64>) {
        let [relay, streamer] = self.kills;
        (vec![("relay", relay), ("streamer", streamer)], Some(self.shuffler.done().copies))
    }

    fn logs(&self) -> String {
        format!("relay:\n{}\nstreamer:\n{}", self.relay.log_tail(), self.streamer.log_tail())
    }
}
