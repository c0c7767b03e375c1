//! What is published, and is in the binary log of another server only, or in none: the server does not
//! log it, or does not replicate it.

use crate::filter::{self, Filter, Pattern};
use crate::source::preflight::{Facts, Finding, Logged, Severity};

/// Databases that are published, or binpulse's own, and that the server does not write to its binary log.
pub(super) fn unlogged(
    facts: &Facts,
    config: &filter::Config,
    own: &str,
) -> Vec<(String, Finding)> {
    let case = facts.name_case();
    let filter = Filter::new(filter::Config { names: case, ..config.clone() });
    let matters = |name: &str| case.same(name, own) || filter.wants_database(name);
    let is_in = |list: &[String], name: &str| list.iter().any(|other| case.same(other, name));
    let Logged { only, not } = &facts.logged;
    let mut found = unreplicated(facts, config, &filter, own);
    for name in not.iter().filter(|name| matters(name)) {
        found.push((name.clone(), not_logged("binlog-ignore-db", name)));
    }
    if only.is_empty() {
        return found;
    }
    let named = config.tables.iter().filter_map(Pattern::database);
    for name in named.chain([own.to_owned()]).filter(|name| matters(name) && !is_in(only, name)) {
        if !found.iter().any(|(known, _)| *known == name) {
            found.push((name.clone(), not_logged("binlog-do-db", &name)));
        }
    }
    if config.tables.iter().any(|pattern| pattern.database().is_none()) {
        let name = format!("any database but {}", only.join(", "));
        found.push((name.clone(), not_logged("binlog-do-db", &name)));
    }
    found
}

fn not_logged(what: &'static str, name: &str) -> Finding {
    Finding {
        what,
        found: format!("{name} is not written to the binary log"),
        needed: "a binary log of every published database: changes that are not in it never \
                 arrive, and quiet can't be proven",
        remedy: format!(
            "remove {what} from my.cnf and restart the server, or leave the database out by \
             filter.tables and filter.exclude"
        ),
        severity: Severity::Warn,
    }
}

/// What a server that is a replica itself does not get, or gets and does not log.
fn unreplicated(
    facts: &Facts,
    config: &filter::Config,
    filter: &Filter,
    own: &str,
) -> Vec<(String, Finding)> {
    let Some(replicates) = &facts.replicates else { return Vec::new() };
    let case = facts.name_case();
    let mut found = Vec::new();
    let on = |name: &str| facts.is_on(name) == Some(true);
    let updates = facts.is_on("log_replica_updates").or(facts.is_on("log_slave_updates"));
    // On a server that takes no writes nothing else would be in the log: `judge` refuses that.
    if updates == Some(false) && !on("read_only") && !on("super_read_only") {
        found.push(("all that it replicates".to_owned(), updates_off()));
    }
    let is_own = |name: &str| case.same(name, own);
    for (option, names) in &replicates.filters {
        // `%` and `_` stand for any letters in the options with `wild`.
        let is_open = |name: &str| option.contains("wild") && name.contains(['%', '_']);
        let wanted = |name: &&String| match name.split_once('.') {
            None => is_own(name) || filter.wants_database(name),
            Some((database, _)) if is_open(database) => true,
            Some((database, table)) if is_open(table) => {
                is_own(database) || filter.wants_database(database)
            }
            Some((database, table)) => is_own(database) || filter.wants(database, table),
        };
        let left_out: Vec<_> = if option.contains("ignore") {
            names.iter().filter(wanted).cloned().collect()
        } else {
            let is_in = |name: &str| {
                let database = name.split_once('.').map_or(name, |(database, _)| database);
                names.iter().any(|known| {
                    case.same(known, name)
                        || case.same(known, database)
                        || known.strip_suffix(".%").is_some_and(|known| case.same(known, database))
                })
            };
            let patterns = config.tables.iter().map(|pattern| pattern.as_str().to_owned());
            let all = patterns.chain([format!("{own}.*")]);
            all.filter(|name| !is_in(name)).collect()
        };
        if !left_out.is_empty() {
            let left_out = left_out.join(", ");
            found.push((left_out.clone(), not_replicated(option, names, &left_out)));
        }
    }
    found
}

fn updates_off() -> Finding {
    Finding {
        what: "log_replica_updates",
        found: "OFF, on a server that replicates from another".to_owned(),
        needed: "ON, or changes that this server replicates are not in its binlog",
        remedy: "restart with log_replica_updates (log_slave_updates) under [mysqld], or read the \
               server that it replicates from"
            .to_owned(),
        severity: Severity::Warn,
    }
}

fn not_replicated(option: &str, names: &[String], left_out: &str) -> Finding {
    Finding {
        what: "replication filters",
        found: format!("{option} = {}: {left_out} may not be replicated", names.join(", ")),
        needed: "a source that replicates all that is published: what it does not replicate is \
                 neither in its tables nor in its binary log",
        remedy: format!(
            "remove {option} from the source, or read the server that it replicates from, or leave \
             this out by filter.tables and filter.exclude"
        ),
        severity: Severity::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::preflight::Replicates;
    use crate::source::preflight::tests::good;

    #[test]
    fn databases_that_are_published_and_not_logged_are_found() {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::parse(text, 2).expect("a pattern")).collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (tables, exclude, only, not, expected) in [
            (&["*.*"][..], &[][..], &[][..], &[][..], &[][..]),
            (&["*.*"], &[], &[], &["hr"], &["hr"]),
            (&["*.*"], &["hr.*"], &[], &["hr"], &[]),
            (&["shop.*"], &[], &[], &["hr"], &[]),
            (&["shop.*"], &[], &[], &["hr", "binpulse"], &["binpulse"]),
            (&["shop.*", "hr.people"], &[], &["shop", "binpulse"], &[], &["hr"]),
            (&["shop.*"], &[], &["shop"], &[], &["binpulse"]),
            (&["*.*"], &[], &["shop", "binpulse"], &[], &["any database but shop, binpulse"]),
        ] {
            let mut facts = good();
            facts.logged = Logged { only: names(only), not: names(not) };
            let config = filter::Config {
                tables: patterns(tables),
                exclude: patterns(exclude),
                ..filter::Config::default()
            };
            let found = unlogged(&facts, &config, "binpulse");
            let found: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, expected, "{tables:?} {exclude:?} {only:?} {not:?}");
        }
    }

    #[test]
    fn what_a_replica_does_not_get_or_does_not_log_is_found() {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::parse(text, 2).expect("a pattern")).collect()
        };
        for (tables, exclude, option, names, expected) in [
            (&["*.*"][..], &[][..], "replicate-ignore-db", "hr", "hr"),
            (&["*.*"], &["hr.*"], "replicate-ignore-db", "hr", ""),
            (&["shop.*"], &[], "replicate-ignore-db", "binpulse", "binpulse"),
            (&["shop.*"], &[], "replicate-ignore-table", "shop.orders", "shop.orders"),
            (&["shop.*"], &["shop.orders"], "replicate-ignore-table", "shop.orders", ""),
            (&["shop.*"], &[], "replicate-wild-ignore-table", "hr.%", ""),
            (&["shop.*"], &[], "replicate-wild-ignore-table", "sh%.log%", "sh%.log%"),
            (&["shop.*"], &[], "replicate-do-db", "shop", "binpulse.*"),
            (&["*.*"], &[], "replicate-do-db", "shop", "*.*, binpulse.*"),
            (&["shop.a"], &[], "replicate-do-table", "shop.a", "binpulse.*"),
            (&["shop.*"], &[], "replicate-wild-do-table", "shop.%,binpulse.%", ""),
        ] {
            let mut facts = good();
            let names = names.split(',').map(str::to_owned).collect();
            facts.replicates = Some(Replicates { filters: vec![(option, names)] });
            let config = filter::Config {
                tables: patterns(tables),
                exclude: patterns(exclude),
                ..filter::Config::default()
            };
            let found = unlogged(&facts, &config, "binpulse");
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            let expected: Vec<_> = Some(expected).filter(|it| !it.is_empty()).into_iter().collect();
            assert_eq!(names, expected, "{tables:?} {exclude:?} {option}");
            assert!(found.iter().all(|(_, finding)| finding.what == "replication filters"));
        }
    }

    #[test]
    fn a_replica_that_takes_writes_and_does_not_log_what_it_replicates_is_found() {
        let mut facts = good();
        facts.variables.insert("log_replica_updates".to_owned(), "OFF".to_owned());
        let found = |facts: &Facts| {
            let found = unlogged(facts, &filter::Config::default(), "binpulse");
            found.into_iter().map(|(_, finding)| finding.what).collect::<Vec<_>>()
        };
        assert_eq!(found(&facts), [""; 0], "it replicates from nobody");
        facts.replicates = Some(Replicates::default());
        assert_eq!(found(&facts), ["log_replica_updates"]);
        facts.variables.insert("read_only".to_owned(), "ON".to_owned());
        assert_eq!(found(&facts), [""; 0], "that is refused elsewhere");
    }
}
