//! The sink that the plan names, and the topics that finalizing needs to know.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Unavailable;
use super::plan::{Plan, SinkPlan};
use crate::aws;
use crate::encode::Destination;
use crate::pipeline::{Claims, Topics};
use crate::sink::claim_check::{self, ClaimCheck};
use crate::sink::null::Null;
use crate::sink::sns::{self, Sns, TopicArn};
use crate::sink::stdout::Stdout;
use crate::sink::topic::{Destinations, Template};
use crate::sink::{self, Health, Intake, OnRefusal, Permit, Settlement};

/// Settlements between the sink and the loop.
pub(super) const SETTLEMENTS_MAX: usize = 4096;
/// Where standard output and nowhere are, as a topic: finalizing needs one.
const NO_TOPIC: &str = "arn:aws:sns:local:000000000000:none";

/// A sink chosen by the configuration.
pub(super) enum AnySink {
    Sns(Sns),
    Stdout(Stdout<io::Stdout>),
    Null(Null),
}

impl AnySink {
    /// Opens it, with its numbers in `health`; for SNS this reads the attributes of the topics that are
    /// known.
    pub(super) async fn open(
        plan: &Plan,
        shared: &aws::Shared,
        health: &Arc<Health>,
    ) -> Result<(Self, Topics), sink::Error> {
        let health = Arc::clone(health);
        match &plan.sink {
            SinkPlan::Sns { template, control_messages, outbox, .. } => {
                let config = sns_config(plan);
                let mut topics = vec![Arc::clone(control_messages)];
                let fixed = [template.fixed(), outbox.as_ref().and_then(Template::fixed)];
                for arn in fixed.into_iter().flatten() {
                    if topics.iter().all(|known| **known != *arn) {
                        topics.push(arn.into());
                    }
                }
                let sns = Sns::open_with(config, shared, &topics, health).await?;
                let known = sns.topics().iter().map(|(arn, facts)| {
                    let destination = Destination {
                        arn: Arc::clone(arn),
                        fifo: facts.fifo,
                        message_bytes_max: facts.message_bytes_max,
                    };
                    (Arc::clone(arn), destination)
                });
                let topics = Topics {
                    tables: Destinations::new(template.clone()),
                    control_messages: Arc::clone(control_messages),
                    outbox: outbox.clone(),
                    known: known.collect(),
                    message_bytes_max: sns::MESSAGE_BYTES_DEFAULT,
                };
                Ok((Self::Sns(sns), topics))
            }
            SinkPlan::Stdout => Ok((Self::Stdout(Stdout::with(io::stdout(), health)), no_topics())),
            SinkPlan::Null => Ok((Self::Null(Null::with(health)), no_topics())),
        }
    }

    /// The same, which publishes only while that is permitted. Standard output is no topic: what is
    /// written there twice is not fenced.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        match self {
            Self::Sns(sink) => Self::Sns(sink.permitted(permit)),
            other @ (Self::Stdout(_) | Self::Null(_)) => other,
        }
    }

    pub(super) async fn run(
        self,
        intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), sink::Error> {
        match self {
            Self::Sns(sink) => sink.run(intake, settlements, stop).await,
            Self::Stdout(sink) => sink.run(intake, settlements, stop).await,
            Self::Null(sink) => sink.run(intake, settlements, stop).await,
        }
    }
}

/// How to publish, from the plan.
pub(super) fn sns_config(plan: &Plan) -> sns::Config {
    let mut config = sns::Config {
        grace: plan.grace,
        on_refusal: if plan.quarantine.refused { OnRefusal::GoOn } else { OnRefusal::Halt },
        ..sns::Config::default()
    };
    if let SinkPlan::Sns { endpoint_url, request_timeout, in_flight_max, .. } = &plan.sink {
        config.endpoint_url.clone_from(endpoint_url);
        config.in_flight_max = *in_flight_max;
        config.deadlines = aws::Deadlines {
            connect: *request_timeout / 3,
            read: *request_timeout * 3 / 4,
            operation: *request_timeout,
        };
    }
    config
}

/// The AWS configuration that the plan asks for. The region is that of the topic unless another is
/// set: nobody has to be asked for it, which takes long where there is no instance metadata.
pub(super) fn aws_config(plan: &Plan) -> aws::Config {
    let region = match &plan.sink {
        SinkPlan::Sns { region, control_messages, .. } => region
            .clone()
            .or_else(|| Some(TopicArn::parse(control_messages).ok()?.region.to_owned())),
        // Of queues that echo canaries their address tells it; without any, nothing asks AWS.
        SinkPlan::Stdout | SinkPlan::Null => {
            plan.freshness.echoes.is_empty().then(|| "none".to_owned())
        }
    };
    aws::Config { region, profile: None }
}

/// Where rows too large for their topic go, if the plan names a bucket.
pub(super) fn claims(plan: &Plan, shared: &aws::Shared) -> Result<Option<Claims>, Unavailable> {
    let (Some(claims), SinkPlan::Sns { control_messages, .. }) = (&plan.claims, &plan.sink) else {
        return Ok(None);
    };
    let region = TopicArn::parse(control_messages)?.region;
    let config = claim_check::Config {
        bucket: claims.bucket.clone(),
        prefix: claims.prefix.clone(),
        endpoint_url: claims.endpoint_url.clone(),
        deadlines: sns_config(plan).deadlines,
    };
    let bucket = ClaimCheck::new(config, shared, region)?;
    Ok(Some(Claims::new(bucket, super::patience::random)))
}

pub(super) fn no_topics() -> Topics {
    let template = Template::parse(NO_TOPIC).unwrap_or_else(|_| unreachable!("a constant ARN"));
    Topics {
        tables: Destinations::new(template),
        control_messages: NO_TOPIC.into(),
        outbox: None,
        known: HashMap::new(),
        message_bytes_max: usize::MAX,
    }
}
