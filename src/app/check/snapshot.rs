//! The snapshot that a new stream begins with: whether its tables can be read.

use super::Report;
use crate::app::plan::Plan;
use crate::mysql::HostPort;
use crate::snapshot::{ReadError, Reader, Unreadable, unseen};
use crate::source;

/// Most tables that are looked at.
const TABLES_MAX: usize = 1_000;
/// Most tables that are told one by one.
const TOLD_MAX: usize = 50;

const WHAT: &str = "snapshot.on_start";
const NEEDED: &str =
    "tables that can be read in chunks; without it the stream runs, and lacks their rows";

/// Looks at each table that is published, if a stream begins with a snapshot. Nothing here keeps `run`
/// from starting.
pub(super) async fn check(plan: &Plan, reports: &mut Vec<Report>) {
    if !plan.snapshot.on_start {
        return;
    }
    match tables(plan, reports).await {
        Ok(Tally { readable, looked, unlooked }) => {
            let more = if unlooked > 0 {
                format!("; {unlooked} more were not looked at")
            } else {
                String::new()
            };
            let found = format!("{readable} of {looked} tables can be read{more}");
            if looked == 0 {
                let remedy = "GRANT SELECT to the account on the databases that are published: it sees no \
                              table of them";
                reports.push(wrong(WHAT, found, remedy));
            } else {
                reports.push(Report::fine(WHAT, found));
            }
        }
        Err(error) => {
            let remedy =
                "check snapshot.host, or source.hosts, and that the account may read there";
            reports.push(wrong(WHAT, error.to_string(), remedy));
        }
    }
}

struct Tally {
    readable: usize,
    looked: usize,
    unlooked: usize,
}

async fn tables(plan: &Plan, reports: &mut Vec<Report>) -> Result<Tally, ReadError> {
    let mut reader = connect(plan).await?;
    reader.locks_keyless(plan.snapshot.locks_keyless);
    let own = plan.freshness.schema.as_str();
    let mut tables = reader.tables().await?;
    for pattern in unseen(&plan.filter, &tables) {
        let found = format!(
            "`{}` of filter.tables matches no table that the account may see",
            pattern.as_str()
        );
        let remedy = "GRANT SELECT to the account on these tables, or take the pattern away: until \
                      then, no table is read";
        reports.push(wrong(WHAT, found, remedy));
    }
    tables.retain(|(database, table)| database != own && plan.filter.wants(database, table));
    let unlooked = tables.len().saturating_sub(TABLES_MAX);
    tables.truncate(TABLES_MAX);
    let (mut readable, mut untold) = (0, 0);
    for (told, (database, table)) in tables.iter().enumerate() {
        let Err(unreadable) = reader.layout(database, table).await? else {
            readable += 1;
            continue;
        };
        if told - readable < TOLD_MAX {
            let remedy = remedy(plan, &unreadable, database);
            reports.push(wrong(
                &format!("snapshot of {database}.{table}"),
                unreadable.to_string(),
                &remedy,
            ));
        } else {
            untold += 1;
        }
    }
    if untold > 0 {
        let found = format!("{untold} more tables can't be read");
        reports.push(wrong(WHAT, found, "fix those that are named, then check again"));
    }
    Ok(Tally { readable, looked: tables.len(), unlooked })
}

/// The server that chunks are read from: the first that lets us in.
async fn connect(plan: &Plan) -> Result<Reader, ReadError> {
    let hosts: Vec<HostPort> = match &plan.snapshot.host {
        Some(host) => vec![host.clone()],
        None => plan.source.hosts.clone(),
    };
    let last = hosts.len().saturating_sub(1);
    let config = source::Config { hosts, ..plan.source.clone() };
    for host in 0..last {
        if let Ok(reader) = Reader::connect(&config, host).await {
            return Ok(reader);
        }
    }
    Reader::connect(&config, last).await
}

fn remedy(plan: &Plan, unreadable: &Unreadable, database: &str) -> String {
    match unreadable {
        Unreadable::Denied | Unreadable::Missing => {
            let user = plan.source.user.replace('\'', "''");
            format!("GRANT SELECT ON `{}`.* TO '{user}'@'%';", database.replace('`', "``"))
        }
        Unreadable::Key(_) => {
            "ALTER TABLE ... ADD PRIMARY KEY (...), or leave it out: filter.exclude".to_owned()
        }
        Unreadable::Kind(_)
        | Unreadable::Engine(_)
        | Unreadable::Column { .. }
        | Unreadable::Unsettled => "fix what is said, or leave it out: filter.exclude".to_owned(),
    }
}

fn wrong(what: &str, found: String, remedy: &str) -> Report {
    Report { refuses: false, ..Report::wrong(what, found, NEEDED, remedy) }
}
