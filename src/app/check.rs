//! What `run` would meet: every finding about server, account, schema and topic, none of them fatal
//! for the look at the others.

use super::plan::{Plan, SinkPlan};
use super::sink::{AnySink, aws_config};
use super::source::demands;
use crate::aws;
use crate::mysql::Session;
use crate::mysql::SharedHost;
use crate::pulse::Writer;
use crate::pulse::schema::{CANARY, HEARTBEAT};
use crate::source::preflight::{self, Severity};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub what: String,
    /// What it is.
    pub found: String,
    /// What it should be; empty when it is fine.
    pub needed: String,
    /// What mends it; empty when it is fine.
    pub mend: String,
    /// Whether it is fine.
    pub ok: bool,
    /// Whether `run` would refuse to start.
    pub refuses: bool,
}

impl Report {
    fn fine(what: &str, found: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            found: found.into(),
            needed: String::new(),
            mend: String::new(),
            ok: true,
            refuses: false,
        }
    }

    fn wrong(what: &str, found: String, needed: &str, mend: &str) -> Self {
        Self {
            what: what.to_owned(),
            found,
            needed: needed.to_owned(),
            mend: mend.to_owned(),
            ok: false,
            refuses: true,
        }
    }

    /// As one JSON document.
    pub fn json(&self) -> String {
        serde_json::json!({
            "what": self.what,
            "found": self.found,
            "needed": self.needed,
            "mend": self.mend,
            "ok": self.ok,
            "refuses": self.refuses,
        })
        .to_string()
    }
}

/// Looks at everything.
pub async fn run(plan: &Plan) -> Vec<Report> {
    let mut reports = Vec::new();
    for host in 0..plan.source.hosts.len() {
        source(plan, host, &mut reports).await;
    }
    if plan.pulse.heartbeats || plan.pulse.canaries {
        pulse(plan, &mut reports).await;
    }
    sink(plan, &mut reports).await;
    reports
}

async fn source(plan: &Plan, host: usize, reports: &mut Vec<Report>) {
    let Ok(options) = plan.source.session(host) else { return };
    let what = format!("server {}", options.host);
    let facts = async {
        let mut session = Session::connect(&options).await?;
        let facts = preflight::collect(&mut session).await?;
        session.close().await;
        Ok::<_, crate::mysql::Error>(facts)
    };
    let facts = match facts.await {
        Ok(facts) => facts,
        Err(error) => {
            let error = crate::source::Error::from(error);
            let needed = "a server that answers";
            reports.push(Report::wrong(&what, error.to_string(), needed, error.remedy()));
            return;
        }
    };
    reports.push(Report::fine(&what, format!("{} {}", facts.flavor, facts.version)));
    for finding in preflight::judge(&facts, &demands(plan)) {
        reports.push(Report {
            what: format!("{what}: {}", finding.what),
            found: finding.found,
            needed: finding.needed.to_owned(),
            mend: finding.mend,
            ok: false,
            refuses: finding.severity == Severity::Refuse,
        });
    }
}

/// The writer's account and our tables. Without them the stream runs, but can't be proven alive.
async fn pulse(plan: &Plan, reports: &mut Vec<Report>) {
    let config = super::pulse::writer_config(
        plan,
        &SharedHost::new(plan.pulse.connect.host.clone()),
        String::new(),
    );
    let mut writer = match Writer::connect(&config).await {
        Ok(writer) => writer,
        Err(refusal) => {
            let mut report = Report::wrong(
                "heartbeat writer",
                refusal.message,
                "an account that may write to the schema, and no more",
                "run `binpulse init --print` and give its statements to a DBA",
            );
            report.refuses = false;
            reports.push(report);
            return;
        }
    };
    for table in [HEARTBEAT, CANARY] {
        let name = plan.pulse.schema.table(table);
        let look = format!("SELECT 1 FROM {name} LIMIT 1");
        match writer.session.query(&look).await {
            Ok(_) => reports.push(Report::fine("table", name)),
            Err(error) => {
                let mut report = Report::wrong(
                    "table",
                    error.to_string(),
                    "the table, and SELECT, INSERT, UPDATE, DELETE on it",
                    "run `binpulse init`, or give the output of `binpulse init --print` to a DBA",
                );
                report.refuses = false;
                reports.push(report);
            }
        }
    }
}

async fn sink(plan: &Plan, reports: &mut Vec<Report>) {
    if !matches!(plan.sink, SinkPlan::Sns { .. }) {
        return;
    }
    let shared = aws::Shared::load(&aws_config(plan)).await;
    match AnySink::open(plan, &shared).await {
        Ok((_, topics)) => {
            for topic in topics.known.values() {
                let kind = if topic.fifo { "FIFO" } else { "standard" };
                let found = format!("{kind}, messages up to {} bytes", topic.message_bytes_max);
                reports.push(Report::fine(&format!("topic {}", topic.arn), found));
            }
        }
        Err(error) => reports.push(Report::wrong(
            "topic",
            error.to_string(),
            "a topic that exists and may be published to",
            "see the message",
        )),
    }
}
