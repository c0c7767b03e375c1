//! What the docs say is held against the code, and their links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use binpulse::app::{Plan, exported, exported_by_probe, exported_by_relay};
use binpulse::config::{Environment, load};
use binpulse::filter::Filter;
use binpulse::freshness::verdict::State;
use binpulse::telemetry::words::HaltReason;

/// Compares a page with what the code says. `BINPULSE_TEST_REGENERATE=1 cargo test --test docs`
/// writes it.
fn assert_generated(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(page);
    if std::env::var_os("BINPULSE_TEST_REGENERATE").is_some() {
        fs::write(&path, text).expect("the page is writable");
    }
    let written = fs::read_to_string(&path).expect(page);
    assert!(written == text, "docs/reference/{page} is out of date; see tests/docs.rs");
}

#[test]
fn the_references_of_settings_commands_and_exit_codes_are_what_the_code_says() {
    assert_generated("settings.md", &binpulse::cli::reference());
    assert_generated("commands.md", &binpulse::cli::commands());
    assert_generated("exit-codes.md", &binpulse::cli::exit_codes());
}

/// One family of a page of metrics.
#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    /// Values of each label, as far as they are known before anything happens.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The families of a page in the text format, by name.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.into();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.into();
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = rest.split('}').next().expect("labels");
            let parts = ["_bucket", "_sum", "_count"];
            let base = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            let family = if families.contains_key(name) { name } else { base };
            let family = families.get_mut(family).expect(line);
            for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
                let (label, value) = pair.split_once("=\"").expect(pair);
                if label != "le" {
                    let value = value.trim_end_matches('"').to_owned();
                    family.labels.entry(label.to_owned()).or_default().insert(value);
                }
            }
        }
    }
    families
}

/// The unit, by Prometheus's rules for names.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    match name {
        _ if name.ends_with("_timestamp_seconds") || name.ends_with("_time_seconds") => {
            "Unix time, s"
        }
        _ if name.ends_with("_seconds") => "seconds",
        _ if name.ends_with("_bytes") => "bytes",
        _ if name.ends_with("_info") => "always 1",
        _ => "",
    }
}

/// Values of a label are listed where there are not too many, and where they are the same everywhere.
fn labels(family: &Family) -> String {
    const NAMED_BY_USERS: [&str; 10] = [
        "consumer",
        "pattern",
        "route",
        "setting",
        "stream",
        "server_uuid",
        "version",
        "flavor",
        "path",
        "table",
    ];
    let shown = family.labels.iter().map(|(label, values)| {
        let known = values.iter().filter(|value| !value.is_empty());
        let known: Vec<_> = known.map(|value| format!("`{value}`")).collect();
        match known.len() {
            _ if NAMED_BY_USERS.contains(&label.as_str()) => format!("`{label}`"),
            0 => format!("`{label}`"),
            1..=12 => format!("`{label}`: {}", known.join(", ")),
            many => format!("`{label}`: {many} values"),
        }
    });
    shown.collect::<Vec<_>>().join("<br>")
}

fn table(page: &str) -> String {
    let mut text =
        "| metric | type, unit | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, family) in families(page) {
        let unit = unit(&name);
        let kind =
            if unit.is_empty() { family.kind.clone() } else { format!("{}, {unit}", family.kind) };
        let (labels, help) = (labels(&family), family.help.replace('|', "\\|"));
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").expect("it fits");
    }
    text
}

#[test]
fn the_reference_of_metrics_is_what_is_exported() {
    let settings = [
        ("sink.kind", "null"),
        ("filter.exclude", "shop.audit"),
        ("canary.echo", "billing=http://localhost/queue"),
        ("canary.paths", "orders=shop.orders.reference"),
        ("canary.insert", "orders=INSERT INTO shop.orders (reference) VALUES ('{mark}')"),
    ];
    let settings = settings.map(|(key, value)| (key, value.to_owned()));
    let values = load(None, &Environment::new(), &settings, &|_| Ok(String::new()));
    let plan = Plan::new(&values.expect("settings")).expect("a plan");
    let service = exported(&plan).expect("metrics");
    let probe = exported_by_probe(&["shop"]).expect("metrics");
    let relay = exported_by_relay("partners").expect("metrics");
    let own = |page: &str, prefix: &str| -> String {
        let lines = page.lines().filter(|line| line.contains(prefix));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    assert!(families(&service).len() > 50, "{service}");
    assert_generated(
        "metrics.md",
        &format!(
            "# Metrics\n\nThe service exports these at `/metrics` of `http.listen`, in Prometheus's text \
             format. Every series exists from the first scrape, except those whose label values only \
             appear later. Subtract timestamps from `binpulse_clock_timestamp_seconds` of the same page, \
             never from `time()`: then a stopped process and a clock that steps do not hide an age. A \
             label value that was not foreseen is counted as `other`. Every series of the service also has \
             the label `stream`: the setting of that name.\n\nAlerts on them: \
             [alerts](../operate/alerts.md). The states and stages: [verdict states](states.md), \
             [concepts](../concepts.md).\n\n{}\n## The probe\n\n`binpulse probe` exports these at \
             `/metrics` of `probe.listen`, besides `binpulse_clock_timestamp_seconds`, \
             `binpulse_build_info` and those of the process.\n\n{}\n## The relay\n\n\
             `binpulse relay` exports these at `/metrics` of `relay.listen`, besides the same three. \
             `route` is `relay.name`.\n\n{}",
            table(
                &service
                    .replace(",stream=\"main\"", "")
                    .replace("{stream=\"main\"}", "")
                    .replace("stream=\"main\",", "")
            ),
            table(&own(&probe, "binpulse_probe_")),
            table(&own(&relay, "binpulse_relay_")),
        ),
    );
}

/// The documentation of the members of `/status` is the comment of each field.
#[test]
fn the_reference_of_the_status_document_is_what_the_code_says() {
    let files = [
        "status",
        "snapshot",
        "conclusion/mod",
        "conclusion/consumers",
        "conclusion/stations",
        "conclusion/notices",
        "conclusion/next",
        "words",
    ];
    let code: String = files.map(|file| read(&format!("src/telemetry/{file}.rs"))).concat();
    let mut text = "# The status document\n\n`GET /status` answers with one JSON document; `binpulse \
                    status` prints the same for people. Members that are not known are `null` or absent. \
                    New members can appear in each version. `age` members are seconds before the \
                    answer.\n"
        .to_owned();
    let mut members = 0;
    for part in code.split("pub struct ").skip(1) {
        let (name, rest) = part.split_once(" {\n").expect("fields");
        let body = rest.split("\n}").next().expect("an end");
        let mut rows = String::new();
        let mut about = String::new();
        let mut is_left_out = false;
        for line in body.lines().map(str::trim) {
            if let Some(more) = line.strip_prefix("///") {
                about += more;
                continue;
            }
            if line.starts_with('#') {
                is_left_out |= line == "#[serde(skip)]";
                continue;
            }
            if let Some((field, kind)) =
                line.strip_prefix("pub ").and_then(|field| field.split_once(": "))
                && !is_left_out
            {
                let kind = kind.trim_end_matches(',');
                let (kind, optional) = match kind.strip_prefix("Option<") {
                    Some(inner) => (inner.trim_end_matches('>'), "?"),
                    None => (kind, ""),
                };
                let (kind, many) = match kind.strip_prefix("Vec<") {
                    Some(inner) => (inner.trim_end_matches('>'), " list"),
                    None => (kind, ""),
                };
                let kind = match kind {
                    "String" | "&'static str" => "text".to_owned(),
                    "bool" => "true or false".to_owned(),
                    "f64" | "u64" | "u32" | "i64" => "number".to_owned(),
                    "serde_json::Value" => "object".to_owned(),
                    other => format!("[{other}](#{})", other.to_lowercase()),
                };
                let about = about.trim().replace("[`", "`").replace("`]", "`").replace('|', "\\|");
                writeln!(rows, "| `{field}` | {kind}{many}{optional} | {about} |")
                    .expect("it fits");
                members += 1;
            }
            about.clear();
            is_left_out = false;
        }
        if !rows.is_empty() {
            let head = "| member | type | meaning |\n| --- | --- | --- |";
            write!(text, "\n## {name}\n\n{head}\n{rows}").expect("it fits");
        }
    }
    text += &words(&code);
    assert!(members > 60, "{members}");
    assert_generated("status-json.md", &text);
}

/// The words of each enum, with the comment of each variant.
fn words(code: &str) -> String {
    let mut text = String::new();
    for part in code.split("enum ").skip(1) {
        let Some((name, rest)) = part
            .split_once(
                " {
",
            )
            .filter(|(name, _)| is_name(name))
        else {
            continue;
        };
        write!(
            text,
            "
## {name}

| word | meaning |
| --- | --- |
"
        )
        .expect("it fits");
        let mut about = String::new();
        for line in rest.lines().map(str::trim).take_while(|line| *line != "}") {
            if let Some(more) = line.strip_prefix("///") {
                about += more;
            } else if !line.starts_with('#') {
                let line = line.trim_end_matches(',');
                let word = match line.split_once(" = ") {
                    Some((_, word)) => word.trim_matches('"').to_owned(),
                    None => snake(line),
                };
                writeln!(text, "| `{word}` | {} |", about.trim()).expect("it fits");
                about.clear();
            }
        }
    }
    text
}

/// Whether it is an enum's name, and no prose or macro.
fn is_name(text: &str) -> bool {
    text.chars().all(char::is_alphanumeric)
}

/// A variant's name as serde writes it.
fn snake(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

/// All Rust code below a folder.
fn code(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            code(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn each_test_that_holds_a_guarantee_exists() {
    let mut all = String::new();
    for folder in ["src", "crates", "tests"] {
        code(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    let guarantees = read("docs/develop/guarantees.md");
    let mut named = 0;
    for section in guarantees.split("\n### ").skip(1) {
        let title = section.lines().next().expect("a title");
        let held = section.split("*Held by*: ").nth(1).expect(title);
        for name in held.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
            let is_there = [format!("fn {name}("), format!("\"{name}\"")]
                .iter()
                .any(|written| all.contains(written));
            assert!(is_there, "{title}: there is no test `{name}`");
            named += 1;
        }
    }
    assert!(named > 50, "the names are found");
}

#[test]
fn each_reason_for_a_halt_is_in_the_runbooks() {
    let (halts, runbook) =
        (read("docs/reference/halts.md"), read("docs/runbooks/BinpulseHalted.md"));
    for reason in HaltReason::ALL.map(HaltReason::name) {
        let row = halts.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let cells = row.expect(reason).trim_matches('|').split('|').map(str::trim);
        let is_whole = cells.clone().count() == 4 && cells.clone().all(|cell| !cell.is_empty());
        assert!(is_whole, "{reason}: what it means, what to look at, what to do");
        assert!(runbook.contains(&format!("`{reason}`")), "{reason} is not in the runbook");
    }
}

/// Every page of the documents, in folders too.
fn pages(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
}

/// A heading's anchor, as the usual hosts make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let root = || Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![];
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        all.extend(Some(root().join(name)).filter(|path| path.exists()));
    }
    pages(&root().join("docs"), &mut all);
    let mut links = 0;
    for page in &all {
        let text = fs::read_to_string(page).expect("text");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let there = page.parent().expect("a folder").join(file);
            let there = if file.is_empty() { page.clone() } else { there };
            assert!(there.exists(), "{}: {target} leads nowhere", page.display());
            if !heading.is_empty() && there.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&there).expect("text");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                let is_there = headings.any(|found| found == heading);
                assert!(is_there, "{}: {target} has no such heading", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 100, "the links are found");
}

/// Nothing is hidden: from `docs/README.md` every page is one link away.
#[test]
fn the_index_of_the_docs_names_every_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut all = vec![];
    pages(&folder, &mut all);
    let index = read("docs/README.md");
    for page in all {
        let name = page.strip_prefix(&folder).expect("below").display().to_string();
        // Runbooks and decisions have an index of their own.
        let is_elsewhere = name == "README.md"
            || name.starts_with("runbooks/Binpulse")
            || name.starts_with("develop/decisions/0");
        assert!(
            is_elsewhere || index.contains(&format!("({name})")),
            "docs/README.md lacks {name}"
        );
    }
}

/// The table of alerts is that of the rules.
#[test]
fn each_alert_is_in_the_table_of_alerts_with_its_severity() {
    let (rules, page) = (read("alerts/rules/binpulse.rules.yml"), read("docs/operate/alerts.md"));
    let mut alerts = 0;
    for block in rules.split("- alert: ").skip(1) {
        let name = block.lines().next().expect("a name").trim();
        let severity = block.split("severity: ").nth(1).and_then(|rest| rest.split(',').next());
        let begin = format!("| [{name}](../runbooks/{name}.md) | {} |", severity.expect(name));
        assert!(page.contains(&begin), "docs/operate/alerts.md lacks {begin}");
        alerts += 1;
    }
    assert_eq!(page.matches("](../runbooks/").count(), alerts, "and no other");
}

/// Each state of the verdict has a row, in the order of evaluation, with its grade.
#[test]
fn each_state_of_the_verdict_has_a_row_in_its_order() {
    let page = read("docs/reference/states.md");
    let page = page.split("\n## ").next().expect("a beginning");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<_> =
        rows.filter(|(name, _)| State::ALL.iter().any(|it| it.name() == *name)).collect();
    let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, State::ALL.map(State::name));
    for ((name, rest), state) in rows.iter().zip(State::ALL) {
        let grade = format!("{:?}", state.grade()).to_lowercase();
        assert!(rest.trim_end().ends_with(&format!("| {grade} |")), "{name} is {grade}: {rest}");
    }
}

/// Each type that a column can have is explained.
#[test]
fn each_logical_type_is_in_the_table_of_types() {
    let (proto, page) = (read("proto/binpulse/v1/change.proto"), read("docs/reference/types.md"));
    let names = proto.lines().filter_map(|line| line.trim().strip_prefix("LOGICAL_TYPE_"));
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "UNSPECIFIED") {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// The paths are those that an answer of 404 lists.
#[test]
fn each_path_of_the_service_is_in_the_table_of_http() {
    let (code, page) = (read("src/telemetry/http/routes.rs"), read("docs/reference/http.md"));
    let list = code.split("const NOT_FOUND").nth(1).and_then(|rest| rest.split("\";").next());
    let lines = list.expect("it").lines().map(str::trim).filter(|line| line.starts_with('/'));
    let paths: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        assert!(page.contains(&format!("| `{path}` |")), "{path}");
    }
}

/// Paths that the documents name in code are there; `NAME` and the like stand for any.
#[test]
fn each_path_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("CONTRIBUTING.md"), root.join("README.md")];
    pages(&root.join("docs"), &mut all);
    let mut paths = 0;
    for page in &all {
        let text = fs::read_to_string(page).expect("text");
        for named in text.split('`').skip(1).step_by(2) {
            let begins =
                ["src/", "tests/", "docs/", "alerts/", "docker/", "proto/", "fuzz/", ".ci/"];
            let is_path = begins.iter().any(|begin| named.starts_with(begin))
                && !named.contains(|c: char| c.is_ascii_uppercase() || " *<>:".contains(c));
            if is_path {
                assert!(root.join(named).exists(), "{}: no {named}", page.display());
                paths += 1;
            }
        }
    }
    assert!(paths > 50, "{paths}");
}

/// Words that readers of these documents have asked about, and what to write in their place.
const NOT_PLAIN: [(&str, &str); 11] = [
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("anew", "again"),
    ("owe", "must"),
    ("owes", "must"),
    ("owed", "expected"),
    ("judge", "evaluate"),
    ("judges", "evaluates"),
    ("judged", "evaluated"),
    ("nobody", "no one, or a passive"),
];

#[test]
fn the_documents_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![];
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        all.push(root.join(name));
    }
    pages(&root.join("docs"), &mut all);
    // Written from the code, or by `make faults`.
    let is_written = |page: &PathBuf| {
        ["metrics.md", "status-json.md", "experiment.md"].iter().any(|name| page.ends_with(name))
    };
    for page in all.iter().filter(|page| !is_written(page)) {
        let text = fs::read_to_string(page).expect("text");
        let prose: String = text.split("```").step_by(2).collect();
        let prose: String = prose.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for word in prose.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase) {
            if let Some((_, plain)) = NOT_PLAIN.iter().find(|(other, _)| *other == word) {
                panic!("{}: `{word}`: write {plain}", page.display());
            }
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 80, "{lines} lines");
}

#[test]
fn the_documented_filter_leaves_out_the_tables_of_online_schema_changes() {
    let filters = read("docs/setup/filters.md");
    let section = filters.split("## Online schema changes").nth(1).expect("the section");
    let block = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let text = format!("{}\n[sink]\nkind = \"null\"\n", block.expect("its filter"));
    let required = [("source.hosts", "db:3306".to_owned()), ("source.user", "reader".to_owned())];
    let read = |_: &str| Ok(String::new());
    let values = load(Some(("binpulse.toml", &text)), &Environment::new(), &required, &read);
    let filter = Filter::new(Plan::new(&values.expect("settings")).expect("a plan").filter);
    for copy in ["_orders_gho", "_orders_ghc", "_orders_del", "_orders_20261129083000_del"] {
        assert!(!filter.wants("shop", copy), "{copy}");
    }
    for copy in ["_orders_new", "__orders_new", "_orders_old"] {
        assert!(!filter.wants("shop", copy), "{copy}");
    }
    for table in ["orders", "orders_new", "old_orders"] {
        assert!(filter.wants("shop", table), "{table}");
    }
}
