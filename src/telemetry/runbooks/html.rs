//! A runbook as a page: its text, below the state that led to it. Plain HTML without any script.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::{PATH, find, names};
use crate::telemetry::conclusion::duration;
use crate::telemetry::page;
use crate::telemetry::status::Status;
use crate::telemetry::verdict_history;
use crate::telemetry::words::Indicator;

const STYLE: &str = include_str!("runbook.css");

/// The page's policy: its style alone, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = page::hash(STYLE);
    format!(
        "default-src 'none'; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// A page and the policy that it is served with.
pub(in crate::telemetry) struct Shown {
    /// HTML, complete.
    pub(in crate::telemetry) document: String,
    /// Value of `Content-Security-Policy`: printable ASCII.
    pub(in crate::telemetry) policy: &'static str,
}

/// The page of a runbook, or of a document that one names. `top`: what stands above it, by its path.
pub(in crate::telemetry) fn page(path: &str, top: &dyn Fn(&str) -> String) -> Option<Shown> {
    let text = find(path)?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    Some(shown(title, &[top(path), rendered(text, folder)].concat()))
}

/// The list of all runbooks. That of the present state stands first.
pub(in crate::telemetry) fn index(top: &dyn Fn(&str) -> String) -> Shown {
    let top = top(PATH);
    let mut list = String::new();
    for name in names() {
        list.extend(["<li><a href=\"", PATH, name, "\">", name, "</a></li>\n"]);
    }
    shown("Runbooks", &format!("{top}<h1>Runbooks</h1>\n<ul>\n{list}</ul>\n"))
}

fn shown(title: &str, body: &str) -> Shown {
    let title = escaped(title);
    let document = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light \
         dark\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<nav aria-label=\"Pages\"><a href=\"/\">Status page</a> <a \
         href=\"{PATH}\">All runbooks</a></nav>\n<main>\n{body}</main>\n</body>\n</html>\n"
    );
    Shown { document, policy: &POLICY }
}

/// What a program says of itself, above its runbooks.
pub(crate) fn told(indicator: Indicator, lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("<p>{}</p>\n", escaped(line)));
    let (name, lines) = (indicator.name(), lines.collect::<String>());
    format!("<aside class=\"{name}\" aria-label=\"State now\">\n{lines}</aside>\n")
}

/// The state now, and whether it is that of the runbook at `path`; if not, when that last was.
pub(in crate::telemetry) fn state(
    status: &Status,
    history: &verdict_history::Document,
    path: &str,
) -> String {
    let said = &status.conclusion;
    let notice = said.notices.iter().find(|notice| notice.runbook == path);
    let is_this = said.runbook.as_deref() == Some(path);
    let (headline, text, next) = match notice {
        Some(notice) if !is_this => (&notice.headline, &notice.text, &notice.next_step),
        Some(_) | None => (&said.headline, &said.evidence, &said.next_step),
    };
    let mut out = format!(
        "<aside class=\"{}\" aria-label=\"State now\">\n<p><strong>{}</strong> {} <code>{}</code>, for \
         {}</p>\n<p class=\"headline\">{}</p>\n<p>{}</p>\n",
        said.indicator.name(),
        escaped(&status.stream),
        escaped(&said.label),
        escaped(&said.state),
        duration(said.since_seconds),
        escaped(headline),
        escaped(text),
    );
    if said.indicator != Indicator::Works {
        writeln!(out, "<p>Next: {}</p>", escaped(next)).expect(FITS);
    }
    if !is_this
        && notice.is_none()
        && let Some(other) = said.runbook.as_deref().filter(|other| find(other).is_some())
    {
        let name = other.trim_start_matches(PATH);
        writeln!(out, "<p>Its runbook: <a href=\"{other}\">{name}</a></p>").expect(FITS);
    }
    if !is_this && notice.is_none() {
        out += &last_time(history, path);
    }
    out + "</aside>\n"
}

/// The state that last led to this runbook, where it is over: an alert is often read behind its time.
fn last_time(history: &verdict_history::Document, path: &str) -> String {
    let leads = |change: &verdict_history::Change| change.runbook.as_deref() == Some(path);
    let Some(at) = history.changes.iter().position(leads) else { return String::new() };
    let Some(change) = history.changes.get(at) else { return String::new() };
    let began = chrono::DateTime::from_timestamp_micros(change.at_us).unwrap_or_default();
    let began = began.format("%Y-%m-%d %H:%M:%S UTC");
    // The changes are listed the newest first.
    let after = at.checked_sub(1).and_then(|after| history.changes.get(after));
    #[expect(clippy::cast_precision_loss, reason = "a duration for people")]
    let lasted = after.map(|after| after.at_us.saturating_sub(change.at_us) as f64 / 1e6);
    let lasted = lasted.map_or_else(String::new, |lasted| format!(" for {}", duration(lasted)));
    format!(
        "<p class=\"last\">Last so from {began}{lasted}: <strong>{}</strong> <code>{}</code>. {}. {}</p>\n",
        escaped(&change.label),
        escaped(&change.state),
        escaped(&change.headline),
        escaped(&change.evidence),
    )
}

const FITS: &str = "a string has room";

/// Markdown as HTML. `folder`: where its links begin.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else a text has stays as it is")]
fn rendered(text: &str, folder: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut events: VecDeque<Event<'_>> = parser.collect();
    let (mut out, mut links, mut labels, mut column) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut is_head = false;
    while let Some(event) = events.pop_front() {
        out.push(match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                let target = target(&dest_url, folder);
                links.push(target.is_some());
                Event::Html(
                    target.map_or_else(String::new, |to| format!("<a href=\"{to}\">")).into(),
                )
            }
            Event::End(TagEnd::Link) => {
                Event::Html(if links.pop() == Some(true) { "</a>" } else { "" }.into())
            }
            Event::Start(Tag::Heading { level, .. }) => {
                Event::Html(format!("<{level} id=\"{}\">", slug(&events)).into())
            }
            // Their alignment would stand in attributes that the policy refuses.
            Event::Start(Tag::Table(_)) => Event::Start(Tag::Table(Vec::new())),
            Event::Start(Tag::TableHead) => {
                (is_head, labels) = (true, Vec::new());
                Event::Start(Tag::TableHead)
            }
            Event::End(TagEnd::TableHead) => {
                is_head = false;
                Event::End(TagEnd::TableHead)
            }
            Event::Start(Tag::TableRow) => {
                column = 0;
                Event::Start(Tag::TableRow)
            }
            Event::Start(Tag::TableCell) if is_head => {
                labels.push(words(&events));
                Event::Start(Tag::TableCell)
            }
            // On a narrow screen each cell stands under the name of its column.
            Event::Start(Tag::TableCell) => {
                let label = labels.get(column).map_or("", String::as_str);
                column += 1;
                Event::Html(format!("<td data-label=\"{}\">", escaped(label)).into())
            }
            Event::End(TagEnd::TableCell) if !is_head => Event::Html("</td>".into()),
            other => other,
        });
    }
    let mut page = String::new();
    html::push_html(&mut page, out.into_iter());
    page
}

/// Where a link leads on this server. What is not carried along is no link.
fn target(link: &str, folder: &str) -> Option<String> {
    if link.starts_with("https://") {
        return Some(escaped(link));
    }
    let (file, part) = link.split_once('#').map_or((link, None), |(file, part)| (file, Some(part)));
    let part = part.map_or_else(String::new, |part| format!("#{}", escaped(part)));
    if file.is_empty() {
        return Some(part);
    }
    let mut way: Vec<&str> = match folder.trim_start_matches('/') {
        folder if folder.starts_with("docs") => folder.split('/').collect(),
        _ => vec!["docs", "runbooks"],
    };
    for step in file.strip_suffix(".md")?.split('/') {
        match step {
            ".." => drop(way.pop()),
            "." => {}
            name => way.push(name),
        }
    }
    let path = format!("/{}", way.join("/")).replace("/docs/runbooks/", PATH);
    find(&path).map(|_| format!("{path}{part}"))
}

/// The text up to the end of what has just begun.
fn words(rest: &VecDeque<Event<'_>>) -> String {
    let inner = rest
        .iter()
        .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_) | TagEnd::TableCell)));
    let text = |event: &'_ Event<'_>| {
        if let Event::Text(text) | Event::Code(text) = event {
            Some(text.to_string())
        } else {
            None
        }
    };
    inner.filter_map(text).collect()
}

/// The name of a heading in links, as the forges make it.
fn slug(rest: &VecDeque<Event<'_>>) -> String {
    let kept = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    words(rest).to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// Text as it stands in HTML, also in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::runbooks::{DOCUMENTS, RUNBOOKS};

    #[test]
    fn each_link_of_each_page_leads_to_one_that_is_there() {
        let runbooks = RUNBOOKS.iter().map(|(name, _)| format!("{PATH}{name}"));
        let documents = DOCUMENTS.iter().map(|(name, _)| format!("/docs/{name}"));
        let mut count = 0;
        for path in runbooks.chain(documents) {
            let shown = page(&path, &|_| String::new()).expect("it is carried along");
            for link in shown.document.split("href=\"").skip(1) {
                let link = link.split('"').next().unwrap_or_default();
                let (file, part) = link.split_once('#').unwrap_or((link, ""));
                if file.starts_with("https://") || matches!(file, "/" | PATH | "data:,") {
                    continue;
                }
                let of = if file.is_empty() { path.as_str() } else { file };
                let there =
                    page(of, &|_| String::new()).unwrap_or_else(|| panic!("{path}: {link}"));
                let id = format!("id=\"{part}\"");
                assert!(part.is_empty() || there.document.contains(&id), "{path}: no {link}");
                count += 1;
            }
            assert!(!shown.document.contains("<script") && !shown.document.contains(" style="));
        }
        assert!(count > 20, "{count} links");
    }

    #[test]
    fn a_runbook_that_names_a_document_leads_to_it() {
        let named = RUNBOOKS.iter().flat_map(|(_, text)| text.split("](../").skip(1));
        for link in named {
            let link = format!("../{}", link.split(')').next().unwrap_or_default());
            let is_document = link.contains(".md");
            assert_eq!(target(&link, "/runbooks").is_some(), is_document, "{link}");
        }
    }

    #[test]
    fn the_state_that_led_there_stands_at_the_top_as_text() {
        let path = "/runbooks/BinpulseCanaryLost";
        let mut status = Status { stream: "<b>orders".to_owned(), ..Status::default() };
        status.conclusion.headline = "SNS accepts <messages>".to_owned();
        status.conclusion.runbook = Some(path.to_owned());
        let mut history = verdict_history::Document::default();
        let document =
            page(path, &|path| state(&status, &history, path)).expect("a runbook").document;
        let (top, rest) = document.split_once("<h1").expect("a title");
        assert!(top.contains("&lt;b&gt;orders") && top.contains("SNS accepts &lt;messages&gt;"));
        assert!(!top.contains("Its runbook") && rest.contains("Fix</h2>"), "{top}");
        let other = page("/runbooks/BinpulseHalted", &|path| state(&status, &history, path))
            .expect("a runbook")
            .document;
        assert!(
            other.contains("Its runbook: <a href=\"/runbooks/BinpulseCanaryLost\">"),
            "{other}"
        );
        assert!(index(&|path| state(&status, &history, path)).document.contains("Its runbook: "));
        assert!(!other.contains("Last so"), "{other}");

        // What led to another one is over, and still told there
        let change = |at_us, name: &str, label: &str| verdict_history::Change {
            at_us,
            runbook: Some(format!("/runbooks/{name}")),
            label: label.to_owned(),
            headline: "It <halted>".to_owned(),
            ..verdict_history::Change::default()
        };
        let second = 1_000_000;
        history.changes = vec![
            change(1_796_000_250 * second, "BinpulseCanaryLost", "now"),
            change(1_796_000_000 * second, "BinpulseHalted", "halted at stream"),
            change(1_795_000_000 * second, "BinpulseHalted", "long ago"),
        ];
        let other = page("/runbooks/BinpulseHalted", &|path| state(&status, &history, path))
            .expect("a runbook")
            .document;
        let told = "Last so from 2026-11-30 00:53:20 UTC for 4 min 10 s: <strong>halted at stream";
        assert!(other.contains(told) && other.contains("It &lt;halted&gt;. "), "{other}");
        assert!(!other.contains("long ago"), "{other}");
        let same = page(path, &|path| state(&status, &history, path)).expect("a runbook").document;
        assert!(!same.contains("Last so"), "{same}");
    }
}
