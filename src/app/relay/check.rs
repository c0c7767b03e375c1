//! What a relay would meet: its address, queue, state, target, streamer, and how its queue is subscribed.
//! No message is received and no request is sent.

use std::time::Duration;

use binpulse_relay::queue::{Facts, Queue};
use binpulse_relay::route::GapPolicy;
use binpulse_relay::state::{ParkedFilter, StateError, Store};
use binpulse_relay::target::copy::{self, Copy};
use binpulse_relay::target::webhook::{self, Webhook};
use tokio::net::TcpListener;

use super::RelayPlan;
use super::plan::Target;
use crate::app::check::Report;
use crate::aws;
use crate::sink::sns::subscriptions::{self, Subscription};

/// A retention below which an outage over a long weekend loses messages.
const RETENTION_MIN: Duration = Duration::from_hours(4 * 24);
/// Receives that a message is given back so often in normal operation: by restarts, by lanes that
/// another relay holds, and to make room.
const RECEIVES_MIN: u64 = 100;

/// Looks at everything. `topic`: one that the queue is subscribed to, where its policy names none.
pub async fn check(plan: &RelayPlan, topic: Option<&str>) -> Vec<Report> {
    let mut reports = vec![listen(plan).await];
    state(plan, &mut reports).await;
    target(plan, &mut reports).await;
    streamer(plan, &mut reports).await;
    let config = aws::Config { region: plan.region.clone(), profile: None };
    match aws::Shared::load(&config).await {
        Ok(shared) => {
            queue(plan, &shared, topic, &mut reports).await;
            if let Target::Sqs(url) = &plan.target {
                reports.push(of_queue(plan, &shared, url).await);
            }
        }
        Err(error) => {
            let (needed, remedy) = ("valid settings for AWS", "correct it where it is set");
            reports.push(Report::wrong("AWS", error.to_string(), needed, remedy));
        }
    }
    reports
}

async fn listen(plan: &RelayPlan) -> Report {
    let address = plan.http.address;
    match TcpListener::bind(address).await {
        Ok(_) => Report::fine("relay.listen", address.to_string()),
        Err(error) => Report::wrong(
            "relay.listen",
            format!("{address}: {error}"),
            "an address of this machine that is free",
            "change relay.listen, or stop what listens there; beside a running relay this is as it \
             should be",
        ),
    }
}

async fn state(plan: &RelayPlan, reports: &mut Vec<Report>) {
    const WHAT: &str = "relay.state";
    let Some(url) = &plan.state else {
        reports.push(Report::fine(WHAT, "none: the target needs none"));
        return;
    };
    let found = async {
        let store = Store::open(url, &plan.route.name).await?;
        let (lanes, parked) =
            (store.lanes().await?.len(), store.parked_count(&ParkedFilter::default()).await?);
        Ok::<_, StateError>(format!("{lanes} lanes, {parked} parked requests"))
    };
    reports.push(match found.await {
        Ok(found) => Report::fine(WHAT, found),
        Err(StateError::Unfit { place, found, needed, remedy }) => {
            Report::wrong(WHAT, format!("{place}: {found}"), &needed, &remedy)
        }
        Err(error @ StateError::Unavailable { .. }) => Report::wrong(
            WHAT,
            error.to_string(),
            "a store that answers (docs/operate/relay-state.md)",
            "check address, account and network of relay.state",
        ),
    });
}

/// What needs no AWS.
async fn target(plan: &RelayPlan, reports: &mut Vec<Report>) {
    match &plan.target {
        Target::Webhook(config) => reports.push(of_webhook(config).await),
        Target::Copy(config) => reports.push(of_copy(config).await),
        Target::Sqs(_) | Target::Sns(_) | Target::Stdout | Target::Null => {}
    }
}

async fn of_copy(config: &copy::Config) -> Report {
    const WHAT: &str = "relay.to";
    match Box::pin(Copy::open(config.clone())).await {
        Ok(copy) => Report::fine(WHAT, copy.place()),
        Err(error) => Report::wrong(
            WHAT,
            error.to_string(),
            "a database that answers and an account that may write to it",
            "check relay.to.url, relay.to.user, relay.to.password and the network",
        ),
    }
}

/// A queue that rows are sent to.
async fn of_queue(plan: &RelayPlan, shared: &aws::Shared, url: &str) -> Report {
    const WHAT: &str = "relay.to.url";
    let sdk = plan.service(shared, aws::region_of_queue(url));
    let queue = Queue::new(aws_sdk_sqs::Client::new(&sdk), url, plan.route.visibility);
    match queue.facts().await {
        Ok(_) => Report::fine(WHAT, format!("{url}; nothing was sent")),
        // Who may send need not be allowed to ask.
        Err(error) => Report::warning(
            WHAT,
            format!("not checked: {error}"),
            "a queue that is there, and sqs:GetQueueAttributes on it, for this check only",
            "check relay.to.url and the region, and allow sqs:SendMessage on the queue",
        ),
    }
}

async fn of_webhook(config: &webhook::Config) -> Report {
    const WHAT: &str = "relay.to.url";
    let webhook = match Webhook::new(config.clone()) {
        Ok(webhook) => webhook,
        Err(error) => {
            let found = format!("{}: {}", error.setting, error.found);
            return Report::wrong("relay.to", found, error.needed, error.remedy);
        }
    };
    match webhook.addresses().await {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(|it| it.ip().to_string()).collect();
            let found = format!("{} at {}", webhook.place(), addresses.join(", "));
            let found = if addresses.is_empty() { webhook.place() } else { found };
            Report::fine(WHAT, found + "; no request was sent")
        }
        Err(error) => Report::wrong(
            WHAT,
            format!("{}: {error}", webhook.place()),
            "a name that resolves to an address that may be reached",
            "correct relay.to.url; for a private network that is meant, add it to relay.egress.allow",
        ),
    }
}

async fn streamer(plan: &RelayPlan, reports: &mut Vec<Report>) {
    const WHAT: &str = "relay.streamer_url";
    if plan.route.gap != GapPolicy::Heal {
        return;
    }
    reports.push(match &plan.streamer {
        None => Report::warning(
            WHAT,
            "not set, with relay.gap = heal: a lane with missing rows halts until an operator acts"
                .to_owned(),
            "the streamer's http.listen",
            "set relay.streamer_url, and relay.streamer_token to its http.token",
        ),
        Some(streamer) => match streamer.try_out().await {
            Ok(address) => Report::fine(WHAT, address),
            Err(error) => Report::warning(
                WHAT,
                error,
                "a streamer that answers and takes the token; without it missing rows halt their lane",
                "check relay.streamer_url, relay.streamer_token and the network between the two",
            ),
        },
    });
}

async fn queue(
    plan: &RelayPlan,
    shared: &aws::Shared,
    topic: Option<&str>,
    reports: &mut Vec<Report>,
) {
    const NEEDED: &str = "a queue that the relay may read, and delete from";
    const REMEDY: &str = "check relay.queue and the region, and allow sqs:ReceiveMessage, \
                          sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes \
                          on the queue (and kms:Decrypt on its key, if it has one)";
    let sdk = plan.service(shared, aws::region_of_queue(&plan.queue));
    let queue =
        Queue::new(aws_sdk_sqs::Client::new(&sdk), plan.queue.clone(), plan.route.visibility);
    let what = format!("queue {}", plan.queue);
    let facts = match queue.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            reports.push(Report::wrong(&what, error.to_string(), NEEDED, REMEDY));
            return;
        }
    };
    reports.push(match queue.may_finish().await {
        Ok(()) => {
            let kind = if aws::is_fifo(&plan.queue) { "FIFO" } else { "standard" };
            let (visible, hidden) = (facts.visible, facts.hidden);
            Report::fine(
                &what,
                format!("{kind}, about {visible} messages wait and {hidden} are hidden"),
            )
        }
        Err(error) => Report::wrong(&what, error.to_string(), NEEDED, REMEDY),
    });
    reports.extend(settings(&facts));
    let named = topic.map_or_else(|| facts.topics.clone(), |topic| vec![topic.to_owned()]);
    if named.is_empty() {
        reports.push(Report::warning(
            "subscription",
            "not checked: no topic is known, because the queue's policy names none".to_owned(),
            "a subscription that admits what the settings need",
            "name the topic by --topic ARN; the queue's policy should let only that topic send",
        ));
    }
    for topic in named {
        let region = topic.split(':').nth(3).filter(|region| !region.is_empty());
        let sdk = shared.service(plan.endpoint_url.as_deref(), region, aws::Deadlines::default());
        let found = subscriptions::of_queue(&sdk, &topic, &facts.arn).await;
        reports.extend(subscribed(plan, &topic, found));
    }
}

/// Retention and dead letter queue.
fn settings(facts: &Facts) -> Vec<Report> {
    const RETENTION: &str = "retention of the queue";
    const DEAD_LETTERS: &str = "dead letter queue of the queue";
    let hours = facts.retention.as_secs() / 3600;
    let retention = if facts.retention < RETENTION_MIN {
        Report::warning(
            RETENTION,
            format!("{hours} h"),
            "4 days or more: what is not delivered by then is lost",
            "set MessageRetentionPeriod of the queue to 1209600 (14 days)",
        )
    } else {
        Report::fine(RETENTION, format!("{hours} h"))
    };
    let dead_letters = match &facts.dead_letters {
        Some(dead) if dead.receives_max < RECEIVES_MIN => Report::warning(
            DEAD_LETTERS,
            format!("{} after {} receives", dead.arn, dead.receives_max),
            "none, or after 100 receives or more: restarts and other relays of the route give messages \
             back, and the relay parks what can't be delivered",
            "set maxReceiveCount of the queue's redrive policy to 1000",
        ),
        Some(dead) => {
            Report::fine(DEAD_LETTERS, format!("{} after {} receives", dead.arn, dead.receives_max))
        }
        None => Report::fine(DEAD_LETTERS, "none: the relay parks what can't be delivered"),
    };
    vec![retention, dead_letters]
}

/// What the subscriptions of the queue admit.
fn subscribed(
    plan: &RelayPlan,
    topic: &str,
    found: Result<Vec<Subscription>, String>,
) -> Vec<Report> {
    let what = format!("subscription to {topic}");
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let needed = "sns:ListSubscriptionsByTopic and sns:GetSubscriptionAttributes, for this check \
                          only";
            let remedy = "allow both, or look at the subscription's filter policy yourself";
            return vec![Report::warning(&what, format!("not checked: {error}"), needed, remedy)];
        }
    };
    if found.is_empty() {
        return vec![Report::wrong(
            &what,
            "the queue is not subscribed".to_owned(),
            "a subscription of the queue",
            "subscribe the queue to the topic (docs/setup/aws.md)",
        )];
    }
    let mut reports = Vec::new();
    if found.iter().any(|subscription| subscription.looks_at_bodies) {
        reports.push(Report::wrong(
            &what,
            "FilterPolicyScope is MessageBody".to_owned(),
            "MessageAttributes: bodies are compressed",
            "set FilterPolicyScope of the subscription to MessageAttributes",
        ));
        return reports;
    }
    let passes = |kind, replay| found.iter().any(|it| it.admits(kind, replay));
    let route = &plan.route;
    let mut lacks = |refuses, text: String, remedy: &str| {
        let wrong = Report::wrong(&what, text, "a filter policy that admits it", remedy);
        reports.push(Report { refuses, ..wrong });
    };
    if !passes("change", None) {
        let remedy = "add \"change\" to `kind` of the filter policy";
        lacks(
            true,
            "messages of kind change do not pass: there is nothing to deliver".into(),
            remedy,
        );
    }
    if route.has_snapshots && !passes("snapshot", None) {
        let remedy =
            "add \"snapshot\" to `kind` of the filter policy, or set relay.snapshots = false";
        lacks(
            true,
            "messages of kind snapshot do not pass, and rows would wait for them".into(),
            remedy,
        );
    }
    if !passes("suppressed", None) {
        let remedy = "add \"suppressed\" to `kind` of the filter policy";
        lacks(
            false,
            "messages of kind suppressed do not pass: their numbers look lost".into(),
            remedy,
        );
    }
    if !passes("canary", None) {
        let remedy = "add \"canary\" to `kind` of the filter policy";
        let text = "canaries do not pass: that rows are missing is found only after relay.gap_wait";
        lacks(false, text.into(), remedy);
    }
    if route.gap == GapPolicy::Heal && !passes("change", Some(&route.name)) {
        let name = &route.name;
        let remedy =
            format!("set `replay` of the filter policy to [{{\"exists\": false}}, \"{name}\"]");
        lacks(false, format!("replays for {name} do not pass: gaps are not healed"), &remedy);
    }
    if matches!(plan.target, Target::Copy(_)) && passes("outbox", None) {
        reports.push(outbox_into_copy(&what));
    }
    if reports.is_empty() {
        reports.push(Report::fine(&what, "admits what the settings need"));
    }
    reports
}

fn outbox_into_copy(what: &str) -> Report {
    let found = "messages of kind outbox pass: a copy can only park them".to_owned();
    let remedy =
        "leave \"outbox\" out of `kind` of the filter policy, and deliver it by another relay";
    let needed = "a filter policy that leaves them out";
    Report { refuses: false, ..Report::wrong(what, found, needed, remedy) }
}

#[cfg(test)]
mod tests {
    use binpulse_relay::queue::DeadLetters;
    use serde_json::json;

    use super::*;
    use crate::config::{Environment, load};

    fn plan(settings: &[(&'static str, &str)]) -> RelayPlan {
        let mut flags = vec![
            ("relay.queue", "http://localhost/queue".to_owned()),
            ("relay.to.kind", "null".to_owned()),
            ("relay.name", "billing".to_owned()),
        ];
        flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let values = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
        RelayPlan::new(&values.expect("settings")).expect("a plan")
    }

    fn with_policy(policy: serde_json::Value) -> Vec<Subscription> {
        vec![Subscription {
            arn: "arn:s".into(),
            filter_policy: Some(policy),
            looks_at_bodies: false,
            has_dead_letters: false,
        }]
    }

    fn wrong(plan: &RelayPlan, policy: serde_json::Value) -> Vec<(bool, String)> {
        let reports = subscribed(plan, "arn:t", Ok(with_policy(policy))).into_iter();
        reports.filter(|it| !it.ok).map(|it| (it.refuses, it.found)).collect()
    }

    #[test]
    fn a_filter_policy_is_held_against_the_settings() {
        let all = json!(["change", "suppressed", "snapshot", "canary"]);
        let heals = plan(&[]);
        let good = json!({"kind": all, "replay": [{"exists": false}, "billing"]});
        assert_eq!(wrong(&heals, good), []);
        let found = wrong(&heals, json!({"kind": all, "replay": [{"exists": false}]}));
        assert!(matches!(&found[..], [(false, text)] if text.contains("for billing")), "{found:?}");
        let only = json!({"kind": ["change"]});
        let refused: Vec<_> = wrong(&heals, only.clone()).iter().map(|(it, _)| *it).collect();
        assert_eq!(refused, [true, false, false], "snapshot, suppressed, canary");
        let simple = plan(&[("relay.snapshots", "false"), ("relay.gap", "halt")]);
        assert_eq!(wrong(&simple, only).len(), 2);
        let none = subscribed(&simple, "arn:t", Ok(Vec::new()));
        assert!(none[0].refuses && none[0].found.contains("not subscribed"));
        let denied = subscribed(&simple, "arn:t", Err("AuthorizationError".into()));
        assert!(!denied[0].ok && !denied[0].refuses, "what can't be checked refuses nothing");
        let copy = plan(&[("relay.to.kind", "mysql"), ("relay.to.url", "mysql://localhost/relay")]);
        let with_outbox = json!({"kind": ["change", "suppressed", "snapshot", "canary", "outbox"]});
        let found = wrong(&copy, with_outbox.clone());
        assert!(
            matches!(&found[..], [(false, text)] if text.contains("can only park")),
            "{found:?}"
        );
        assert_eq!(wrong(&heals, with_outbox), []);
        let mut bodies = with_policy(json!({}));
        bodies[0].looks_at_bodies = true;
        assert!(subscribed(&simple, "arn:t", Ok(bodies))[0].refuses);
    }

    #[test]
    fn short_retention_and_few_receives_are_warned_of() {
        let dead = |receives_max| Some(DeadLetters { arn: "arn:dead".into(), receives_max });
        let facts = |days: u64, dead_letters| Facts {
            retention: Duration::from_hours(24 * days),
            dead_letters,
            ..Facts::default()
        };
        let fine = |facts: &Facts| settings(facts).iter().map(|it| it.ok).collect::<Vec<_>>();
        assert_eq!(fine(&facts(4, None)), [true, true]);
        assert_eq!(fine(&facts(3, dead(100))), [false, true]);
        assert_eq!(fine(&facts(14, dead(99))), [true, false]);
        assert!(settings(&facts(1, dead(3))).iter().all(|it| !it.refuses));
    }
}
