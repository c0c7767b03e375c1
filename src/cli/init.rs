//! `init`: binpulse's schema in the source database.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::style::say;
use super::{Exit, flags, run, runtime};
use crate::app::plan::Plan;
use crate::filter::Pattern;
use crate::freshness::schema::{Accounts, Dialect, create, script};
use crate::mysql::{HostPort, Session};

const LONG_ABOUT: &str = "\
Creates the schema with the heartbeat, canary and checkpoint tables in the source database.
Running it again changes nothing.

Examples:
  binpulse init --print > binpulse.sql
  binpulse init --config binpulse.toml

The account needs CREATE on the schema. With --print nothing is done: the statements and the
least-privilege grants are printed for a DBA, with <password> where a password in quotes
belongs. The server refuses them until it is replaced. For snapshots of the tables that
filter.tables names, --snapshots adds SELECT on them.";

/// Longest version that is read, bytes.
const VERSION_BYTES_MAX: u64 = 256;

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("init")
        .about("Create binpulse's schema in the source database")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("print")
                .long("print")
                .action(ArgAction::SetTrue)
                .help("Print the SQL and grants instead of running anything"),
        )
        .arg(
            Arg::new("snapshots")
                .long("snapshots")
                .action(ArgAction::SetTrue)
                .requires("print")
                .help("Print the grants for snapshots too [default: if snapshot.on_start = all]"),
        );
    flags::with_settings(
        command,
        flags::Reads::Only(&[
            "stream.",
            "source.",
            "heartbeat.",
            "canary.",
            "filter.",
            "snapshot.",
        ]),
    )
}

/// Creates, or prints.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((_, plan)) = run::plan(matches, run::Runs::SourceOnly) else { return Exit::Usage };
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let outcome = runtime.block_on(async {
        if matches.get_flag("print") {
            let snapshots = matches.get_flag("snapshots") || plan.snapshot.on_start;
            print(&plan, snapshots).await
        } else {
            apply(&plan).await
        }
    });
    match outcome {
        Ok(()) => Exit::Done,
        Err(error) => {
            say!(
                "binpulse: {}: {error}; if the account may not create it, give the output of \
                 `binpulse init --print` to a DBA",
                plan.freshness.connect.host
            );
            Exit::Unavailable
        }
    }
}

async fn apply(plan: &Plan) -> Result<(), crate::mysql::Error> {
    let mut session = Session::connect(&plan.freshness.connect).await?;
    let dialect = dialect(&mut session).await?;
    for statement in create(&plan.freshness.schema, dialect) {
        session.query(&statement).await?;
    }
    session.close().await;
    println!("schema `{}` is there", plan.freshness.schema.as_str());
    Ok(())
}

/// Prints for the server's version, or for a recent MySQL when the server can't be asked. Its
/// greeting tells the version to anybody: the accounts that are printed may not be there yet.
async fn print(plan: &Plan, snapshots: bool) -> Result<(), crate::mysql::Error> {
    let connect = &plan.freshness.connect;
    let asked = tokio::time::timeout(connect.connect_timeout, greeted_version(&connect.host));
    let dialect = match asked.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(version) => Dialect::of_version(&version),
        Err(error) => {
            let host = &connect.host;
            say!("binpulse: can't ask {host} for its version ({error}); printing for MySQL 8.4");
            Dialect::of_version("8.4.0")
        }
    };
    let account = |user: &str| (user.to_owned(), "%".to_owned());
    let accounts = Accounts {
        replication: account(&plan.source.user),
        writer: account(&plan.freshness.connect.user),
    };
    print!("{}", script(&plan.freshness.schema, &accounts, &plan.freshness.paths(), dialect));
    if snapshots {
        println!("\n-- Tables that snapshots read.");
        let tables = &plan.filter.tables;
        for grant in grants("SELECT", tables, &plan.source.user) {
            println!("{grant};");
        }
        if plan.snapshot.locks_keyless {
            println!("\n-- Tables without a key are locked while they are read.");
            for grant in grants("LOCK TABLES", tables, &plan.source.user) {
                println!("{grant};");
            }
        }
    }
    Ok(())
}

/// What gives the account a privilege on the tables that are published, as narrow as the patterns tell.
fn grants(privilege: &str, patterns: &[Pattern], user: &str) -> Vec<String> {
    let name = |text: &str| format!("`{}`", text.replace('`', "``"));
    let place = |pattern: &Pattern| {
        let Some(database) = pattern.database() else { return "*.*".to_owned() };
        // Only SELECT can be granted on a table.
        let is_exact = privilege == "SELECT" && !pattern.as_str().contains(['*', '?', '\\']);
        match pattern.as_str().split_once('.').filter(|_| is_exact) {
            Some((_, table)) => format!("{}.{}", name(&database), name(table)),
            // These are wildcards in the name of a database here.
            None => format!("{}.*", name(&database.replace('_', "\\_").replace('%', "\\%"))),
        }
    };
    let mut places: Vec<_> = patterns.iter().map(place).collect();
    if places.iter().any(|place| place == "*.*") {
        places = vec!["*.*".to_owned()];
    }
    places.sort();
    places.dedup();
    let user = user.replace('\\', "\\\\").replace('\'', "''");
    places.iter().map(|place| format!("GRANT {privilege} ON {place} TO '{user}'@'%'")).collect()
}

/// The version in the first packet of a server: after a header of four bytes and the protocol's
/// number, text up to a zero byte.
async fn greeted_version(host: &HostPort) -> std::io::Result<String> {
    const PROTOCOL: u8 = 10;
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut stream = TcpStream::connect((host.host.as_str(), host.port)).await?;
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [low, middle, high, _, protocol] = head;
    if protocol != PROTOCOL {
        return Err(wrong("its greeting is not that of a MySQL server that accepts this client"));
    }
    let length = u64::from(u32::from_le_bytes([low, middle, high, 0]));
    let mut version = Vec::new();
    BufReader::new(stream.take(length.min(VERSION_BYTES_MAX))).read_until(0, &mut version).await?;
    if version.pop() != Some(0) {
        return Err(wrong("its greeting has no version"));
    }
    String::from_utf8(version).map_err(|_| wrong("its version is not UTF-8"))
}

async fn dialect(session: &mut Session) -> Result<Dialect, crate::mysql::Error> {
    let row = session.query_first("SELECT @@version").await?;
    Ok(Dialect::of_version(&row.and_then(|row| row.text(0)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_is_as_narrow_as_the_patterns() {
        let grants = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|text| Pattern::parse(text, 2).expect("a pattern"));
            grants("SELECT", &patterns.collect::<Vec<_>>(), "bin'pulse").join("; ")
        };
        let to = "TO 'bin''pulse'@'%'";
        assert_eq!(grants(&["shop.orders"]), format!("GRANT SELECT ON `shop`.`orders` {to}"));
        assert_eq!(grants(&["a_b.*", "a_b.x?"]), format!("GRANT SELECT ON `a\\_b`.* {to}"));
        assert_eq!(grants(&["shop.orders", "*.audit"]), format!("GRANT SELECT ON *.* {to}"));
    }
}
