//! Amazon SNS: the only client to its SDK.
//!
//! ```text
//! Intake -> Topic (queue per topic; per lane with FIFO) -> batch -> Door (one PublishBatch) -> policy
//!              ^                                                                             |
//!              +------------- put back, after a pause ---------------------------------------+
//! ```
//!
//! One loop ([`dispatch`]) runs calls as tasks, which come back with their messages; one
//! [`delivery_state`] holds all state and decides.
//! What goes into a call ([`batch`], [`queue`]), how long to wait ([`pause`]), how fast to be
//! ([`rate`]) and what a failure means ([`policy`]) are pure. The SDK's own retries are off.

mod arn;
mod batch;
mod client;
mod delivery_state;
mod dispatch;
#[cfg(test)]
pub(crate) mod fixture;
mod pause;
pub(super) mod policy;
mod queue;
mod rate;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod stand_in;
pub mod subscriptions;
mod topic;
mod window;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use arn::TopicArn;
pub use client::{MESSAGE_BYTES_DEFAULT, TopicFacts};

use self::client::SnsClient;
use self::dispatch::Dispatcher;
use self::policy::{Action, Failure};
use super::{Error, FailureClass, Health, Intake, OnRefusal, Permit, Settlement};
use crate::aws;

/// How to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// URL of a stand-in or a VPC endpoint; `None`: the service's own for the topic's region.
    pub endpoint_url: Option<String>,
    /// Deadlines of each call.
    pub deadlines: aws::Deadlines,
    /// Most calls in flight, at least 1.
    pub in_flight_max: usize,
    /// What happens after a message was refused for good.
    pub on_refusal: OnRefusal,
    /// Ceiling of the first pause after a failure that passes by itself.
    pub retry_first: Duration,
    /// Largest ceiling of such a pause.
    pub retry_max: Duration,
    /// Shortest pause while an operator has to fix something.
    pub blocked_retry_min: Duration,
    /// Longest such pause.
    pub blocked_retry_max: Duration,
    /// How long `run` may continue delivering after it was asked to stop.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            deadlines: aws::Deadlines::default(),
            in_flight_max: 32,
            on_refusal: OnRefusal::default(),
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            blocked_retry_min: Duration::from_secs(5),
            blocked_retry_max: Duration::from_secs(30),
            grace: Duration::from_secs(20),
        }
    }
}

/// A sink that publishes to SNS topics.
#[derive(Debug)]
pub struct Sns {
    config: Config,
    client: SnsClient,
    topics: Vec<(Arc<str>, TopicFacts)>,
    health: Arc<Health>,
    permit: Permit,
}

impl Sns {
    /// Sets up the client and reads the attributes of `topics`. Messages may name other topics
    /// later (a template): those are read when the first message comes.
    ///
    /// All topics must lie in one region, which is that of `shared`'s configuration if it has one.
    ///
    /// # Errors
    ///
    /// A topic that is none, is missing, denied, in another region, or can't be asked; each says
    /// what to do.
    pub async fn open(
        config: Config,
        shared: &aws::Shared,
        topics: &[Arc<str>],
    ) -> Result<Self, Error> {
        Self::open_with(config, shared, topics, Health::new()).await
    }

    /// The same, with its numbers in `health`: who tries again shows what is in the way meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Sns::open`].
    pub async fn open_with(
        config: Config,
        shared: &aws::Shared,
        topics: &[Arc<str>],
        health: Arc<Health>,
    ) -> Result<Self, Error> {
        let region = region_of(topics, shared.region())?;
        let sdk =
            shared.service(config.endpoint_url.as_deref(), region.as_deref(), config.deadlines);
        let client = SnsClient::new(&sdk);
        let mut known = Vec::with_capacity(topics.len());
        for arn in topics {
            known.push((Arc::clone(arn), facts_at_start(&client, arn, &config, &health).await?));
        }
        Ok(Self { config, client, topics: known, health, permit: Permit::default() })
    }

    /// Publishes only while that is permitted.
    #[must_use]
    pub fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// What the topics that were named at start say of themselves.
    pub fn topics(&self) -> &[(Arc<str>, TopicFacts)] {
        &self.topics
    }

    /// Its numbers, for metrics and the verdict.
    #[cfg(feature = "testing")]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Publishes until the intake has ended or `stop` says so; see the contract of
    /// [`sink`](super).
    pub async fn run(
        self,
        intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let dispatcher = Dispatcher::new(self.config, self.client, self.topics, self.health)
            .permitted(self.permit);
        Box::pin(dispatcher.run(intake, settlements, stop)).await
    }
}

/// Attempts at a topic's attributes at start, if the failure is one that passes.
const ASK_ATTEMPTS: u32 = 3;

async fn facts_at_start(
    client: &SnsClient,
    arn: &str,
    config: &Config,
    health: &Health,
) -> Result<TopicFacts, Error> {
    let mut attempt = 1;
    loop {
        match client.facts(arn).await {
            Ok(facts) => return Ok(facts),
            Err(failure) if failure.action() == Action::Retry && attempt < ASK_ATTEMPTS => {
                tracing::warn!(topic = arn, code = failure.code, "cannot read the topic yet");
                tokio::time::sleep(config.retry_first * attempt).await;
                attempt += 1;
            }
            Err(Failure { class, code, text }) => {
                health.failed(class, 0);
                return Err(Error::Topic {
                    arn: arn.to_owned(),
                    class,
                    code,
                    text,
                    remedy: remedy(class),
                });
            }
        }
    }
}

/// The one region of all topics.
fn region_of(topics: &[Arc<str>], configured: Option<&str>) -> Result<Option<String>, Error> {
    let mut region = configured.map(str::to_owned);
    for arn in topics {
        let parsed = TopicArn::parse(arn)?;
        let expected = region.get_or_insert_with(|| parsed.region.to_owned());
        if expected != parsed.region {
            return Err(Error::OtherRegion {
                arn: arn.to_string(),
                found: parsed.region.to_owned(),
                configured: expected.clone(),
            });
        }
    }
    Ok(region)
}

/// What to do about a topic that can't be read.
fn remedy(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NotFound => "create the topic, or correct the ARN",
        FailureClass::Denied => {
            "allow sns:GetTopicAttributes and sns:Publish on the topic (and kms:GenerateDataKey*, \
             kms:Decrypt on its key, if it has one)"
        }
        FailureClass::Credentials => {
            "give credentials by environment, profile, web identity or instance role, and check \
             the clock"
        }
        FailureClass::Refused | FailureClass::TooLarge | FailureClass::Unknown => {
            "check the ARN and the endpoint URL"
        }
        FailureClass::Timeout | FailureClass::Unreachable => {
            "check the endpoint URL, DNS and the network"
        }
        FailureClass::Throttled | FailureClass::ServerError => "try again later",
    }
}

#[cfg(test)]
mod tests;
