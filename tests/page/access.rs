//! For everybody: keyboard, screen reader, small screens, dark rooms, hostile names.

use binpulse::freshness::verdict::State;
use binpulse::telemetry::{Link, Status};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::site::Site;
use crate::states::{halted, status};
use crate::verdicts::{picture, shows};

crate::tests! {
    markup_in_names_and_errors_stays_text,
    the_policy_refuses_foreign_script,
    the_keyboard_reaches_everything_in_the_order_of_reading,
    a_click_on_a_station_leads_to_its_figures,
    landmarks_and_names_are_there_for_screen_readers,
    nothing_scrolls_sideways_at_320_pixels,
    a_dark_scheme_is_dark_and_legible,
    what_is_printed_is_dark_on_white_and_whole,
    those_who_want_no_motion_get_none,
    the_summary_can_be_copied,
    the_bundle_is_downloaded_by_its_button,
    a_command_is_complete_and_is_copied_without_https,
    a_link_of_the_settings_leads_to_a_page_and_to_nothing_else,
}

/// Pairs of selectors whose text must stand out from what is behind it.
const LEGIBLE: [&str; 8] =
    ["h1", ".sentence", "#next", ".contact", "dt", "dd", ".station .word", ".station .text"];

/// Contrast of each text with the first opaque ground behind it, by the formula of WCAG 2; with what its
/// own opacity, and that of all around it, leaves of it.
pub(crate) const CONTRASTS: &str = "
(selectors) => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c / 255)
      .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const opacity = (node) => {
    let left = 1;
    for (let at = node; at; at = at.parentElement) left *= Number(getComputedStyle(at).opacity);
    return left;
  };
  const over = (above, below, part) => above.slice(0, 3).map((c, at) => c * part + below[at] * (1 - part));
  return selectors.flatMap((selector) => [...document.querySelectorAll(selector)].map((node) => {
    const below = ground(node);
    const [a, b] = [light(over(rgb(getComputedStyle(node).color), below, opacity(node))), light(below)];
    return [selector + ' ' + node.textContent.slice(0, 20), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }));
}";

fn markup_in_names_and_errors_stays_text(browser: &mut Browser) {
    let evil = "<img src=x onerror=\"window.hacked=1\"></script><script>window.hacked=1</script>";
    let mut says = status(State::CanaryLost);
    says.stream = evil.to_owned();
    says.source.host = evil.to_owned();
    says.heartbeat.last_result = evil.to_owned();
    says.verdict.sentence = evil.to_owned();
    says.verdict.facts = vec![evil.to_owned()];
    says.verdict.next_step = evil.to_owned();
    says.verdict.reason = Some(evil.to_owned());
    says.verdict.conditions[0].because = evil.to_owned();
    says.consumers[0].name = evil.to_owned();
    says.checkpoint.place = evil.to_owned();
    says.sink.last_error = Some(evil.to_owned());
    says.config = json!({ evil: evil });
    let site = Site::start(says.concluded());
    browser.load(&site.url());
    browser.wait("document.getElementById('stream').textContent !== ''");
    for id in ["stream", "sentence", "next"] {
        assert_eq!(browser.text_of(id), evil, "{id}");
    }
    for id in ["facts", "source", "sink", "checkpoint", "consumers", "canaries", "conditions"] {
        assert!(browser.text_of(id).contains(evil), "{id}");
    }
    let made = "document.querySelectorAll('img, main script').length + ' ' + window.hacked";
    assert_eq!(browser.text(made), "0 undefined");
    assert!(browser.text("document.title").contains(evil));
}

fn the_policy_refuses_foreign_script(browser: &mut Browser) {
    let site = Site::start(status(State::Quiet));
    browser.load(&site.url());
    shows(browser, State::Quiet);
    browser.value(
        "window.refused = []; addEventListener('securitypolicyviolation', (event) => \
         window.refused.push(event.effectiveDirective)); \
         const script = document.createElement('script'); script.textContent = 'window.hacked=1'; \
         document.body.append(script); \
         const image = document.createElement('img'); image.src = 'http://127.0.0.1:9/x'; \
         document.body.append(image); 0",
    );
    browser.wait("window.refused.length === 2");
    assert_eq!(browser.text("window.refused.sort().join()"), "img-src,script-src-elem");
    assert_eq!(browser.text("window.hacked"), "null", "undefined: it did not run");
    // Both are what this test is about.
    browser.errors.clear();
}

fn the_keyboard_reaches_everything_in_the_order_of_reading(browser: &mut Browser) {
    let site = Site::start(status(State::SinkStalled));
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    let mut order = Vec::new();
    for _ in 0..21 {
        browser.press("Tab", 9);
        let focused = browser.text(
            "(() => { const at = document.activeElement; return at.id || \
             (at.parentElement.id ? at.parentElement.id + ' ' : '') + at.textContent.trim(); })()",
        );
        let outlined = browser.text("getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(outlined, "solid", "{focused} shows that it has the focus");
        order.push(focused);
    }
    let expected = [
        "Skip to the verdict",
        "runbook",
        "copy",
        "bundle",
        "commands-count",
        "Copy",
        "station-source",
        "station-stream",
        "station-publish",
        "station-delivery",
        "station-consumers",
        "siding",
        "conditions-box All conditions",
        "For this stream, whatever its state; replace the words in capitals",
        "In force, without secrets",
        "/status",
        "/history",
        "/log",
        "/metrics",
        "/readyz",
        "/healthz",
    ];
    assert_eq!(order, expected);
}

fn a_click_on_a_station_leads_to_its_figures(browser: &mut Browser) {
    let site = Site::start(status(State::SinkStalled));
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    for (hop, title) in [("publish", "Publish"), ("consumers", "Consumers"), ("source", "Source")] {
        browser.value(&format!("document.getElementById('station-{hop}').click()"));
        browser.wait(&format!("document.activeElement.textContent === '{title}'"));
        let top = browser.value("document.activeElement.getBoundingClientRect().top");
        assert!((-1.0..900.0).contains(&top.as_f64().expect("a number")), "{hop} at {top}");
    }
    browser.value("document.querySelector('#conditions-box summary').click()");
    assert!(browser.text("document.body.innerText").contains("3 attempts in a row ended"));
}

fn landmarks_and_names_are_there_for_screen_readers(browser: &mut Browser) {
    let site = Site::start(status(State::SourceReadOnly));
    browser.load(&site.url());
    shows(browser, State::SourceReadOnly);
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let named = |role: &str| -> Vec<&str> {
        let found = nodes.iter().filter(|node| node["role"]["value"] == role);
        found.filter_map(|node| node["name"]["value"].as_str()).collect()
    };
    assert_eq!(named("heading").first(), Some(&"The database is read-only"));
    for role in ["main", "banner", "contentinfo", "navigation"] {
        assert_eq!(named(role).len(), 1, "{role}");
    }
    assert!(named("region").contains(&"The database is read-only"), "{:?}", named("region"));
    assert!(named("region").contains(&"From the database to the consumers"));
    let stations = named("link");
    assert!(
        stations.iter().any(|name| name.to_lowercase().starts_with("source broken here")),
        "{stations:?}"
    );
    assert!(named("link").iter().chain(&named("button")).all(|name| !name.is_empty()));
    assert_eq!(
        browser.text("document.getElementById('announcer').getAttribute('aria-live')"),
        "assertive"
    );
    // It ticks several times in between and does not say so.
    browser.value("window.told = 0; new MutationObserver(() => { window.told += 1; }).observe(\
        document.getElementById('announcer'), { childList: true, characterData: true, subtree: true }); 0");
    browser.value("performance.clearResourceTimings()");
    browser.wait("performance.getEntriesByType('resource').length >= 3");
    assert_eq!(browser.text("window.told"), "0");
}

fn nothing_scrolls_sideways_at_320_pixels(browser: &mut Browser) {
    let mut long = halted();
    long.stream = "x".repeat(120);
    long.progress.gtid_set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-48123,".repeat(9);
    long.source.host = format!("{}.internal:3306", "y".repeat(100));
    for (name, says) in
        [("narrow", status(State::SourceReadOnly)), ("long", long), ("quiet", status(State::Quiet))]
    {
        let site = Site::start(says.concluded());
        browser.size(320, 1200);
        browser.load(&site.url());
        browser.wait("document.getElementById('state').textContent !== '-'");
        browser
            .value("document.querySelectorAll('details').forEach((box) => { box.open = true; })");
        let width = browser.value("document.documentElement.scrollWidth");
        assert_eq!(width, Value::from(320), "{name}");
        if name == "narrow" {
            picture(browser, "narrow");
        }
    }
}

fn a_dark_scheme_is_dark_and_legible(browser: &mut Browser) {
    let site = Site::start(status(State::Quiet));
    for scheme in ["light", "dark"] {
        browser.media(&[("prefers-color-scheme", scheme)]);
        for state in [State::Quiet, State::SourceReadOnly, State::CatchingUp, State::Indeterminate]
        {
            site.say(status(state));
            browser.load(&site.url());
            shows(browser, state);
            let sum = browser.value(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)\
                 .reduce((a, b) => a + b)",
            );
            let is_dark = sum.as_f64().expect("a colour") < 200.0;
            assert_eq!(is_dark, scheme == "dark", "{state} {scheme}");
            is_legible(browser, &LEGIBLE, &format!("{scheme} {state}"));
            if scheme == "dark" {
                picture(browser, &format!("{}-dark", state.name()));
            }
        }
    }
}

/// All these texts stand out from what is behind them.
pub(crate) fn is_legible(browser: &mut Browser, selectors: &[&str], what: &str) {
    let selectors = json!(selectors);
    let contrasts = browser.value(&format!("({CONTRASTS})({selectors})"));
    let contrasts = contrasts.as_array().expect("pairs");
    assert!(contrasts.len() > 5, "{what}: {contrasts:?}");
    for pair in contrasts {
        let contrast = pair[1].as_f64().expect("a ratio");
        assert!(contrast >= 4.5, "{what} {}: {contrast:.2}", pair[0]);
    }
}

fn what_is_printed_is_dark_on_white_and_whole(browser: &mut Browser) {
    let site = Site::start(status(State::SinkStalled));
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    for scheme in ["light", "dark"] {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let medium = json!({"media": "print", "features": features});
        browser.call("Emulation.setEmulatedMedia", medium);
        // A printer leaves grounds out.
        browser.value(
            "document.querySelectorAll('main, main *, body').forEach((node) => \
             node.style.setProperty('background', 'none', 'important')); 0",
        );
        is_legible(browser, &LEGIBLE, &format!("printed, {scheme}"));
        is_legible(browser, &["td", "th", ".station .label", "#grade", "#since"], scheme);
        let shown = "getComputedStyle(document.querySelector('#conditions-box'), '::details-content')\
                     .contentVisibility";
        assert_eq!(browser.text(shown), "visible", "what is folded is printed too");
        let buttons = browser.text(
            "[...document.querySelectorAll('button, nav')].every((one) => \
             getComputedStyle(one).display === 'none')",
        );
        assert_eq!(buttons, "true", "nothing to press");
    }
}

fn those_who_want_no_motion_get_none(browser: &mut Browser) {
    let site = Site::start(status(State::Quiet));
    for (wish, moving) in [("no-preference", true), ("reduce", false)] {
        browser.media(&[("prefers-reduced-motion", wish)]);
        browser.load(&site.url());
        shows(browser, State::Quiet);
        let count = browser.value("document.getAnimations().length");
        assert_eq!(count.as_u64().expect("a count") > 0, moving, "{wish}: {count}");
    }
}

fn the_summary_can_be_copied(browser: &mut Browser) {
    let site = Site::start(halted());
    browser.load(&site.url());
    browser.wait("document.getElementById('grade').textContent === 'halted at stream'");
    browser.value(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { \
         window.copied = text; } } }); document.getElementById('copy').click()",
    );
    browser.wait("document.getElementById('copied').textContent === 'copied'");
    let text = browser.text("window.copied");
    for part in
        ["orders-eu, halted at stream", "[undecodable]", "Next: Examine", "db-1.internal:3306"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn the_bundle_is_downloaded_by_its_button(browser: &mut Browser) {
    let mut says = status(State::SinkStalled);
    says.stream = "orders".to_owned();
    let site = Site::start(says);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let allow = json!({"behavior": "allow", "downloadPath": path});
    browser.call("Page.setDownloadBehavior", allow);
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    for width in [375, 1280] {
        browser.size(width, 900);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert_eq!(wide, width, "nothing scrolls sideways");
    }
    browser.value("document.getElementById('bundle').click()");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let name = loop {
        let mut files = std::fs::read_dir(folder.path()).expect("the folder");
        let names = files.by_ref().map(|file| file.expect("a file").file_name());
        let whole = names.map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = whole.into_iter().find(|name| name.ends_with(".tar.gz")) {
            break name;
        }
        assert!(std::time::Instant::now() < until, "no download");
        std::thread::yield_now();
    };
    assert!(name.starts_with("binpulse-orders-20"), "{name}");
    let tar = std::process::Command::new("tar").arg("-tzf").arg(folder.path().join(name)).output();
    let listed = String::from_utf8(tar.expect("tar").stdout).expect("names");
    for part in ["README.txt", "status.json", "history.json", "metrics.txt", "settings.json"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
}

/// Two consumers, of which one is silent, and something in quarantine.
fn with_commands() -> Status {
    let mut says = status(State::CanaryLost);
    says.sink.quarantined = 2;
    says.concluded()
}

fn a_command_is_complete_and_is_copied_without_https(browser: &mut Browser) {
    let site = Site::start(with_commands());
    browser.load(&site.url());
    shows(browser, State::CanaryLost);
    let commands = "[...document.querySelectorAll('#commands code')].map((it) => it.textContent)";
    let commands = browser.text(&format!("{commands}.join(' | ')"));
    for wanted in [
        "aws sns list-subscriptions-by-topic --topic-arn arn:aws:sns:eu-central-1:123456789012:orders",
        "binpulse maintenance search --for 30m --config /etc/binpulse/orders.toml",
        "binpulse replay --since 6m --same-topics --for search --config /etc/binpulse/orders.toml",
    ] {
        assert!(commands.contains(wanted), "{wanted} is not in {commands}");
    }
    let places = browser.text_of("places");
    assert!(places.contains("Echo queue of search") && places.contains("/search-echo"), "{places}");
    assert!(!places.contains("/orders-echo"), "orders is well: {places}");
    let notice = browser.text("document.querySelector('#notices code').textContent");
    assert_eq!(notice, "binpulse redrive --dry-run --config /etc/binpulse/orders.toml");

    assert_eq!(browser.text_of("commands-count"), "4 commands for this");
    assert_eq!(
        browser.value("document.getElementById('commands-box').open"),
        false,
        "many are folded"
    );

    // Where a page has no clipboard, the old way copies what stands beside the button
    browser.value(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); \
         document.addEventListener('copy', (event) => { window.copied = event.target.value; }); \
         document.getElementById('commands-count').click(); \
         document.querySelectorAll('#commands button')[2].focus()",
    );
    browser.press(" ", 32);
    browser.wait("document.querySelectorAll('#commands button')[2].textContent === 'copied'");
    let third = browser.text("document.querySelectorAll('#commands code')[2].textContent");
    assert_eq!(browser.text("window.copied"), third);
    assert_eq!(browser.text("document.activeElement.textContent"), "copied", "the focus is back");

    // What can be done at any time stands further down, and says what each is for
    browser.value("document.getElementById('operations').closest('details').open = true");
    let operations = "[...document.querySelectorAll('#operations li')]";
    let pauses = browser.text(&format!("{operations}[0].textContent"));
    assert!(pauses.starts_with("Let the rows of a table wait, and send them later:"), "{pauses}");
    assert!(pauses.contains("binpulse pause DATABASE.TABLE --for 30m --reason 'REASON' --config"));
    assert_eq!(browser.value(&format!("{operations}.length")), 12);
    for (width, tall) in [(1280, 1000), (375, 812)] {
        browser.size(width, tall);
        assert_eq!(browser.value("document.documentElement.scrollWidth"), width);
        picture(browser, &format!("commands-{width}"));
    }
    browser.size(1280, 900);
}

fn a_link_of_the_settings_leads_to_a_page_and_to_nothing_else(browser: &mut Browser) {
    let mut says = status(State::SinkStalled);
    let link = |name: &str, url: &str| Link { name: name.to_owned(), url: url.to_owned() };
    says.next.links = vec![
        link("Grafana", "https://grafana.example.org/d/x?var-stream=orders&from=1&to=2"),
        link("Logs", "javascript:window.hacked=1"),
    ];
    let site = Site::start(says);
    browser.load(&site.url());
    shows(browser, State::SinkStalled);
    let shown =
        "[...document.querySelectorAll('#links a')].map((it) => it.textContent + ' ' + it.href)";
    assert_eq!(
        browser.text(&format!("{shown}.join()")),
        "Grafana https://grafana.example.org/d/x?var-stream=orders&from=1&to=2"
    );
}
