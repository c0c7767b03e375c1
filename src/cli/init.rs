//! `init`: binpulse's schema in the source database.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Exit, flags, run, runtime};
use crate::app::plan::Plan;
use crate::mysql::Session;
use crate::pulse::schema::{Accounts, Dialect, create, script};

const LONG_ABOUT: &str = "\
Creates the schema with the heartbeat, canary and checkpoint tables. Running it again changes
nothing. The account needs CREATE on the schema; with --print nothing is done, and the statements
and least-privilege grants are printed for a DBA.";

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
        );
    flags::with_settings(command)
}

/// Creates, or prints.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((_, plan)) = run::init_plan(matches) else { return Exit::Usage };
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let outcome = runtime.block_on(async {
        if matches.get_flag("print") { print(&plan).await } else { apply(&plan).await }
    });
    match outcome {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("binpulse: {}: {error}", plan.pulse.connect.host);
            Exit::Unavailable
        }
    }
}

async fn apply(plan: &Plan) -> Result<(), crate::mysql::Error> {
    let mut session = Session::connect(&plan.pulse.connect).await?;
    let dialect = dialect(&mut session).await?;
    for statement in create(&plan.pulse.schema, dialect) {
        session.query(&statement).await?;
    }
    session.close().await;
    println!("schema `{}` is there", plan.pulse.schema.as_str());
    Ok(())
}

/// Asks the server for its version when it can be reached; else prints for a recent MySQL.
async fn print(plan: &Plan) -> Result<(), crate::mysql::Error> {
    let dialect = match Session::connect(&plan.pulse.connect).await {
        Ok(mut session) => dialect(&mut session).await?,
        Err(error) => {
            eprintln!("binpulse: can't ask the server ({error}); printing for MySQL 8.4");
            Dialect::of_version("8.4.0")
        }
    };
    let account = |user: &str| (user.to_owned(), "%".to_owned());
    let accounts = Accounts {
        replication: account(&plan.source.user),
        writer: account(&plan.pulse.connect.user),
    };
    print!("{}", script(&plan.pulse.schema, &accounts, dialect));
    Ok(())
}

async fn dialect(session: &mut Session) -> Result<Dialect, crate::mysql::Error> {
    let row = session.query_first("SELECT @@version").await?;
    Ok(Dialect::of_version(&row.and_then(|row| row.text(0)).unwrap_or_default()))
}
