//! What has been is shown after a reload, and told in words and in lines.

use binpulse::freshness::verdict::State;
use binpulse::telemetry::verdict_history::{Document, History};

use crate::browser::Browser;
use crate::site::Site;
use crate::states::status;

crate::tests! {
    the_history_survives_a_reload_and_what_was_opened_stays_open,
    a_history_that_is_missing_is_told_and_hides_nothing,
}

const SECOND: i64 = 1_000_000;
/// 2026-11-29, 10:00 UTC.
const BEGAN: i64 = 1_795_946_400 * SECOND;

/// An hour in which the sink stood still for ten minutes, and which ends late.
fn hour() -> Document {
    let mut history = History::default();
    for second in 0..3_600_i32 {
        let state = match second {
            1_200..1_800 => State::SinkStalled,
            3_500.. => State::CatchingUp,
            _ => State::Live,
        };
        let mut says = status(state).concluded();
        let late = if second < 3_500 { 0 } else { 3_700 - second };
        says.progress.lag_seconds = Some(f64::from(late));
        says.progress.changes_published = u64::from(second.unsigned_abs()) * 40;
        says.progress.changes_read = u64::from(second.unsigned_abs()) * 40;
        says.progress.newest_commit_age_seconds = Some(f64::from(late));
        if second % 10 == 0 {
            let rows = u64::from(second.unsigned_abs());
            let tables = [("shop.orders", 30 * rows), ("shop.items", 10 * rows)];
            let counts = tables.map(|(name, rows)| (name.into(), rows));
            history.count_tables(counts.into(), BEGAN + i64::from(second) * SECOND);
        }
        history.record(&says, BEGAN + i64::from(second) * SECOND);
    }
    history.document()
}

fn the_history_survives_a_reload_and_what_was_opened_stays_open(browser: &mut Browser) {
    let site = Site::start(status(State::Live));
    site.remember(hour());
    for _ in 0..2 {
        browser.load(&site.url());
        browser.wait("document.querySelectorAll('#changes > li').length === 4");
    }
    let told = browser.text_of("history-late");
    assert_eq!(told, "1 min 41 s late, about 2 min to catch up.");
    let second = "document.querySelectorAll('#changes > li')[2]";
    let text = browser.text(&format!("{second}.textContent"));
    for wanted in ["sink_stalled (denied)", "for 10 min 00 s", "AuthorizationError", "Next: "] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    let lines = "[...document.querySelectorAll('.spark path')].map((one) => one.getAttribute('d'))";
    let drawn = browser.value(lines);
    for path in [&drawn[1], &drawn[2]] {
        let path = path.as_str().expect("a path");
        assert!(path.starts_with('M') && path.matches('L').count() > 300, "{path}");
    }
    let busiest = browser.text_of("busiest");
    assert_eq!(busiest, "shop.orders30 rows/sshop.items10 rows/s");
    let rate = drawn[2].as_str().expect("a path");
    assert!(rate.starts_with('M') && rate.matches('L').count() > 300, "{rate}");
    browser.value(&format!("{second}.querySelector('details').open = true"));
    browser.value("drawHistory({ late: '', told: '', changes: [{ at_us: Date.now() * 1000, state: 'live', label: 'healthy', headline: 'h', evidence: '', next_step: '', facts: [], conditions: [], indicator: 'works' }], points: [] }); 0");
    assert_eq!(browser.value("document.querySelectorAll('#changes > li').length"), 1);
    site.remember(hour());
    browser.load(&site.url());
    browser.wait("document.querySelectorAll('#changes > li').length === 4");
    browser.value(&format!("{second}.querySelector('details').open = true"));
    browser.value("askHistory(); 0");
    browser.wait(&format!("{second}.querySelector('details').open"));
    browser.value("document.getElementById('history-card').scrollIntoView()");
    for (width, tall, scheme) in [(1280, 900, "light"), (375, 812, "dark")] {
        browser.size(width, tall);
        browser.media(&[("prefers-color-scheme", scheme)]);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert_eq!(wide, width, "{width} px, {scheme}");
        browser.value("document.getElementById('history-card').scrollIntoView()");
        crate::verdicts::picture(browser, &format!("history-{width}"));
    }
    browser.size(1280, 900);
    browser.media(&[]);
}

fn a_history_that_is_missing_is_told_and_hides_nothing(browser: &mut Browser) {
    let mut site = Site::start(status(State::Live));
    browser.load(&site.url());
    browser.wait("document.querySelector('.spark .label').textContent.includes('nothing yet')");
    site.remember(hour());
    browser.value("askHistory(); 0");
    browser.wait("document.querySelectorAll('#changes > li').length === 4");
    site.stop();
    browser.value("askHistory(); 0");
    browser.wait("document.getElementById('history-told').textContent.startsWith('No newer')");
    assert_eq!(browser.value("document.querySelectorAll('#changes > li').length"), 4);
    site.resume();
}
