//! What a server answers to statements that are not about binpulse's own tables.

use crate::server::{Server, State};
use crate::session::{Answer, Session};
use crate::value::Value;

fn text(text: impl AsRef<str>) -> Value {
    Value::text(text.as_ref())
}

fn on(is_on: bool) -> Value {
    text(if is_on { "ON" } else { "OFF" })
}

/// The answer to a statement that is known by its text.
pub(crate) fn by_text(session: &Session, sql: &str) -> Option<Answer> {
    let server = &session.server;
    let state = server.state();
    if sql.starts_with("SHOW GLOBAL VARIABLES") {
        let pairs = variables(server, &state);
        let wanted = pairs.into_iter().filter(|(name, _)| sql.contains(&format!("'{name}'")));
        return Some(Answer::Rows(
            2,
            wanted.map(|(name, value)| vec![text(name), value]).collect(),
        ));
    }
    if sql.starts_with("SHOW GRANTS") {
        let lines = [
            "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT, TRIGGER ON *.* TO `binpulse`@`%`",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON `binpulse`.* TO `binpulse`@`%`",
        ];
        return Some(Answer::Rows(1, lines.iter().map(|line| vec![text(line)]).collect()));
    }
    if sql.starts_with("SHOW BINARY LOGS") {
        let file = |file: &crate::log::File| {
            vec![text(file.name()), Value::Int(i128::from(file.end)), text("No")]
        };
        return Some(Answer::Rows(3, state.log.files.iter().map(file).collect()));
    }
    if sql.starts_with("SHOW BINARY LOG STATUS") || sql.starts_with("SHOW MASTER STATUS") {
        let file = state.log.current();
        // Behind what is committed.
        let groups = file.groups.iter().take_while(|group| group.ordinal <= state.committed);
        let size = |group: &std::sync::Arc<crate::log::Group>| {
            group.start + group.events.iter().map(|it| it.len() as u64).sum::<u64>()
        };
        let end = groups
            .last()
            .map_or_else(|| file.groups.first().map_or(file.end, |group| group.start), size);
        let row = vec![
            text(file.name()),
            Value::Int(i128::from(end)),
            text(""),
            text(""),
            text(state.executed.to_string()),
        ];
        return Some(Answer::Rows(5, vec![row]));
    }
    drop(state);
    of_processes(session, sql).or_else(|| of_tables(session, sql)).or_else(|| done(session, sql))
}

fn of_processes(session: &Session, sql: &str) -> Option<Answer> {
    let state = session.server.state();
    if sql.starts_with("SHOW GLOBAL STATUS") {
        let uptime = state.begun.elapsed().as_secs();
        return Some(Answer::Rows(2, vec![vec![text("Uptime"), Value::Int(i128::from(uptime))]]));
    }
    if sql.starts_with("SHOW PROCESSLIST") {
        let row = |(id, waits): (&u32, &&'static str)| {
            let nothing = || text("");
            let id = Value::Int(i128::from(*id));
            vec![
                id,
                nothing(),
                nothing(),
                nothing(),
                text("Query"),
                nothing(),
                text(waits),
                nothing(),
            ]
        };
        return Some(Answer::Rows(8, state.waits.iter().map(row).collect()));
    }
    if sql.contains("information_schema.PROCESSLIST") {
        let blocked = state.waits.values().find(|words| words.starts_with("Waiting"));
        let found = blocked.or(state.waits.values().next());
        return Some(Answer::Rows(1, found.map(|words| vec![text(words)]).into_iter().collect()));
    }
    None
}

fn of_tables(session: &Session, sql: &str) -> Option<Answer> {
    let server = &session.server;
    let state = server.state();
    if sql.contains("FROM information_schema.columns") {
        return Some(Answer::Rows(1, vec![vec![Value::Int(29)]]));
    }
    if sql.contains("information_schema.TABLES ") {
        let tables = server.schema.iter().map(|table| vec![text(table.schema), text(table.name)]);
        return Some(Answer::Rows(2, tables.collect()));
    }
    for (words, width) in [
        ("SHOW REPLICAS", 5),
        ("information_schema.TRIGGERS", 2),
        ("information_schema.VIEWS", 2),
        ("information_schema.REFERENTIAL_CONSTRAINTS", 6),
    ] {
        if sql.contains(words) {
            return Some(Answer::Rows(width, Vec::new()));
        }
    }
    if sql.starts_with("SHOW REPLICA STATUS") {
        return Some(Answer::Named(vec!["Channel_Name"], Vec::new()));
    }
    if let Some(rest) = sql.strip_prefix("SHOW BINLOG EVENTS IN '") {
        let name = rest.split('\'').next().unwrap_or_default();
        let Some(file) = state.log.files.iter().find(|file| file.name() == name) else {
            return Some(Answer::Refused(1220, "Could not find target log".to_owned()));
        };
        let row = |kind: &str, told: String| {
            vec![text(name), text("4"), text(kind), text("1"), text("0"), text(told)]
        };
        let rows = vec![
            row("Format_desc", "Server ver: 8.4.3, Binlog ver: 4".to_owned()),
            row("Previous_gtids", file.before.to_string()),
        ];
        return Some(Answer::Rows(6, rows));
    }
    if sql.contains("performance_schema.variables_info") {
        let since = i128::from(state.begun.elapsed().as_secs());
        return Some(Answer::Rows(1, vec![vec![Value::Int(since)]]));
    }
    if sql.contains("mysql.rds_configuration") {
        return Some(Answer::Refused(
            1146,
            "Table 'mysql.rds_configuration' doesn't exist".to_owned(),
        ));
    }
    None
}

fn done(session: &Session, sql: &str) -> Option<Answer> {
    let server = &session.server;
    if let Some(rest) = sql.strip_prefix("DO GET_LOCK('") {
        let name = rest.split('\'').next().unwrap_or_default();
        server.state().named.entry(name.to_owned()).or_insert(session.id);
        return Some(Answer::Done(0));
    }
    if let Some(id) = sql.strip_prefix("KILL ") {
        let id = id.parse().expect("a number");
        server.state().killed.insert(id);
        server.changed.notify_waiters();
        return Some(Answer::Done(0));
    }
    None
}

fn variables(server: &Server, state: &State) -> Vec<(&'static str, Value)> {
    let number = |number: i128| Value::Int(number);
    vec![
        ("log_bin", on(true)),
        ("binlog_format", text("ROW")),
        ("binlog_row_image", text("FULL")),
        ("binlog_row_metadata", text("FULL")),
        ("gtid_mode", on(true)),
        ("enforce_gtid_consistency", on(true)),
        ("server_uuid", text(state.uuid.to_string())),
        ("server_id", number(i128::from(server.id))),
        ("read_only", on(state.is_read_only())),
        ("super_read_only", on(state.is_read_only())),
        ("innodb_read_only", on(false)),
        ("offline_mode", on(false)),
        ("binlog_checksum", text("CRC32")),
        ("binlog_expire_logs_seconds", number(2_592_000)),
        ("binlog_row_value_options", text("")),
        ("binlog_transaction_compression", on(false)),
        ("log_replica_updates", on(true)),
        ("max_allowed_packet", number(1 << 30)),
        ("sync_binlog", number(1)),
        ("sql_log_bin", on(true)),
        ("lower_case_table_names", number(0)),
        ("basedir", text("/usr/")),
    ]
}

/// A variable of the server.
pub(crate) fn variable(server: &Server, state: &State, name: &str) -> Option<Value> {
    let name = name.trim_start_matches("@@").to_ascii_lowercase();
    let name = name.trim_start_matches("global.");
    let flag = |is_on: bool| Value::Int(i128::from(is_on));
    Some(match name {
        "read_only" | "super_read_only" => flag(state.is_read_only()),
        "innodb_read_only" => flag(false),
        "version" => text("8.4.3"),
        "gtid_executed" => text(state.executed.to_string()),
        "gtid_purged" => text(state.purged.to_string()),
        // What is being committed.
        "gtid_owned" => text(state.logged.subtract(&state.executed).to_string()),
        other => variables(server, state).into_iter().find(|(name, _)| *name == other)?.1,
    })
}

/// A function that says something of the server.
pub(crate) fn call(
    session: &Session,
    state: &State,
    name: &str,
    arguments: &[Value],
) -> Option<Value> {
    Some(match (name, arguments) {
        ("CURRENT_USER", _) => text("binpulse@%"),
        ("CURRENT_ROLE", _) => text("NONE"),
        ("VERSION", _) => text("8.4.3"),
        ("CONNECTION_ID", _) => Value::Int(i128::from(session.id)),
        ("IS_USED_LOCK", [name]) => match state.named.get(&name.as_text()) {
            Some(id) => Value::Int(i128::from(*id)),
            None => Value::Null,
        },
        // Values of a canary, which are in no image here.
        ("ST_GEOMFROMTEXT" | "STRING_TO_VECTOR" | "COUNT", _) => Value::Null,
        _ => return None,
    })
}
