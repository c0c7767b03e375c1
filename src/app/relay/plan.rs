//! Settings become what a relay is made from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Waits;
use binpulse_relay::open;
use binpulse_relay::route::{Config, Filter, GapPolicy};
use binpulse_relay::target::copy::{self, SchemaPolicy};
use binpulse_relay::target::retry::Retry;
use binpulse_relay::target::webhook::{self, Auth, ClientCredentials, Egress, Proxy, SecretSource};
use binpulse_relay::{Order, Share};

use super::heal::StreamerAddress;
use crate::app::plan::formats::format_options;
use crate::app::plan::{HttpPlan, http_plan};
use crate::aws;
use crate::change::{NameCase, Op};
use crate::config::{Error, Values};
use crate::encode::formats::FormatOptions;
use crate::encode::percent_encoded;
use crate::filter::Pattern;

/// Everything that a relay is made from, checked.
#[derive(Debug, Clone)]
pub struct RelayPlan {
    /// The route.
    pub route: Config,
    /// URL of its queue.
    pub queue: String,
    /// Where rows go.
    pub target: Target,
    /// URL of its state, with its password; `None`: the target needs none.
    pub state: Option<String>,
    /// Who publishes missing rows again.
    pub streamer: Option<StreamerAddress>,
    /// Where its pages are, and who may ask.
    pub http: HttpPlan,
    /// Region, if not the queue's.
    pub region: Option<String>,
    /// Endpoint of a stand-in.
    pub endpoint_url: Option<String>,
    /// Connections of a copy.
    pub copies: usize,
    /// Deadline of one attempt.
    pub timeout: Duration,
    /// Endpoint of S3 for a stand-in.
    pub object_endpoint_url: Option<String>,
}

/// Where rows go.
#[derive(Debug, Clone)]
pub enum Target {
    /// Requests over HTTP.
    Webhook(Box<webhook::Config>),
    /// A copy in MySQL, MariaDB or PostgreSQL.
    Copy(copy::Config),
    /// Another SQS queue, by its URL.
    Sqs(String),
    /// An SNS topic, by its ARN.
    Sns(String),
    /// Lines on standard output.
    Stdout,
    /// Nowhere, for measurements.
    Null,
}

impl RelayPlan {
    /// Reads the settings.
    pub fn new(values: &Values) -> Result<Self, Error> {
        let target = target(values)?;
        let state = state(values, &target)?;
        let streamer = values.text_opt("relay.streamer_url").map(|url| {
            StreamerAddress::new(url, values.text_opt("relay.streamer_token").map(str::to_owned))
        });
        let streamer = streamer
            .transpose()
            .map_err(|expected| values.invalid("relay.streamer_url", expected))?;
        Ok(Self {
            route: route(values)?,
            copies: values.size("relay.to.concurrency")?.min(COPIES_MAX),
            timeout: values.duration("relay.to.timeout")?,
            queue: values.text("relay.queue")?.to_owned(),
            target,
            state,
            streamer,
            http: http_plan(values, "relay.listen")?,
            region: values.text_opt("sns.region").map(str::to_owned),
            endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
            object_endpoint_url: values
                .text_opt("sink.claim_check_endpoint_url")
                .map(str::to_owned),
        })
    }
}

impl RelayPlan {
    /// The SDK's settings for the target's service.
    pub(super) fn service(&self, shared: &aws::Shared, region: Option<&str>) -> aws::SdkConfig {
        let deadlines = aws::Deadlines { operation: self.timeout, ..aws::Deadlines::default() };
        shared.service(self.endpoint_url.as_deref(), region.or(shared.region()), deadlines)
    }
}

fn route(values: &Values) -> Result<Config, Error> {
    let order = match values.text("relay.order")? {
        "lane" => Order::Lane,
        "none" => Order::None,
        _ => Order::Key,
    };
    let gap = match values.text("relay.gap")? {
        "halt" => GapPolicy::Halt,
        "declare" => GapPolicy::Declare,
        _ => GapPolicy::Heal,
    };
    let attempts = values.integer("relay.max_attempts")?;
    let max_attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    let format = values.text("relay.to.format")?;
    Ok(Config {
        name: values.text("relay.name")?.to_owned(),
        owner: owner(),
        order,
        rows_max: values.size("relay.to.rows")?,
        request_bytes_max: values.size("relay.to.bytes")?,
        concurrency: values.size("relay.to.concurrency")?,
        waits: waits(values, gap)?,
        gap,
        retry: Retry { max_attempts, ..Retry::default() },
        buffer_bytes: values.size("relay.buffer_bytes")?,
        buffer_rows: values.size("relay.buffer_rows")?,
        pollers: values.size("relay.pollers")?,
        visibility: values.duration("relay.visibility_timeout")?,
        has_snapshots: values.flag("relay.snapshots")?,
        sends_canaries: values.flag("relay.canaries")?,
        format: format_options(values, format)?.unwrap_or(FormatOptions::Binpulse),
        filter: filter(values)?,
        is_alone: is_alone(values),
        share: share(values)?,
        open: open::Limits::default(),
    })
}

/// For how long a message may go from one relay to the other until the one that delivers its lane has it.
const HANDED_OVER: Duration = Duration::from_secs(30);

/// A relay that was killed may have received rows that nobody sees until their visibility ends: they are
/// late, not missing, and a lane begins with them. Only where missing rows are asked for again does it
/// harm nobody to be wrong.
fn waits(values: &Values, gap: GapPolicy) -> Result<Waits, Error> {
    let hidden = values.duration("relay.visibility_timeout")? + HANDED_OVER;
    let least = if gap == GapPolicy::Heal { Duration::ZERO } else { hidden };
    let proven = values.duration("relay.reorder_wait")?.max(least);
    let unproven = values.duration("relay.gap_wait")?.max(hidden);
    Ok(Waits {
        first: values.duration("relay.first_wait")?.max(hidden),
        first_proven: hidden,
        gap: unproven,
        proven,
        // Given up too early they would be skipped when they come.
        proven_end: if gap == GapPolicy::Declare { unproven } else { proven },
    })
}

/// Tells this process apart from others with the same route: host, process and when it began.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let began = chrono::Utc::now().timestamp_micros();
    format!("{}/{}/{began}", host.trim(), std::process::id())
}

fn filter(values: &Values) -> Result<Filter, Error> {
    let parse = |text: &String| {
        Pattern::parse(text, 2)
            .ok_or_else(|| values.invalid("relay.filter.tables", "patterns database.table"))
    };
    let patterns: Vec<_> =
        values.list("relay.filter.tables").iter().map(parse).collect::<Result<_, _>>()?;
    let table = move |database: &str, table: &str| {
        patterns.iter().any(|pattern| pattern.matches(&[database, table], NameCase::default()))
    };
    let op = |text: &String| match text.as_str() {
        "insert" => Ok(Op::Insert),
        "update" => Ok(Op::Update),
        "delete" => Ok(Op::Delete),
        "read" => Ok(Op::Read),
        _ => Err(values.invalid("relay.filter.ops", "insert, update, delete or read")),
    };
    let ops = values.list("relay.filter.ops").iter().map(op).collect::<Result<_, _>>()?;
    let unless_only = values.list("relay.filter.unless_only").to_vec();
    Ok(Filter { table: Arc::new(table), ops, unless_only })
}

/// Whether the state is a file. Several may show rows of one queue, for which there is no state.
fn is_alone(values: &Values) -> bool {
    values.text_opt("relay.state").is_some_and(|url| url.starts_with("file:"))
}

/// Which part of the rows is delivered.
fn share(values: &Values) -> Result<Share, Error> {
    let expected = "a part of 1 such as 0.01, or 0.01-1";
    let share = Share::parse(values.text("relay.share")?);
    share.ok_or_else(|| values.invalid("relay.share", expected))
}

fn target(values: &Values) -> Result<Target, Error> {
    Ok(match values.text("relay.to.kind")? {
        "webhook" => Target::Webhook(Box::new(webhook(values)?)),
        "mysql" | "postgres" => Target::Copy(copy(values)?),
        "sqs" => Target::Sqs(values.text("relay.to.url")?.to_owned()),
        "sns" => Target::Sns(values.text("relay.to.url")?.to_owned()),
        "null" => Target::Null,
        _ => Target::Stdout,
    })
}

fn copy(values: &Values) -> Result<copy::Config, Error> {
    let (kind, url) = (values.text("relay.to.kind")?, values.text("relay.to.url")?);
    if !url.starts_with(&format!("{kind}://")) {
        let expected = format!("{kind}://host:port/database, as relay.to.kind says");
        return Err(values.invalid("relay.to.url", expected));
    }
    if values.list("relay.filter.ops").len() < 4
        || !values.list("relay.filter.unless_only").is_empty()
        || !share(values)?.is_all()
    {
        return Err(Error::Rule(String::from(
            "`relay.filter.ops`, `relay.filter.unless_only` or `relay.share` leaves changes out: a copy \
             needs all of them",
        )));
    }
    let user = values.text_opt("relay.to.user");
    Ok(copy::Config {
        url: with_account(url, user, values.text_opt("relay.to.password")),
        schema: match values.text("relay.to.schema")? {
            "refuse" => SchemaPolicy::Refuse,
            "create" => SchemaPolicy::Create,
            _ => SchemaPolicy::Add,
        },
    })
}

fn webhook(values: &Values) -> Result<webhook::Config, Error> {
    let secrets = ["relay.to.secret", "relay.to.previous_secret"];
    let secrets = secrets.into_iter().filter_map(|key| secret(values, key)).collect();
    let mut config = webhook::Config::new(values.text("relay.to.url")?, secrets);
    let file =
        |key: &'static str| values.path_opt(key).map(|path: PathBuf| SecretSource::file(key, path));
    config.auth = match (file("relay.to.certificate"), file("relay.to.key")) {
        (Some(_), Some(_)) if oauth(values)?.is_some() => {
            return Err(Error::Rule(String::from(
                "`relay.to.oauth` and `relay.to.certificate` can't be used together: set one",
            )));
        }
        (Some(certificate), Some(key)) => Auth::Certificate { certificate, key },
        (None, None) => match (oauth(values)?, secret(values, "relay.to.bearer")) {
            (Some(_), Some(_)) => {
                return Err(Error::Rule(String::from(
                    "`relay.to.bearer` and `relay.to.oauth` are two tokens for one header: set one",
                )));
            }
            (Some(client), None) => Auth::Client(client),
            (None, token) => token.map_or(Auth::None, Auth::Bearer),
        },
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::Rule(String::from(
                "`relay.to.certificate` and `relay.to.key` belong together: set both or none",
            )));
        }
    };
    config.timeout = values.duration("relay.to.timeout")?;
    config.connections = values.size("relay.to.concurrency")?;
    config.authorities = file("relay.to.ca");
    config.egress = egress(values)?;
    Ok(config)
}

/// Who fetches tokens, if somebody does.
fn oauth(values: &Values) -> Result<Option<ClientCredentials>, Error> {
    let Some(token_url) = values.text_opt("relay.to.oauth.token_url") else { return Ok(None) };
    let client_secret = secret(values, "relay.to.oauth.client_secret").ok_or_else(|| {
        Error::Rule(String::from(
            "`relay.to.oauth.client_secret` is not set: `relay.to.oauth.token_url` needs it",
        ))
    })?;
    let text = |key| values.text_opt(key).map(str::to_owned);
    Ok(Some(ClientCredentials {
        token_url: token_url.to_owned(),
        client_id: values.text("relay.to.oauth.client_id")?.to_owned(),
        client_secret,
        scope: text("relay.to.oauth.scope"),
        audience: text("relay.to.oauth.audience"),
    }))
}

fn egress(values: &Values) -> Result<Egress, Error> {
    let allow = values.list("relay.egress.allow").iter().map(|text| {
        let expected = "networks such as 10.0.0.0/8 or addresses";
        let network = text.parse().or_else(|_| text.parse().map(ipnet_of));
        network
            .map_err(|_: std::net::AddrParseError| values.invalid("relay.egress.allow", expected))
    });
    let ports = values.list("relay.egress.ports").iter();
    let ports = ports.map(|text| {
        text.parse().map_err(|_| values.invalid("relay.egress.ports", "ports from 1 to 65535"))
    });
    let proxy = values.text_opt("relay.egress.proxy").map(|text| {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let port = port.parse();
        let port = port.map_err(|_| values.invalid("relay.egress.proxy", "host:port"))?;
        Ok(Proxy { host: host.to_owned(), port, credentials: None })
    });
    Ok(Egress {
        allow: allow.collect::<Result<_, _>>()?,
        ports: ports.collect::<Result<_, Error>>()?,
        https_only: values.flag("relay.egress.https_only")?,
        proxy: proxy.transpose()?,
    })
}

fn ipnet_of(address: std::net::IpAddr) -> ipnet::IpNet {
    ipnet::IpNet::from(address)
}

/// A secret that is read again at each use where it has a file.
fn secret(values: &Values, key: &'static str) -> Option<SecretSource> {
    if let Some(file) = values.file_of(key) {
        return Some(SecretSource::file(key, file));
    }
    let text = values.text_opt(key)?.to_owned();
    Some(SecretSource::new(key, move || Ok(text.clone())))
}

fn state(values: &Values, target: &Target) -> Result<Option<String>, Error> {
    let Some(url) = values.text_opt("relay.state") else {
        return match target {
            Target::Webhook(_) | Target::Sqs(_) | Target::Sns(_) => Err(Error::Rule(String::from(
                "`relay.state` is not set: such a target needs a place for what was delivered, such \
                 as file:/var/lib/binpulse/relay",
            ))),
            Target::Copy(_) | Target::Stdout | Target::Null => Ok(None),
        };
    };
    let user = values.text_opt("relay.state_user");
    Ok(Some(with_account(url, user, values.text_opt("relay.state_password"))))
}

/// A URL with user and password in it.
pub(in crate::app) fn with_account(
    url: &str,
    user: Option<&str>,
    password: Option<&str>,
) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    if user.is_none() && password.is_none() {
        return url.to_owned();
    }
    let user = percent_encoded(user.unwrap_or_default());
    let password = password.map(|password| format!(":{}", percent_encoded(password)));
    format!("{scheme}://{user}{}@{rest}", password.unwrap_or_default())
}

/// Most connections to a copy.
const COPIES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::with_account;

    #[test]
    fn an_account_goes_into_the_url_whatever_characters_it_has() {
        let url = "mysql://db:3306/relay";
        assert_eq!(with_account(url, None, None), url);
        assert_eq!(
            with_account(url, Some("a@b"), Some("p:/ß")),
            "mysql://a%40b:p%3A%2F%C3%9F@db:3306/relay"
        );
        assert_eq!(with_account("file:/a", Some("a"), None), "file:/a");
    }
}
