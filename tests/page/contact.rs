//! What is shown when answers fail to come: never the last one as if it were the present.

use binpulse::freshness::verdict::State;
use binpulse::telemetry::Status;

use crate::access::is_legible;
use crate::browser::Browser;
use crate::scale::{many, violations};
use crate::site::Site;
use crate::states::{halted, status};
use crate::verdicts::{picture, shows};

crate::tests! {
    a_dead_service_is_said_loudly_with_the_age_of_its_last_answer,
    a_service_that_hangs_is_told_from_one_that_answers,
    a_frozen_verdict_is_no_verdict,
    what_is_no_status_is_no_answer,
    what_is_no_longer_known_stays_legible,
}

const LOST: &str = "document.body.dataset.indicator === 'lost'";
const GREEN: &str = "[...document.querySelectorAll('[data-indicator=works]')].length";

fn nothing_is_green(browser: &mut Browser) {
    assert_eq!(browser.text(GREEN), "0");
    assert!(!browser.text("document.title").contains('\u{2713}'));
}

fn a_dead_service_is_said_loudly_with_the_age_of_its_last_answer(browser: &mut Browser) {
    let mut site = Site::start(status(State::Quiet));
    browser.load(&site.url());
    shows(browser, State::Quiet);
    site.stop();
    browser.wait(LOST);
    nothing_is_green(browser);
    assert_eq!(browser.text_of("headline"), "Quiet or down: not known");
    assert!(browser.text_of("sentence").contains("The last verdict was: The database is quiet."));
    // Its age is told, and grows.
    browser.wait("/for [4-9]\\.\\d s/.test(document.getElementById('alarm-head').textContent)");
    let told = browser.text_of("announcer");
    assert!(told.starts_with("binpulse does not answer."), "{told}");
    // What was 2 s old then does not tick on as if it were known.
    assert!(browser.text("document.getElementById('source').textContent").contains("2.1 s ago"));
    picture(browser, "unreachable");
    // Nor does a copy of it claim to be of now
    browser.value(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { \
         window.copied = text; } } }); document.getElementById('copy').click()",
    );
    browser.wait("document.getElementById('copied').textContent === 'copied'");
    let text = browser.text("window.copied");
    assert!(text.contains("No answer for") && text.contains("last known to be saved"), "{text}");
    assert!(!text.contains("just now"), "{text}");

    site.resume();
    shows(browser, State::Quiet);
    browser.wait("document.getElementById('alarm').hidden");
    assert_eq!(browser.text("document.body.dataset.indicator"), "works");
}

fn a_service_that_hangs_is_told_from_one_that_answers(browser: &mut Browser) {
    let site = Site::start(status(State::Live));
    browser.load(&site.url());
    shows(browser, State::Live);
    site.hang(true);
    browser.wait(LOST);
    nothing_is_green(browser);
    browser.wait("document.getElementById('alarm-text').textContent.includes('no answer within')");
    site.hang(false);
    browser.wait("document.body.dataset.indicator === 'works'");
}

fn a_frozen_verdict_is_no_verdict(browser: &mut Browser) {
    let mut says = status(State::Quiet);
    says.verdict.evaluated_age_seconds = 40.0;
    let site = Site::start(says.concluded());
    browser.load(&site.url());
    browser.wait(LOST);
    nothing_is_green(browser);
    let head = browser.text_of("alarm-head");
    assert!(head.starts_with("No verdict for 4"), "{head}");
    assert!(browser.text_of("contact").starts_with("Live"), "what answers is not called silent");
}

fn what_is_no_status_is_no_answer(browser: &mut Browser) {
    // A document of another program, or of another version, has none of the members.
    let site = Site::start(Status::default().concluded());
    browser.load(&site.url());
    browser.wait("document.getElementById('state').textContent !== '-'");
    browser.value("window.fetch = async () => new Response('{\"hello\": 1}', { status: 200 })");
    browser.wait(LOST);
    nothing_is_green(browser);
    browser.value("window.fetch = async () => new Response('busy', { status: 500 })");
    browser.wait("document.getElementById('alarm-text').textContent.includes('HTTP 500')");
}

/// What stands in the part of the page that is no longer known.
const STALE: [&str; 8] =
    ["td", "th", "dt", "dd", ".station .label", ".station .text", ".word", ".facts li"];

fn what_is_no_longer_known_stays_legible(browser: &mut Browser) {
    let site = Site::start(status(State::Quiet));
    let mut silent = many(State::CanaryLost, 20);
    silent.findings = vec![binpulse::telemetry::status::Finding::default()];
    for says in [status(State::Live), silent, status(State::CatchingUp), halted()] {
        site.say(says.concluded());
        browser.load(&site.url());
        browser.wait("document.getElementById('state').textContent !== '-'");
        site.hang(true);
        browser.wait(LOST);
        browser.value("document.getElementById('conditions-box').open = true");
        for (width, tall) in [(1280, 900), (375, 812)] {
            browser.size(width, tall);
            for scheme in ["light", "dark"] {
                browser.media(&[("prefers-color-scheme", scheme)]);
                let state = browser.text_of("state");
                is_legible(browser, &STALE, &format!("{state}, {scheme}"));
                assert_eq!(violations(browser), "", "{state}, {width} px, {scheme}");
            }
        }
        site.hang(false);
        browser.size(1280, 900);
    }
}
