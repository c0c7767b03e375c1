//! Settings of canaries through the operator's own tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Errors, FreshnessPlan};
use crate::change::NameCase;
use crate::config::Values;
use crate::filter;
use crate::freshness::Phase;
use crate::freshness::canary::path::{CanaryPath, Steps, Template};

const PATHS: &str = "canary.paths";
const ECHO: &str = "canary.path_echo";
/// Paths at most: each is a session on the source.
const PATHS_MAX: usize = 16;
/// Longest name of a path, bytes: it is part of metrics' labels and of a lane's name.
const NAME_BYTES_MAX: usize = 32;

/// A path, and who answers for it.
#[derive(Debug, Clone)]
pub struct PathRoute {
    /// The path.
    pub path: CanaryPath,
    /// Consumers that owe its echo.
    pub consumers: Vec<Arc<str>>,
    /// Whether the filters keep its table out, so that nothing could come back.
    pub is_filtered_out: bool,
}

impl PathRoute {
    /// Whether canaries are written.
    pub(in crate::app) fn is_walked(&self) -> bool {
        self.path.steps.is_some() && !self.is_filtered_out
    }
}

/// Adds the paths to the plan. Every mistake is told.
pub(super) fn add(
    values: &Values,
    mut freshness: FreshnessPlan,
    filter: &filter::Config,
    errors: &mut Errors,
) -> FreshnessPlan {
    let mut templates = Templates::read(values, errors);
    let consumers = Consumers::read(values, &freshness, errors);
    let mut tables: Vec<(String, Arc<str>)> = Vec::new();
    for text in values.list(PATHS) {
        let Some((name, [database, table, column])) = read_path(text) else {
            errors.push(values.invalid(
                PATHS,
                format!(
                    "name=database.table.column, the name of up to {NAME_BYTES_MAX} letters, digits, \
                     dashes and underscores, not `{text}`"
                ),
            ));
            continue;
        };
        let full = format!("{database}.{table}").to_ascii_lowercase();
        let twice = tables.iter().find(|(known, other)| *known == full || **other == *name);
        if let Some((_, other)) = twice {
            errors.push(values.invalid(
                PATHS,
                format!(
                    "each name and each table once; `{text}` repeats a name or table of path \
                     {other}"
                ),
            ));
            continue;
        }
        let name: Arc<str> = name.into();
        tables.push((full, Arc::clone(&name)));
        let path = CanaryPath { steps: templates.take(&name), name, database, table, column };
        refuse_hidden_column(values, &path, filter, errors);
        if filter.is_outbox(&path.database, &path.table) {
            errors.push(values.conflict(
                PATHS,
                "outbox.tables",
                "rows of an outbox are an application's messages; take another table for canaries",
            ));
        }
        // How the server compares names is not known yet.
        let folded = filter::Config { names: NameCase::Insensitive, ..filter.clone() };
        let wants = |filter: &filter::Config| filter.wants(&path.database, &path.table);
        let is_filtered_out = !wants(filter) && !wants(&folded);
        let consumers = consumers.of(&path, &freshness);
        freshness.routes.push(PathRoute { path, consumers, is_filtered_out });
    }
    if freshness.routes.len() > PATHS_MAX {
        errors.push(values.invalid(PATHS, format!("at most {PATHS_MAX} paths")));
    }
    let is_written = freshness.routes.iter().any(|route| route.path.steps.is_some());
    if is_written && !freshness.canaries {
        errors.push(values.conflict(
            "canary.insert",
            "canary.enabled",
            "canaries of paths are written only while the built-in canary is enabled",
        ));
    }
    let with_slash = freshness.echoes.iter().find(|(name, _)| name.contains('/'));
    if let (Some((name, _)), false) = (with_slash, freshness.routes.is_empty()) {
        errors.push(values.invalid(
            "canary.echo",
            format!(
                "consumers without a slash where there are paths, not `{name}`: `consumer/path` \
                 names the canaries of a path in status and metrics"
            ),
        ));
    }
    templates.refuse_rest(values, errors);
    consumers.refuse_rest(values, &freshness, errors);
    freshness
}

/// Reads `name=database.table.column`.
fn read_path(text: &str) -> Option<(&str, [String; 3])> {
    let (name, column) = text.split_once('=')?;
    let (name, mut parts) = (name.trim(), column.trim().splitn(3, '.'));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
        return None;
    }
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    Some((name, [part()?, part()?, part()?]))
}

/// A mark that is dropped or hashed is none to the consumers, and none to whoever looks for it in the
/// messages. How the server compares names is not known yet: both ways count.
fn refuse_hidden_column(
    values: &Values,
    path: &CanaryPath,
    filter: &filter::Config,
    errors: &mut Errors,
) {
    let names = [path.database.as_str(), path.table.as_str(), path.column.as_str()];
    for (key, patterns) in [
        ("filter.drop_columns", &filter.drop_columns),
        ("filter.hash_columns", &filter.hash_columns),
    ] {
        if patterns.iter().any(|pattern| pattern.matches(&names, NameCase::Insensitive)) {
            errors.push(values.conflict(
                PATHS,
                key,
                "the column that carries the mark must be published as it is",
            ));
        }
    }
}

/// The operator's SQL, by path.
struct Templates([(&'static str, BTreeMap<String, Template>); 3]);

impl Templates {
    fn read(values: &Values, errors: &mut Errors) -> Self {
        let keys = [
            ("canary.insert", Phase::Insert),
            ("canary.update", Phase::Update),
            ("canary.delete", Phase::Delete),
        ];
        Self(keys.map(|(key, phase)| {
            let mut found = BTreeMap::new();
            for text in values.list(key) {
                let Some((name, sql)) = text.split_once('=') else {
                    errors.push(values.invalid(key, format!("name=SQL, not `{text}`")));
                    continue;
                };
                let name = name.trim();
                match Template::parse(phase, sql) {
                    Ok(template) if !found.contains_key(name) => {
                        found.insert(name.to_owned(), template);
                    }
                    Ok(_) => errors.push(values.invalid(key, format!("one for path {name}"))),
                    Err(error) => {
                        errors.push(values.invalid(key, format!("path {name}: {error}")));
                    }
                }
            }
            (key, found)
        }))
    }

    fn take(&mut self, name: &str) -> Option<Steps> {
        let [(_, inserts), (_, updates), (_, deletes)] = &mut self.0;
        let insert = inserts.remove(name)?;
        Some(Steps { insert, update: updates.remove(name), delete: deletes.remove(name) })
    }

    fn refuse_rest(&self, values: &Values, errors: &mut Errors) {
        for (key, rest) in &self.0 {
            for name in rest.keys() {
                errors.push(values.invalid(
                    key,
                    format!("only paths of {PATHS} that have a canary.insert, not `{name}`"),
                ));
            }
        }
    }
}

/// Who owes the echo of which path, as far as that is said.
struct Consumers(Vec<(String, Arc<str>)>);

impl Consumers {
    fn read(values: &Values, freshness: &FreshnessPlan, errors: &mut Errors) -> Self {
        let mut found = Vec::new();
        for text in values.list(ECHO) {
            let split = text.split_once('=').map(|(path, name)| (path.trim(), name.trim()));
            let known = split.and_then(|(path, name)| {
                let (known, _) = freshness.echoes.iter().find(|(known, _)| **known == *name)?;
                Some((path.to_owned(), Arc::clone(known)))
            });
            match known {
                Some(owed) if !found.contains(&owed) => found.push(owed),
                Some(_) => errors.push(values.invalid(ECHO, format!("each once, not `{text}`"))),
                None => errors.push(
                    values.invalid(ECHO, format!("path=consumer of canary.echo, not `{text}`")),
                ),
            }
        }
        Self(found)
    }

    fn of(&self, path: &CanaryPath, freshness: &FreshnessPlan) -> Vec<Arc<str>> {
        let named = self.0.iter().filter(|(name, _)| **name == *path.name);
        let named: Vec<_> = named.map(|(_, consumer)| Arc::clone(consumer)).collect();
        if named.is_empty() { freshness.consumers() } else { named }
    }

    fn refuse_rest(&self, values: &Values, freshness: &FreshnessPlan, errors: &mut Errors) {
        for (name, _) in &self.0 {
            if !freshness.routes.iter().any(|route| *route.path.name == **name) {
                errors.push(values.invalid(ECHO, format!("a path of {PATHS}, not `{name}`")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::plan::Plan;
    use crate::config::{Environment, load};

    const PATH: (&str, &str) = ("canary.paths", "orders=billing.orders.reference");
    const INSERT: (&str, &str) =
        ("canary.insert", "orders=INSERT INTO billing.orders VALUES ('{mark}', {n})");
    const ECHO: (&str, &str) = ("canary.echo", "billing=http://q/b,search=http://q/s");

    fn plan(settings: &[(&'static str, &str)]) -> Result<FreshnessPlan, String> {
        let mut flags: Vec<_> =
            settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        flags.push(("sink.kind", "null".to_owned()));
        let values = load(None, &Environment::new(), &flags, &|_| Ok("a key".to_owned()));
        let plan = Plan::new(&values.expect("settings"));
        let told = |errors: Vec<crate::config::Error>| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        plan.map(|plan| plan.freshness).map_err(told)
    }

    fn names(accounts: &[Arc<str>]) -> Vec<&str> {
        accounts.iter().map(|name| &**name).collect()
    }

    #[test]
    fn each_consumer_owes_a_path_unless_some_are_named() {
        let all = plan(&[PATH, INSERT, ECHO]).expect("a plan");
        let expected = ["billing", "search", "billing/orders", "search/orders"];
        assert_eq!(names(&all.accounts()), expected);
        let named = [PATH, INSERT, ECHO, ("canary.path_echo", "orders=search")];
        let named = plan(&named).expect("a plan");
        assert_eq!(names(&named.accounts()), ["billing", "search", "search/orders"]);
        assert_eq!(names(&plan(&[PATH, ECHO]).expect("a plan").accounts()), ["billing", "search"]);
    }

    #[test]
    fn a_table_that_is_filtered_out_is_owed_by_nobody() {
        for filter in [("filter.exclude", "billing.*"), ("filter.tables", "shop.*")] {
            let plan = plan(&[PATH, INSERT, ECHO, filter]).expect("a plan");
            assert!(plan.routes[0].is_filtered_out && !plan.routes[0].is_walked(), "{filter:?}");
            assert_eq!(names(&plan.accounts()), ["billing", "search"]);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_setting_and_the_reason() {
        let key = ("filter.hash_key", "a key");
        for (settings, words) in [
            (&[("canary.paths", "orders=billing.orders")][..], "name=database.table.column"),
            (&[("canary.paths", "o/o=b.o.r")], "name=database.table.column"),
            (&[("canary.paths", "a=b.t.c,a=b.u.c")], "each name and each table once"),
            (&[("canary.paths", "a=b.t.c,x=B.T.d")], "each name and each table once"),
            (&[PATH, INSERT, ("canary.enabled", "false")], "while the built-in canary is enabled"),
            (&[INSERT], "`orders`"),
            (&[PATH, ("canary.delete", "orders=DELETE FROM t WHERE r='{mark}'")], "canary.insert"),
            (&[PATH, ("canary.insert", "orders=INSERT INTO t VALUES (1)")], "'{mark}'"),
            (&[PATH, ("canary.insert", "INSERT INTO t VALUES ('{mark}')")], "name=SQL"),
            (&[PATH, INSERT, ECHO, ("canary.path_echo", "orders=nobody")], "orders=nobody"),
            (&[PATH, INSERT, ECHO, ("canary.path_echo", "items=search")], "`items`"),
            (&[PATH, INSERT, ("canary.echo", "a/b=http://q")], "without a slash"),
            (&[PATH, ("filter.drop_columns", "*.orders.ref*")], "published as it is"),
            (&[PATH, key, ("filter.hash_columns", "billing.*.reference")], "published as it is"),
        ] {
            let told = plan(settings).expect_err(words);
            assert!(told.contains(words), "{settings:?}: {told}");
        }
        let many: Vec<_> = (0..17).map(|number| format!("p{number}=b.t{number}.c")).collect();
        let told = plan(&[("canary.paths", &many.join(","))]).expect_err("too many");
        assert!(told.contains("at most 16"), "{told}");
    }
}
