//! What the docs say is held against the code, and their links lead somewhere.

use std::fs;
use std::path::Path;

use binpulse::app::Plan;
use binpulse::config::{Environment, load};
use binpulse::filter::Filter;

/// `BINPULSE_TEST_REGENERATE=1 cargo test --test docs` writes it anew.
#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = binpulse::cli::reference();
    if std::env::var_os("BINPULSE_TEST_REGENERATE").is_some() {
        fs::write(&path, &reference).expect("docs/configuration.md is writable");
    }
    let written = fs::read_to_string(&path).expect("docs/configuration.md");
    assert!(written == reference, "docs/configuration.md is out of date; see tests/docs.rs");
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
    let guarantees = read("docs/guarantees.md");
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
    let code = read("src/app/halt.rs");
    let list = code.split("REASONS").nth(1).and_then(|rest| rest.split(';').nth(1)).expect("it");
    let reasons: Vec<_> = list.split('"').skip(1).step_by(2).chain(["fenced"]).collect();
    assert!(reasons.len() > 14, "{reasons:?}");
    let (operating, runbook) = (read("docs/operating.md"), read("docs/runbooks/BinpulseHalted.md"));
    for reason in reasons.into_iter().filter(|reason| *reason != "other") {
        let row = operating.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let cells = row.expect(reason).trim_matches('|').split('|').map(str::trim);
        let is_whole = cells.clone().count() == 4 && cells.clone().all(|cell| !cell.is_empty());
        assert!(is_whole, "{reason}: what it means, what to look at, what to do");
        assert!(runbook.contains(&format!("`{reason}`")), "{reason} is not in the runbook");
    }
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let root = || Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for folder in ["docs", "docs/runbooks"] {
        let entries = fs::read_dir(root().join(folder)).expect("folder");
        pages.extend(entries.map(|entry| entry.expect("entry").path()));
    }
    for page in pages.iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(page).expect("text");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            let there = page.parent().unwrap_or(Path::new("")).join(file);
            assert!(there.exists(), "{}: {target} leads nowhere", page.display());
        }
    }
}

#[test]
fn the_documented_filter_leaves_out_the_tables_of_online_schema_changes() {
    let operating = read("docs/operating.md");
    let section = operating.split("## Online schema changes").nth(1).expect("the section");
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
