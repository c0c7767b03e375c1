//! What the docs say is held against the code, and their links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use binpulse::app::Plan;
use binpulse::config::{Environment, load};
use binpulse::filter::Filter;

/// `BINPULSE_TEST_REGENERATE=1 cargo test --test docs` writes it anew.
#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/settings.md");
    let reference = binpulse::cli::reference();
    if std::env::var_os("BINPULSE_TEST_REGENERATE").is_some() {
        fs::write(&path, &reference).expect("docs/reference/settings.md is writable");
    }
    let written = fs::read_to_string(&path).expect("docs/reference/settings.md");
    assert!(written == reference, "docs/reference/settings.md is out of date; see tests/docs.rs");
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
    let code = read("src/app/halt.rs");
    let list = code.split("REASONS").nth(1).and_then(|rest| rest.split(';').nth(1)).expect("it");
    let reasons: Vec<_> = list.split('"').skip(1).step_by(2).chain(["fenced"]).collect();
    assert!(reasons.len() > 14, "{reasons:?}");
    let (halts, runbook) =
        (read("docs/reference/halts.md"), read("docs/runbooks/BinpulseHalted.md"));
    for reason in reasons.into_iter().filter(|reason| *reason != "other") {
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
        // The runbooks have an index of their own.
        let is_elsewhere = name == "README.md" || name.starts_with("runbooks/Binpulse");
        assert!(
            is_elsewhere || index.contains(&format!("({name})")),
            "docs/README.md lacks {name}"
        );
    }
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
