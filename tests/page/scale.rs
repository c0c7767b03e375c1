//! Many consumers and paths, small and large screens, light and dark: what matters stays in sight, and
//! nobody is kept from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use binpulse::freshness::verdict::{Reason, State, words};
use binpulse::telemetry::Status;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::site::Site;
use crate::states::{halted, status};
use crate::verdicts::{picture, shows, still};

crate::tests! {
    the_verdict_stays_in_sight_however_many_consumers_there_are,
    axe_finds_nothing_in_any_state,
    a_picture_of_100_consumer_paths_is_drawn_in_4_milliseconds,
    the_worst_consumer_stands_first_and_a_filter_finds_the_others,
    a_date_stands_where_a_day_has_passed,
    runbooks_are_legible_on_the_smallest_screen_and_lead_somewhere,
}

/// A file with axe-core. Without it, and without the one that `make deps` fetches, axe is not asked.
const AXE: &str = "BINPULSE_TEST_AXE";

/// Consumers that the 100 paths belong to.
const TEAM: usize = 5;

/// That state with so many consumer paths; where canaries are lost, all of them are.
pub(crate) fn many(state: State, count: usize) -> Status {
    let mut says = status(state);
    let like = says.consumers[says.consumers.len() - 1].clone();
    let name = |at: usize| match at % TEAM {
        0 => format!("consumer-{:02}", at / TEAM),
        path => format!("consumer-{:02}/path-{path}", at / TEAM),
    };
    says.consumers = (0..count)
        .map(|at| {
            let mut consumer = like.clone();
            consumer.name = name(at);
            consumer
        })
        .collect();
    if state == State::CanaryLost {
        let names: Vec<Arc<str>> = (0..count).map(|at| name(at).into()).collect();
        let reason = Reason::Consumers(names);
        says.verdict.reason = Some(reason.name());
        says.verdict.headline = words::headline(state, Some(&reason), false).into_owned();
        says.verdict.next_step = words::next_step(state, Some(&reason), false).into_owned();
        let evidence = "two canaries in a row did not reach them";
        says.verdict.sentence = format!("{}: {evidence}.", says.verdict.headline);
    }
    says.concluded()
}

const SIZES: [(u32, u32); 2] = [(1280, 900), (375, 812)];
const SCHEMES: [&str; 2] = ["light", "dark"];

fn the_verdict_stays_in_sight_however_many_consumers_there_are(browser: &mut Browser) {
    let site = Site::start(status(State::Starting));
    let height = "document.getElementById('verdict').getBoundingClientRect().height";
    let next = "document.querySelector('.next').getBoundingClientRect().top";
    for state in State::ALL {
        for count in [1, 20, 100] {
            site.say(many(state, count));
            browser.load(&site.url());
            shows(browser, state);
            for (width, tall) in SIZES {
                browser.size(width, tall);
                for scheme in SCHEMES {
                    browser.media(&[("prefers-color-scheme", scheme)]);
                    let at = format!("{state}, {count} paths, {width} px, {scheme}");
                    let verdict = browser.value(height).as_f64().expect("a height");
                    assert!(verdict < 400.0, "{at}: the verdict is {verdict} px high");
                    let next = browser.value(next).as_f64().expect("a place");
                    assert!(next < f64::from(tall), "{at}: the next step is at {next} px");
                    let wide = browser.value("document.documentElement.scrollWidth");
                    assert_eq!(wide, Value::from(width), "{at}");
                }
            }
            let page = browser.value("document.documentElement.scrollHeight");
            assert!(page.as_f64().expect("a height") < 9_500.0, "{state} {count}: {page} px");
            browser.size(1280, 900);
        }
    }
    site.say(many(State::CanaryLost, 100));
    for ((width, tall), name) in SIZES.into_iter().zip(["many", "many-narrow"]) {
        browser.media(&[("prefers-color-scheme", "light")]);
        browser.size(width, tall);
        browser.load(&site.url());
        shows(browser, State::CanaryLost);
        picture(browser, name);
    }
}

/// The file with axe-core.
fn axe() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/axe-core/axe.min.js");
    std::env::var_os(AXE).map(PathBuf::from).or_else(|| fetched.is_file().then_some(fetched))
}

/// What axe finds, in words.
const VIOLATIONS: &str = "axe.run().then((found) => found.violations.map((one) => \
    one.id + ': ' + one.nodes.map((node) => node.target.join(' ')).join(', ')).join('\\n'))";

/// What axe finds on the page as it is; nothing where there is no axe.
pub(crate) fn violations(browser: &mut Browser) -> String {
    let Some(path) = axe() else { return String::new() };
    let axe = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    browser.value(&format!("{axe}; 0"));
    // What scrolls becomes a stop of the keyboard with the next frame.
    browser.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))");
    browser.text(VIOLATIONS)
}

fn axe_finds_nothing_in_any_state(browser: &mut Browser) {
    if axe().is_none() {
        println!("NOT RUN: no axe-core (`make deps`, or {AXE})");
        return;
    }
    let site = Site::start(status(State::Starting));
    let mut all: Vec<(String, Status)> =
        State::ALL.iter().map(|state| (state.to_string(), many(*state, 100))).collect();
    all.push(("halted".to_owned(), halted()));
    for (name, says) in all {
        site.say(says);
        browser.load(&site.url());
        browser.wait("document.getElementById('state').textContent !== '-'");
        for (width, tall) in SIZES {
            browser.size(width, tall);
            for scheme in SCHEMES {
                browser.media(&[("prefers-color-scheme", scheme)]);
                assert_eq!(violations(browser), "", "{name} at {width} px, {scheme}");
            }
        }
    }
}

fn a_picture_of_100_consumer_paths_is_drawn_in_4_milliseconds(browser: &mut Browser) {
    let site = Site::start(many(State::CanaryLost, 100));
    browser.load(&site.url());
    shows(browser, State::CanaryLost);
    let nodes = browser.value("document.querySelectorAll('td').length");
    assert!(nodes.as_u64().expect("a count") < 400, "{nodes} cells");
    // The best of many: a machine that is busy makes none of them faster.
    let best = browser.value(
        "(() => { let best = 1e9; for (let at = 0; at < 60; at += 1) { const began = \
         performance.now(); draw(); best = Math.min(best, performance.now() - began); } return best; })()",
    );
    println!("draw() with 100 consumer paths: {best} ms");
    assert!(best.as_f64().expect("a time") < 4.0, "{best} ms");
}

fn the_worst_consumer_stands_first_and_a_filter_finds_the_others(browser: &mut Browser) {
    let mut says = many(State::Live, 100);
    for canary in &mut says.consumers[73].recent {
        canary.state = binpulse::telemetry::words::CanaryState::Lost;
    }
    let site = Site::start(says.concluded());
    browser.load(&site.url());
    shows(browser, State::Live);
    let text = browser.text_of("consumers-text");
    assert_eq!(text, "1 of 100 consumer paths silent.");
    let rows = "[...document.querySelectorAll('#consumers tr')].map((row) => \
                row.querySelector('.label').textContent)";
    assert_eq!(browser.text(&format!("{rows}[0]")), "consumer-14");
    let first = browser.text("document.querySelector('#consumers tr').innerText");
    assert!(first.contains("silent: 1 of 5: consumer-14/path-3"), "{first}");
    assert_eq!(browser.text(&format!("{rows}.length")), "10");
    assert!(browser.text_of("consumers-more").starts_with("and 10 more"));
    assert!(browser.text_of("canaries").starts_with("consumer-14/path-3"));
    // Its paths are behind the button before its name
    browser.value("document.querySelector('#consumers button').click()");
    browser.wait(&format!("{rows}.length === 15"));
    let open = "document.querySelector('#consumers button').getAttribute('aria-expanded')";
    assert_eq!(browser.text(open), "true");
    assert_eq!(browser.text(&format!("{rows}[1]")), "consumer-14/path-3");
    browser.value(
        "const box = document.getElementById('filter'); box.value = '09/path'; \
         box.dispatchEvent(new Event('input')); 0",
    );
    browser.wait(&format!("{rows}.length === 4"));
    assert_eq!(browser.text(&format!("{rows}[0]")), "consumer-09/path-1");
    assert_eq!(browser.value("document.querySelectorAll('#canaries tr').length"), json!(4));
}

fn a_date_stands_where_a_day_has_passed(browser: &mut Browser) {
    let mut says = status(State::Quiet);
    let site = Site::start(says.clone());
    browser.load(&site.url());
    shows(browser, State::Quiet);
    says.verdict.since_seconds = 200_000.0;
    site.say(says.concluded());
    browser.wait("/2 d 07 h/.test(document.getElementById('since').textContent)");
    let date = "new Date(Date.now() - 200000000).toISOString().slice(0, 10)";
    let told = format!("document.getElementById('since').textContent.includes({date})");
    assert_eq!(browser.text(&told), "true", "{}", browser.text_of("since"));
}

fn runbooks_are_legible_on_the_smallest_screen_and_lead_somewhere(browser: &mut Browser) {
    let site = Site::start(many(State::CanaryLost, 100));
    let base = site.url();
    for path in ["", "BinpulseCanaryLost", "BinpulseHalted", "BinpulseRelayGapOpen"] {
        browser.size(320, 800);
        browser.load(&format!("{base}runbooks/{path}"));
        assert_eq!(browser.value("document.documentElement.scrollWidth"), json!(320), "{path}");
        let top = browser.text("document.querySelector('aside').innerText");
        assert!(top.contains("SNS accepts messages that do not reach"), "{path}: {top}");
        let wide = "[...document.querySelectorAll('table')].every((one) => one.scrollWidth <= 320)";
        assert_eq!(browser.text(wide), "true", "{path}");
        for scheme in SCHEMES {
            browser.media(&[("prefers-color-scheme", scheme)]);
            assert_eq!(violations(browser), "", "{path}, {scheme}");
        }
        browser.media(&[("prefers-color-scheme", "light")]);
        if path == "BinpulseCanaryLost" {
            still(browser, "runbook-narrow");
        }
    }
    browser.load(&format!("{base}runbooks/"));
    let link = browser.text("document.querySelector('aside a').getAttribute('href')");
    assert_eq!(link, "/runbooks/BinpulseCanaryLost");
    browser.load(&format!("{base}{}", link.trim_start_matches('/')));
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "BinpulseCanaryLost");
}
