//! What is shown for each verdict.

use binpulse::freshness::verdict::{Grade, State};
use binpulse::telemetry::Status;
use binpulse::telemetry::snapshot::{
    SnapshotState, SnapshotStatus, SnapshotTable, SnapshotTableState, SnapshotWait,
};
use binpulse::telemetry::status::{Finding, Halted, Path};
use binpulse::telemetry::words::{FindingLevel, HaltReason, Hop, StreamState};

use crate::browser::Browser;
use crate::site::Site;
use crate::states::{halted, status};

crate::tests! {
    each_verdict_is_told_with_its_evidence_its_hop_and_the_next_step,
    a_change_of_the_verdict_shows_without_reloading,
    a_start_that_waits_or_can_not_go_on_has_the_whole_page,
    a_halted_stream_is_never_shown_as_anything_else,
    loss_is_shouted_whatever_the_verdict,
    a_path_that_fails_is_not_green_and_there_is_something_to_do,
    logs_that_will_soon_be_purged_are_told_while_there_is_time,
    a_finding_is_shown_with_what_to_do_and_warns_unless_it_is_only_worth_knowing,
    a_station_names_the_consumers_that_are_silent_or_rest,
    ages_tick_and_rates_follow_from_two_answers,
    without_consumers_the_far_half_is_not_watched_rather_than_well,
    a_snapshot_shows_its_tables_with_bars_and_only_if_there_is_one,
}

/// The stations, as `name: how it stands`.
const STATIONS: &str = "[...document.querySelectorAll('#line li')].map((li) => \
    li.querySelector('.label').textContent + ': ' + li.dataset.indicator).join(', ')";

/// Waits until the page shows this state.
pub(crate) fn shows(browser: &mut Browser, state: State) {
    let name = state.name();
    browser
        .wait(&format!("document.getElementById('state').textContent.split(' ')[0] === '{name}'"));
}

/// Writes a picture of a page that does not move.
pub(crate) fn still(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("BINPULSE_PAGE_PICTURES") {
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(&path, browser.picture()).expect("a folder for pictures");
    }
}

/// Writes a picture where the environment asks for one.
pub(crate) fn picture(browser: &mut Browser, name: &str) {
    // What moves, moves on: the picture is of a moment.
    let picture = browser.picture();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name} is blank");
    if let Some(folder) = std::env::var_os("BINPULSE_PAGE_PICTURES") {
        // With a rate, as a person would see it, who looks for longer than a second.
        let rate = "/changes.s/.test(document.getElementById('line').textContent)";
        browser.wait(&format!("{rate} || document.body.dataset.indicator === 'lost'"));
        let picture = browser.picture();
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(&path, picture)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn each_verdict_is_told_with_its_evidence_its_hop_and_the_next_step(browser: &mut Browser) {
    let site = Site::start(status(State::Starting));
    for state in State::ALL {
        let says = status(state);
        site.say(says.clone());
        browser.load(&site.url());
        shows(browser, state);
        // The headline and what is beyond it: together they are the sentence.
        let headline = browser.text_of("headline");
        assert_eq!(headline, says.verdict.headline, "{state}");
        let beyond =
            says.verdict.sentence[headline.len()..].trim_start_matches([',', ':', ' ', '.']);
        let beyond = beyond.strip_prefix("and ").unwrap_or(beyond);
        let shown = browser.text_of("sentence");
        assert!(shown.eq_ignore_ascii_case(beyond), "{state}: {shown} is not {beyond}");
        assert_eq!(browser.text_of("next"), says.verdict.next_step, "{state}");
        let link =
            "const a = document.getElementById('runbook'); a.hidden ? '' : a.getAttribute('href')";
        let runbook = says.verdict.runbook.clone().unwrap_or_default();
        assert_eq!(browser.text(link), runbook, "{state}");
        for fact in &says.verdict.facts {
            assert!(browser.text_of("facts").contains(fact.as_str()), "{state}: {fact}");
        }
        let (look, grade) = match state.grade() {
            Grade::Outage => ("broken", "outage"),
            Grade::Late => ("late", "late"),
            Grade::Recovering => ("late", "recovering"),
            Grade::Unknown | Grade::Unproven => ("unknown", "not known"),
            Grade::Intended => ("late", "intended"),
            Grade::Healthy => ("works", "healthy"),
        };
        assert_eq!(browser.text("document.body.dataset.indicator"), look, "{state}");
        let at = match (says.verdict.hop.name(), state) {
            ("none", State::CheckpointStuck) => " at checkpoint".to_owned(),
            ("none", _) => String::new(),
            (hop, _) => format!(" at {hop}"),
        };
        assert_eq!(browser.text_of("grade"), format!("{grade}{at}"), "{state}");
        let marked = browser.text(
            "[...document.querySelectorAll('[aria-current]')].map((li) => \
             li.querySelector('.label').textContent.toLowerCase()).join() || 'none'",
        );
        assert_eq!(marked, says.verdict.hop.name(), "{state}");
        stations(browser, state, &says);
        let since = browser.text_of("since");
        assert!(since.starts_with("Since ") && since.contains(", for "), "{state}: {since}");
        assert!(browser.text("document.title").contains("orders-eu"), "{state}");
        picture(browser, state.name());
    }
}

/// Before the break it works, behind it nobody judges; nothing is green that is not known.
fn stations(browser: &mut Browser, state: State, says: &Status) {
    let stations = browser.text(STATIONS);
    let looks: Vec<&str> = stations.split(", ").filter_map(|one| one.split(": ").nth(1)).collect();
    let names = ["source", "stream", "publish", "delivery", "consumers"];
    match names.iter().position(|name| *name == says.verdict.hop.name()) {
        Some(broken) => {
            let expected = if state.grade() == Grade::Late { "late" } else { "broken" };
            assert!(looks[..broken].iter().all(|look| *look == "works"), "{state}: {stations}");
            assert_eq!(looks[broken], expected, "{state}");
            let behind = looks[broken + 1..].iter().all(|look| *look == "waits");
            assert!(behind, "{state}: {stations}");
        }
        None if state.is_healthy() => {
            assert!(looks.iter().all(|look| *look == "works"), "{state}: {stations}");
        }
        None => assert!(!looks.contains(&"broken"), "{state}: {stations}"),
    }
    let words = browser.text("document.querySelector('#line').innerText.toLowerCase()");
    let said = words.contains("broken here") || words.contains("late here");
    // A terminal shows the same, from the same document
    let same: Vec<_> =
        says.conclusion.stations.iter().map(|one| one.indicator.name()).take(5).collect();
    assert_eq!(looks, same, "{state}");
    assert_eq!(said, says.verdict.hop != Hop::None, "in words, not by colour alone: {words}");
    if state == State::Indeterminate {
        assert!(stations.contains("Stream: unknown"), "{stations}");
    }
    let siding = browser.text("document.getElementById('siding').dataset.indicator");
    assert_eq!(siding == "broken", state == State::CheckpointStuck, "{state}: {siding}");
}

fn a_change_of_the_verdict_shows_without_reloading(browser: &mut Browser) {
    let site = Site::start(status(State::Live));
    browser.load(&site.url());
    shows(browser, State::Live);
    browser.value("window.kept = true");
    for state in [State::SinkStalled, State::CatchingUp, State::Quiet] {
        site.say(status(state));
        shows(browser, state);
        // Told once to those who do not see it, and kept in the list.
        let told = browser.text_of("announcer");
        assert!(told.contains(&status(state).verdict.headline), "{state}: {told}");
        assert!(told.contains(&status(state).verdict.next_step), "{state}: {told}");
    }
    let seen = browser.text("document.getElementById('seen').innerText");
    let at = |state: State| seen.find(state.name()).expect("it was seen");
    assert!(at(State::Quiet) < at(State::SinkStalled) && at(State::SinkStalled) < at(State::Live));
    assert_eq!(browser.text("window.kept"), "true", "the same document all the while");
    assert!(browser.text("document.title").starts_with('\u{2713}'));
}

fn a_start_that_waits_or_can_not_go_on_has_the_whole_page(browser: &mut Browser) {
    let begun = |state: State| {
        let mut says = status(State::Starting);
        says.verdict = status(state).verdict;
        says
    };
    let mut lost = begun(State::PositionLost);
    lost.state = StreamState::Halted;
    lost.halted = Some(Halted {
        reason: HaltReason::PositionLost,
        message: "server error 1236: the first GTID that we lack was purged".to_owned(),
        remedy: "find a server that has the logs".to_owned(),
    });
    let site = Site::start(status(State::Starting));
    for (name, says, grade, headline) in [
        ("starting", begun(State::Starting), "not known", "Starting"),
        ("waiting", begun(State::SourceUnreachable), "outage at source", "The database can't be"),
        ("lost", lost, "halted at stream", "The stream cannot continue from its position"),
    ] {
        site.say(says.concluded());
        browser.load(&site.url());
        browser.wait("document.getElementById('state').textContent !== '-'");
        assert_eq!(browser.text_of("grade"), grade, "{name}");
        assert!(browser.text_of("headline").starts_with(headline), "{name}");
        assert!(!browser.text_of("next").is_empty(), "{name}");
        assert_eq!(browser.value("document.querySelectorAll('#line li').length"), 5, "{name}");
        assert_eq!(browser.text("document.getElementById('alarm').hidden"), "true", "{name}");
        picture(browser, &format!("start-{name}"));
    }
}

fn a_halted_stream_is_never_shown_as_anything_else(browser: &mut Browser) {
    let mut says = halted();
    let site = Site::start(says.clone());
    browser.load(&site.url());
    browser.wait("document.getElementById('grade').textContent === 'halted at stream'");
    // A table's name keeps its case, also where a sentence begins.
    let message = browser.text_of("sentence");
    assert!(message.starts_with("shop.orders, ") && message.ends_with("type 245."), "{message}");
    assert!(browser.text_of("next").starts_with("Examine the named event with mysqlbinlog"));
    assert!(browser.text(STATIONS).contains("Stream: broken"));
    picture(browser, "halted");

    // The verdict needs its time to see what the stream knows at once; the next step is a restart.
    says.verdict = status(State::Quiet).verdict;
    site.say(says.clone().concluded());
    browser.wait("document.getElementById('facts').textContent.includes('Every condition')");
    assert_eq!(browser.text("document.body.dataset.indicator"), "broken");
    assert!(browser.text(STATIONS).contains("Stream: broken"));
    assert!(browser.text_of("next").contains("restart"), "{}", browser.text_of("next"));
    // Also while another hop is broken
    says.verdict = status(State::SourceHung).verdict;
    site.say(says.concluded());
    browser.wait("document.getElementById('grade').textContent === 'halted at source'");
    let stations = browser.text(STATIONS);
    assert!(stations.starts_with("Source: broken, Stream: broken, Publish: waits"), "{stations}");
}

fn loss_is_shouted_whatever_the_verdict(browser: &mut Browser) {
    let mut says = status(State::Live);
    says.verdict.unaccounted_transactions = 3;
    let site = Site::start(says.concluded());
    browser.load(&site.url());
    shows(browser, State::Live);
    let text = browser.text("document.querySelector('#notices [data-kind=loss]').innerText");
    assert!(text.contains("3 transactions"), "{text}");
    // Whatever else is well, there is something to do.
    assert!(browser.text_of("next").starts_with("Find out which rows are missing"));
    let link = browser.text("document.getElementById('runbook').getAttribute('href')");
    assert_eq!(link, "/runbooks/BinpulseUnaccountedTransactions");
    picture(browser, "loss");
    site.say(status(State::Live));
    browser.wait("document.querySelectorAll('#notices li').length === 0");
}

fn a_path_that_fails_is_not_green_and_there_is_something_to_do(browser: &mut Browser) {
    let mut says = status(State::Live);
    let path = |name: &str| Path {
        name: name.to_owned(),
        table: format!("billing.{name}"),
        column: "reference".to_owned(),
        canary: says.canary.clone(),
        failing: false,
    };
    says.paths = vec![path("orders"), path("refunds")];
    let site = Site::start(says.clone().concluded());
    browser.load(&site.url());
    shows(browser, State::Live);
    assert_eq!(browser.text("document.body.dataset.indicator"), "works");
    assert!(browser.text_of("paths").contains("billing.refunds.reference"));

    says.paths[1].failing = true;
    "denied: INSERT command denied".clone_into(&mut says.paths[1].canary.last_result);
    site.say(says.concluded());
    browser.wait("document.body.dataset.indicator === 'late'");
    assert_eq!(browser.text_of("grade"), "healthy, with a warning");
    let headline = browser.text_of("headline");
    assert!(headline.contains("canaries of the path refunds are not written"), "{headline}");
    assert!(browser.text_of("next").contains("canary of refunds"), "{}", browser.text_of("next"));
    assert!(browser.text_of("notices").contains("INSERT command denied"));
    let row = "[...document.querySelectorAll('#paths tr')].map((row) => \
               row.children[2].dataset.indicator).join('/')";
    assert_eq!(browser.text(row), "broken/", "the one that fails stands first");
    picture(browser, "path-failing");
}

fn a_finding_is_shown_with_what_to_do_and_warns_unless_it_is_only_worth_knowing(
    browser: &mut Browser,
) {
    let finding = |level: FindingLevel, what: &str| Finding {
        level,
        what: what.to_owned(),
        found: format!("{what} as it is"),
        needed: "something else".to_owned(),
        remedy: "remove <b>it</b> from my.cnf".to_owned(),
        refuses: level == FindingLevel::Refusal,
    };
    let mut says = status(State::Quiet);
    let site = Site::start(says.clone());
    browser.load(&site.url());
    shows(browser, State::Quiet);
    let hidden = "document.getElementById('findings-card').hidden";
    assert_eq!(browser.text(hidden), "true");

    // Worth knowing: it stands in its list, and all stays green
    says.findings = vec![finding(FindingLevel::Note, "foreign keys")];
    site.say(says.clone().concluded());
    browser.wait(&format!("!{hidden}"));
    let row = browser.text("document.getElementById('findings').innerText");
    for part in ["foreign keys", "note", "as it is", "something else", "remove <b>it</b>"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert_eq!(browser.text("document.body.dataset.indicator"), "works");

    // To be acted on: it is told above, and is the next step
    says.findings.insert(0, finding(FindingLevel::Warning, "binlog-do-db"));
    site.say(says.concluded());
    browser.wait("document.querySelectorAll('#notices [data-kind=finding]').length === 1");
    assert_eq!(browser.text("document.body.dataset.indicator"), "late");
    assert_eq!(browser.text_of("next"), "Remove <b>it</b> from my.cnf.");
    let control = browser.text("document.querySelector('#notices [data-kind=finding]').innerText");
    assert!(control.contains("binlog-do-db: found binlog-do-db as it is"), "{control}");
    let link = browser.text("document.getElementById('runbook').getAttribute('href')");
    assert_eq!(link, "/runbooks/BinpulseSourceFinding");
    picture(browser, "finding");
}

fn logs_that_will_soon_be_purged_are_told_while_there_is_time(browser: &mut Browser) {
    let mut says = status(State::SinkStalled);
    says.progress.purge_margin_seconds = Some(11_700.0);
    says.progress.log_expiry_seconds = Some(259_200.0);
    let site = Site::start(says.clone().concluded());
    browser.size(360, 800);
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    let text = browser.text("document.querySelector('#notices [data-kind=purge]').innerText");
    assert!(text.starts_with("In 3 h 1") && text.contains("keeps logs for 3 d 00 h"), "{text}");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), serde_json::json!(360));
    picture(browser, "purge-narrow");
    // Most of the time is left: that is no news.
    says.progress.purge_margin_seconds = Some(200_000.0);
    site.say(says.concluded());
    browser.wait("document.querySelectorAll('#notices li').length === 0");
    assert!(browser.text_of("progress").contains("2 d 07 h of 3 d 00 h"));
}

fn a_station_names_the_consumers_that_are_silent_or_rest(browser: &mut Browser) {
    let site = Site::start(status(State::CanaryLost));
    let station = "document.getElementById('station-consumers').innerText";
    browser.media(&[("prefers-color-scheme", "dark")]);
    browser.load(&site.url());
    shows(browser, State::CanaryLost);
    let text = browser.text(station);
    assert!(text.contains("1 of 2 echoes") && text.contains("silent: search"), "{text}");
    // The one that gets nothing is named where everybody looks
    assert!(browser.text_of("headline").ends_with("do not reach search"));
    assert!(browser.text_of("next").contains("subscription of search"));
    picture(browser, "canary-lost-dark");
    let mut says = status(State::Quiet);
    says.consumers[1].maintenance_seconds_left = Some(1_290.0);
    site.say(says.concluded());
    shows(browser, State::Quiet);
    let text = browser.text(station);
    assert!(text.contains("1 of 2 echoes") && text.contains("in maintenance: search"), "{text}");
    assert!(browser.text_of("consumers").contains("search, in maintenance for 21 min"));
    picture(browser, "maintenance-dark");
}

fn ages_tick_and_rates_follow_from_two_answers(browser: &mut Browser) {
    let mut says = status(State::Live);
    says.sink.last_accept_age_seconds = Some(7.0);
    let site = Site::start(says.clone());
    browser.load(&site.url());
    shows(browser, State::Live);
    // Between two answers the age continues: each answer says 7.0 s.
    browser.wait("/7\\.[3-9] s ago/.test(document.getElementById('sink').textContent)");
    browser.wait("/0\\.0 changes\\/s/.test(document.getElementById('line').textContent)");
    says.progress.changes_published += 500;
    site.say(says);
    browser.wait("/[1-9][0-9.]* changes\\/s/.test(document.getElementById('line').textContent)");
}

fn without_consumers_the_far_half_is_not_watched_rather_than_well(browser: &mut Browser) {
    let mut says = status(State::Quiet);
    says.consumers.clear();
    let site = Site::start(says.concluded());
    browser.load(&site.url());
    shows(browser, State::Quiet);
    let stations = browser.text(STATIONS);
    assert!(stations.ends_with("Publish: works, Delivery: unwatched, Consumers: unwatched"));
    assert!(browser.text("document.querySelector('#line').innerText").contains("not watched"));
}

fn a_snapshot_shows_its_tables_with_bars_and_only_if_there_is_one(browser: &mut Browser) {
    let table = |name: &str, state, rows, rows_estimated| SnapshotTable {
        database: "shop".to_owned(),
        table: name.to_owned(),
        state,
        rows,
        rows_estimated,
        chunks: 1,
        reason: None,
    };
    let mut says = status(State::Quiet);
    let site = Site::start(says.clone());
    browser.load(&site.url());
    shows(browser, State::Quiet);
    let hidden = "document.getElementById('snapshot-card').hidden";
    assert_eq!(browser.text(hidden), "true");

    let mut tables = vec![
        table("orders<b>", SnapshotTableState::Reading, 1_500, Some(3_000)),
        table("audit", SnapshotTableState::Abandoned, 0, None),
    ];
    tables[1].reason = Some("it has no key".to_owned());
    tables.extend((0..20).map(|_| table("later", SnapshotTableState::Waiting, 0, Some(10))));
    let snapshot = SnapshotStatus {
        verifies: false,
        id: "01JDZ".to_owned(),
        state: SnapshotState::Running,
        waits_for: Some(SnapshotWait::ThreadsRunning),
        reason: None,
        audience: Some("billing".to_owned()),
        started_at_us: 0,
        newest_chunk_at_us: None,
        stalled_seconds: None,
        rows: 1_500,
        rows_per_second: 12_345.0,
        seconds_left: Some(200.0),
        tables,
    };
    says.snapshot = Some(snapshot.clone());
    site.say(says.clone().concluded());
    browser.wait(&format!("!{hidden}"));
    let card = browser.text("document.getElementById('snapshot-card').innerText");
    for part in [
        "billing",
        "0 of 22",
        "12,345 rows/s",
        "threads running",
        "shop.orders<b>",
        "1,500 of about 3,000",
        "given up",
        "it has no key",
        "and 12 more",
    ] {
        assert!(card.contains(part), "{part} in {card}");
    }
    let bar = |row: u32| {
        format!("String(document.querySelectorAll('#snapshot-tables progress')[{row}].value)")
    };
    assert_eq!(browser.text(&bar(0)), "0.5");
    assert_eq!(browser.text("document.querySelectorAll('#snapshot-tables tr').length"), "10");

    says.snapshot = Some(SnapshotStatus { stalled_seconds: Some(600.0), ..snapshot.clone() });
    site.say(says.clone().concluded());
    browser
        .wait("document.getElementById('snapshot-card').innerText.includes('no chunk for 10 min')");

    let over = SnapshotStatus { state: SnapshotState::Done, ..snapshot };
    says.snapshot = Some(over);
    site.say(says.concluded());
    browser.wait("document.querySelector('#snapshot dd').textContent === 'done'");
    let card = browser.text("document.getElementById('snapshot-card').innerText");
    assert!(!card.contains("rows/s") && !card.contains("about 3 min"), "{card}");
}
