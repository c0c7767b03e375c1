//! Settings of heartbeats and canaries.

use std::sync::Arc;

use super::source::{host_port, secret};
use super::{Errors, PathRoute};
use crate::config::{Error, Values};
use crate::freshness::canary::path::{CanaryPath, Mark};
use crate::freshness::schema::SchemaName;
use crate::freshness::verdict::{PathAccount, Topology};
use crate::freshness::{Conflict, Periods};
use crate::mysql::ConnectOptions;
use crate::source;

/// Heartbeats and canaries.
#[derive(Debug, Clone)]
pub struct FreshnessPlan {
    /// Where the stream comes from, next to where heartbeats go.
    pub topology: Topology,
    /// Whether heartbeat rows are written.
    pub heartbeats: bool,
    /// Whether canary rows are written.
    pub canaries: bool,
    /// Periods and deadlines.
    pub periods: Periods,
    /// The schema of our tables.
    pub schema: SchemaName,
    /// Where and as whom to write; the place as of the start.
    pub connect: ConnectOptions,
    /// Whether that place follows the stream from server to server: it was not set.
    pub follows_stream: bool,
    /// Consumers who echo canaries: name and queue.
    pub echoes: Vec<(Arc<str>, String)>,
    /// What rows of the operator's tables that are ours are marked with.
    pub mark: Mark,
    /// Paths through these tables.
    pub routes: Vec<PathRoute>,
}

impl FreshnessPlan {
    /// Names of the consumers.
    pub(in crate::app) fn consumers(&self) -> Vec<Arc<str>> {
        self.echoes.iter().map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The consumers' accounts of paths.
    pub(in crate::app) fn path_accounts(&self) -> Vec<PathAccount> {
        let walked = self.routes.iter().filter(|route| route.is_walked());
        let accounts = walked.flat_map(|route| {
            let account = |consumer: &Arc<str>| PathAccount {
                name: route.path.account(consumer),
                consumer: Arc::clone(consumer),
                path: Arc::clone(&route.path.name),
            };
            route.consumers.iter().map(account)
        });
        accounts.collect()
    }

    /// Names of all accounts.
    pub(in crate::app) fn accounts(&self) -> Vec<Arc<str>> {
        let of_paths = self.path_accounts().into_iter().map(|account| account.name);
        self.consumers().into_iter().chain(of_paths).collect()
    }

    /// The paths themselves.
    pub fn paths(&self) -> Vec<CanaryPath> {
        self.routes.iter().map(|route| route.path.clone()).collect()
    }
}

/// Heartbeats and canaries; where the source's own settings are wrong, their mistakes are found all
/// the same.
pub(super) fn plan(
    values: &Values,
    source: Option<&source::Config>,
    errors: &mut Errors,
) -> Option<FreshnessPlan> {
    let periods = errors.take(periods(values));
    for conflict in periods.as_ref().map(Periods::conflicts).unwrap_or_default() {
        errors.push(in_settings(&conflict));
    }
    let echoes = echoes(values, errors);
    let schema = errors.take(schema(values));
    let heartbeats = errors.take(values.flag("heartbeat.enabled"));
    let host = values.text_opt("heartbeat.host");
    let follows_stream = host.is_none();
    let topology = errors.take(topology(values, heartbeats == Some(true) && follows_stream));
    let host = host.map(|host| errors.take(host_port(values, "heartbeat.host", host)));
    let mut connect = errors
        .take(source?.session(0).map_err(|error| Error::Rule(format!("source.hosts: {error}"))))?;
    if let Some(host) = host {
        connect.host = host?;
    }
    if let Some(user) = values.text_opt("heartbeat.user") {
        user.clone_into(&mut connect.user);
    }
    if let Some(password) = secret(values, "heartbeat.password") {
        connect.password = password;
    }
    Some(FreshnessPlan {
        topology: topology?,
        heartbeats: heartbeats?,
        canaries: errors.take(values.flag("canary.enabled"))?,
        periods: periods?,
        schema: schema?,
        connect,
        follows_stream,
        echoes: echoes?,
        mark: Mark::new(values.text_opt("canary.mark").unwrap_or_default(), &source?.stream),
        routes: Vec::new(),
    })
}

fn topology(values: &Values, beats_beside_stream: bool) -> Result<Topology, Error> {
    match values.text("source.role")? {
        "replica" if beats_beside_stream => Err(values.conflict(
            "source.role",
            "heartbeat.host",
            "a heartbeat on a replica proves nothing about its primary; name the primary, or set \
             heartbeat.enabled = false",
        )),
        "replica" => Ok(Topology::Replica),
        _ => Ok(Topology::Primary),
    }
}

fn periods(values: &Values) -> Result<Periods, Error> {
    Ok(Periods {
        protocol_heartbeat: values.duration("source.heartbeat_period")?,
        heartbeat_interval: values.duration("heartbeat.interval")?,
        canary_interval: values.duration("canary.interval")?,
        write_deadline: values.duration("heartbeat.write_deadline")?,
        heartbeat_deadline: values.duration("heartbeat.seen_deadline")?,
        publish_deadline: super::sink::request_timeout(values)?,
        canary_deadline: values.duration("canary.deadline")?,
        ..Periods::default()
    })
}

fn echoes(values: &Values, errors: &mut Errors) -> Option<Vec<(Arc<str>, String)>> {
    const KEY: &str = "canary.echo";
    let found = values.list(KEY).iter().map(|text| match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && url.starts_with("http") => {
            Ok((Arc::from(name), url.to_owned()))
        }
        Some(_) | None => {
            Err(values.invalid(KEY, format!("consumer=queue-url (http or https), not `{text}`")))
        }
    });
    let found: Vec<_> = found.map(|echo| errors.take(echo)).collect();
    found.into_iter().collect()
}

fn schema(values: &Values) -> Result<SchemaName, Error> {
    SchemaName::new(values.text("heartbeat.schema")?)
        .map_err(|error| values.invalid("heartbeat.schema", error.to_string()))
}

/// The rule in the words of the settings.
pub(in crate::app) fn in_settings(conflict: &Conflict) -> Error {
    let mut text = conflict.to_string();
    for (period, key) in [
        ("protocol_heartbeat", "source.heartbeat_period"),
        ("heartbeat_interval", "heartbeat.interval"),
        ("canary_interval", "canary.interval"),
        ("write_deadline", "heartbeat.write_deadline"),
        ("heartbeat_deadline", "heartbeat.seen_deadline"),
        ("publish_deadline", "sns.request_timeout"),
        ("canary_deadline", "canary.deadline"),
        // Not settings: what they are made of.
        ("receive_deadline", "3 x source.heartbeat_period + 1s"),
        ("tick", "time between two evaluations"),
        ("probe_timeout", "deadline of one query to the server"),
    ] {
        text = text.replace(period, key);
    }
    Error::Rule(text)
}
