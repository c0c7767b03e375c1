//! A dead letter queue, moved back to the queue of a route at a bounded rate.

use std::time::Duration;

use binpulse_relay::queue::{QueueError, Redrive};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::SQS;
use crate::app::Unavailable;
use crate::aws;
use crate::config::{Error, Values};

/// Messages beyond those that were there at the beginning: counts of SQS are approximate.
const MORE_MAX: u64 = 1_000;
/// Time between two reports of progress.
const TELL: Duration = Duration::from_secs(10);

/// Which messages go where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivePlan {
    from: String,
    to: String,
    per_second: u32,
    region: Option<String>,
    endpoint_url: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Messages that were moved.
    pub moved: u64,
    /// Messages that are left, about.
    pub left: u64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

impl RedrivePlan {
    /// From the queue at `from` to `relay.queue`, so many messages a second.
    pub fn new(values: &Values, from: &str, per_second: u32) -> Result<Self, Error> {
        let to = values.text("relay.queue")?.to_owned();
        let wrong = |why: &str| Err(Error::Rule(format!("--from {from}: {why}")));
        if from == to {
            return wrong("is relay.queue itself: name its dead letter queue");
        }
        if !from.starts_with("https://") && !from.starts_with("http://") {
            return wrong(
                "is no URL of a queue, such as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
            );
        }
        if aws::is_fifo(from) != aws::is_fifo(&to) {
            return wrong("is of another type than relay.queue: both must be FIFO, or neither");
        }
        Ok(Self {
            from: from.to_owned(),
            to,
            per_second: per_second.max(1),
            region: values.text_opt("sns.region").map(str::to_owned),
            endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        })
    }
}

/// Moves messages until the queue is empty or `stop` is cancelled. `tell` learns now and then how many
/// were moved, and how many there were.
pub async fn redrive(
    plan: &RedrivePlan,
    stop: &CancellationToken,
    mut tell: impl FnMut(u64, u64),
) -> Result<Redriven, Unavailable> {
    let config = aws::Config { region: plan.region.clone(), profile: None };
    let shared = aws::Shared::load(&config).await?;
    let region = aws::region_of_queue(&plan.to).or(shared.region());
    let sdk = shared.service(plan.endpoint_url.as_deref(), region, SQS);
    let redrive = Redrive::new(&aws_sdk_sqs::Client::new(&sdk), &plan.from, &plan.to);
    let total = redrive.left().await?;
    tell(0, total);
    let mut moved = 0;
    let done = messages(plan, &redrive, stop, &mut moved, total, &mut tell).await;
    if let Err(error) = done {
        return Err(format!("{error}; {moved} messages were moved before").into());
    }
    let left = redrive.left().await?;
    Ok(Redriven { moved, left, interrupted: stop.is_cancelled() })
}

async fn messages(
    plan: &RedrivePlan,
    redrive: &Redrive,
    stop: &CancellationToken,
    moved: &mut u64,
    total: u64,
    tell: &mut impl FnMut(u64, u64),
) -> Result<(), QueueError> {
    let mut turns = interval(Duration::from_secs(1) / plan.per_second);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    // What comes back to the dead letter queue meanwhile would go round for ever.
    while *moved < total.saturating_add(MORE_MAX) {
        let messages = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            messages = redrive.receive() => messages?,
        };
        if messages.is_empty() {
            return Ok(());
        }
        for (index, message) in messages.iter().enumerate() {
            let failed = tokio::select! {
                biased;
                () = stop.cancelled() => Some(Ok(())),
                _ = turns.tick() => redrive.move_back(message).await.err().map(Err),
            };
            if let Some(end) = failed {
                let rest = messages.get(index..).unwrap_or_default();
                return end.and(redrive.give_back(rest).await);
            }
            *moved += 1;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(*moved, total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    fn plan(from: &str, to: &str) -> Result<RedrivePlan, Error> {
        let flags = [("relay.queue", to.to_owned())];
        let values = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
        RedrivePlan::new(&values.expect("settings"), from, 10)
    }

    #[test]
    fn only_another_queue_of_the_same_type_is_moved() {
        let queue = "https://sqs.eu-central-1.amazonaws.com/123456789012/partners";
        assert!(plan(&format!("{queue}-dead"), queue).is_ok());
        for (from, why) in [
            (queue.to_owned(), "itself"),
            ("partners-dead".to_owned(), "no URL"),
            (format!("{queue}-dead.fifo"), "another type"),
        ] {
            let error = plan(&from, queue).expect_err(&from).to_string();
            assert!(error.contains(why) && error.contains(&from), "{error}");
        }
    }
}
