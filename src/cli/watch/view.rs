//! What `status --watch` shows: the verdict above, what can be scrolled below, and a line that tells the
//! keys. Pure: the time and the size are arguments.

use std::cmp::{Ordering, Reverse};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::Value;

use crate::cli::style::{bold, colourless, columns, cut, plain, reversed, wrapped};
use crate::cli::terminal::{self, colour, details, pinned, rest, seconds, show, word};
use crate::telemetry::words::Indicator;

/// Why writing to a string can't fail.
const FITS: &str = "a string has room";

/// Lines that can be scrolled, at least.
const BODY_MIN: usize = 4;
/// Columns of a consumer's name, at most.
const NAME_MAX: usize = 36;
/// Letters of a filter, at most.
const FILTER_MAX: usize = 64;

/// What the service said last, and whether it still answers.
pub(super) struct Said {
    /// The last answer.
    pub(super) status: Option<Value>,
    /// Why there is no newer one; empty: it is the newest.
    pub(super) failure: String,
    /// When it came.
    pub(super) at: Instant,
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Letter(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Enter,
    Back,
    Escape,
    Interrupt,
}

/// What terminals send for keys that are no letters.
const SEQUENCES: [(&[u8], Key); 14] = [
    (b"\x1b[A", Key::Up),
    (b"\x1bOA", Key::Up),
    (b"\x1b[B", Key::Down),
    (b"\x1bOB", Key::Down),
    (b"\x1b[5~", Key::PageUp),
    (b"\x1b[6~", Key::PageDown),
    (b"\x1b[H", Key::Top),
    (b"\x1bOH", Key::Top),
    (b"\x1b[1~", Key::Top),
    (b"\x1b[7~", Key::Top),
    (b"\x1b[F", Key::Bottom),
    (b"\x1bOF", Key::Bottom),
    (b"\x1b[4~", Key::Bottom),
    (b"\x1b[8~", Key::Bottom),
];

/// The keys in what was read at once.
pub(super) fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut found = Vec::new();
    while let Some((&first, after)) = bytes.split_first() {
        let known = SEQUENCES
            .iter()
            .find_map(|(sequence, key)| Some((*key, bytes.strip_prefix(*sequence)?)));
        if let Some((key, rest)) = known {
            found.push(key);
            bytes = rest;
            continue;
        }
        // Of a key that means nothing here, the whole sequence is passed over.
        if let Some(rest) = bytes.strip_prefix(b"\x1b[") {
            let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
            bytes = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
            continue;
        }
        let length = match first {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let letter = bytes.get(..length).and_then(|letter| str::from_utf8(letter).ok());
        match first {
            0x03 => found.push(Key::Interrupt),
            0x1b => found.push(Key::Escape),
            b'\r' | b'\n' => found.push(Key::Enter),
            0x08 | 0x7f => found.push(Key::Back),
            _ => found.extend(letter.and_then(|it| it.chars().next()).map(Key::Letter)),
        }
        bytes = if letter.is_some() { bytes.get(length..).unwrap_or_default() } else { after };
    }
    found
}

/// By what consumers are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Worst,
    Name,
    Echo,
    Lost,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Worst => Self::Name,
            Self::Name => Self::Echo,
            Self::Echo => Self::Lost,
            Self::Lost => Self::Worst,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Name => "by name",
            Self::Echo => "oldest echo first",
            Self::Lost => "most lost first",
        }
    }
}

/// What the keys do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Moves,
    Types,
    Helps,
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct View {
    /// The first line of the body that is shown.
    top: usize,
    /// Lines of the body, and how many of them fit, in the last picture.
    length: usize,
    page: usize,
    sort: Sort,
    is_reversed: bool,
    /// Each path of a consumer has its own line.
    has_members: bool,
    filter: String,
    mode: Mode,
    /// The consumers are to be seen in the next picture.
    shows_consumers: bool,
}

/// What the line above the consumers begins with.
const CONSUMERS: &str = "consumers  ";

const HELP: &str = "\
KEYS

Up, Down, k, j   one line
PgUp, PgDn, b, Space  one page
Home, End, g, G  the first lines, the last ones
s                sort consumers: worst first, by name, oldest echo, most lost
r                the other way round
e                each path of a consumer on its own line, or consumers as groups
/                only consumers and paths whose name has a text; Esc ends that
?                this help; any key ends it
q, Ctrl-C        end
";

impl View {
    /// Of everything, or of consumers whose name has this text.
    pub(super) fn new(only: Option<&str>) -> Self {
        Self {
            top: 0,
            length: 0,
            page: 1,
            sort: Sort::Worst,
            is_reversed: false,
            has_members: only.is_some(),
            filter: only.unwrap_or_default().to_owned(),
            mode: Mode::Moves,
            shows_consumers: false,
        }
    }

    /// Takes a key. Whether that is the end.
    pub(super) fn press(&mut self, key: Key) -> bool {
        if key == Key::Interrupt {
            return true;
        }
        match self.mode {
            Mode::Helps => self.mode = Mode::Moves,
            Mode::Types => self.types(key),
            Mode::Moves => return self.moves(key),
        }
        false
    }

    fn types(&mut self, key: Key) {
        self.shows_consumers = true;
        match key {
            Key::Letter(letter) if !letter.is_control() => {
                if self.filter.chars().count() < FILTER_MAX {
                    self.filter.push(letter);
                }
            }
            Key::Back => drop(self.filter.pop()),
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Moves;
            }
            Key::Enter => self.mode = Mode::Moves,
            Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Top
            | Key::Bottom
            | Key::Interrupt
            | Key::Letter(_) => {}
        }
    }

    fn moves(&mut self, key: Key) -> bool {
        let last = self.length.saturating_sub(self.page);
        self.shows_consumers = matches!(key, Key::Letter('s' | 'r' | 'e' | '/') | Key::Escape);
        match key {
            Key::Letter('q') => return true,
            Key::Up | Key::Letter('k') => self.top = self.top.saturating_sub(1),
            Key::Down | Key::Letter('j') | Key::Enter => self.top = (self.top + 1).min(last),
            Key::PageUp | Key::Letter('b') => self.top = self.top.saturating_sub(self.page),
            Key::PageDown | Key::Letter(' ') => self.top = (self.top + self.page).min(last),
            Key::Top | Key::Letter('g') => self.top = 0,
            Key::Bottom | Key::Letter('G') => self.top = last,
            Key::Letter('s') => self.sort = self.sort.next(),
            Key::Letter('r') => self.is_reversed = !self.is_reversed,
            Key::Letter('e') => self.has_members = !self.has_members,
            Key::Letter('/') => self.mode = Mode::Types,
            Key::Letter('?' | 'h') => self.mode = Mode::Helps,
            Key::Escape => self.filter.clear(),
            Key::Letter(_) | Key::Back | Key::Interrupt => {}
        }
        false
    }

    /// The picture: as many lines as the terminal has, none wider than it.
    pub(super) fn lines(
        &mut self,
        said: &Said,
        now_us: i64,
        (width, height): (usize, usize),
    ) -> Vec<String> {
        let (head, body) = match &said.status {
            _ if self.mode == Mode::Helps => (HELP.to_owned(), String::new()),
            Some(status) if said.failure.is_empty() => {
                (pinned(status, now_us), self.body(status, now_us))
            }
            None if said.failure.is_empty() => ("Asking the service".to_owned(), String::new()),
            last => {
                let age = said.at.elapsed().as_secs_f64();
                let last = last.as_ref().map(|status| (status, age));
                (terminal::silence(&said.failure, last), String::new())
            }
        };
        let room = height.saturating_sub(1).max(1);
        let mut lines = fitting(&head, width);
        let body = fitting(&body, width);
        let most = if body.is_empty() { room } else { room.saturating_sub(BODY_MIN).max(1) };
        lines.truncate(most);
        self.page = room.saturating_sub(lines.len()).max(1);
        self.length = body.len();
        if std::mem::take(&mut self.shows_consumers) {
            let head = body.iter().position(|line| line.starts_with(CONSUMERS));
            self.top = head.unwrap_or(self.top);
        }
        self.top = self.top.min(self.length.saturating_sub(self.page));
        lines.extend(body.into_iter().skip(self.top).take(room.saturating_sub(lines.len())));
        lines.resize(room, String::new());
        if height > 1 {
            lines.push(reversed(&self.foot(width)));
        }
        lines
    }

    /// What the keys do, and where this is.
    fn foot(&self, width: usize) -> String {
        let keys = match self.mode {
            Mode::Helps => " any key ends this help".to_owned(),
            Mode::Types => format!(" names with: {}_  (Enter keeps it, Esc ends it)", self.filter),
            Mode::Moves => {
                let other = if self.is_reversed { ", reversed" } else { "" };
                let only = match self.filter.as_str() {
                    "" => "search".to_owned(),
                    text => format!("only {text}"),
                };
                format!(" q end  ? keys  / {only}  s {}{other}", self.sort.name())
            }
        };
        let bottom = (self.top + self.page).min(self.length);
        let place = match self.length {
            length if length <= self.page => String::new(),
            length => format!("lines {}-{bottom} of {length} ", self.top + 1),
        };
        let left = width.saturating_sub(columns(&place) + 1);
        let keys = cut(&keys, left);
        let gap = width.saturating_sub(columns(keys) + columns(&place));
        [keys, &" ".repeat(gap), cut(&place, width)].concat()
    }

    fn body(&self, status: &Value, now_us: i64) -> String {
        let said = show(&status["conclusion"]["consumers_text"]);
        let head = format!("{CONSUMERS:<11}{said}\n");
        [details(status), head, self.table(status), rest(status, now_us)].concat()
    }

    /// Consumers, one on a line.
    fn table(&self, status: &Value) -> String {
        let mut rows = rows(status, self.has_members || !self.filter.is_empty());
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| row.name.to_lowercase().contains(&wanted));
        match self.sort {
            Sort::Worst => {}
            Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::Echo => rows.sort_by(|a, b| older(a.age, b.age)),
            Sort::Lost => rows.sort_by_key(|row| Reverse(row.lost)),
        }
        if self.is_reversed {
            rows.reverse();
        }
        let widest = |of: fn(&Row) -> usize, head: &str, most: usize| {
            rows.iter().map(of).max().unwrap_or(0).max(head.len()).min(most)
        };
        let name = widest(|row| columns(&row.name), "name", NAME_MAX);
        let does = widest(|row| columns(&row.word), "does", NAME_MAX);
        let echo = widest(|row| row.echo().len(), "last echo", NAME_MAX);
        let mut text = String::new();
        for row in &rows {
            let short = cut(&row.name, name);
            let (pad, gap) = (name - columns(short), does - columns(&row.word).min(does));
            let word = match row.indicator {
                Some(Indicator::Works) => row.word.clone(),
                other => bold(colour(other), &row.word),
            };
            let spaces = |count: usize| " ".repeat(count);
            write!(text, "  {short}{}  {word}{}  ", spaces(pad), spaces(gap)).expect(FITS);
            writeln!(text, "{:>echo$}  {:>6} lost  {}", row.echo(), row.lost, row.why).expect(FITS);
        }
        if rows.is_empty() && !self.filter.is_empty() {
            writeln!(text, "  None has {} in its name.", plain(&self.filter)).expect(FITS);
        }
        text
    }
}

/// A consumer, or one of its paths.
struct Row {
    name: String,
    word: String,
    indicator: Option<Indicator>,
    /// Seconds since its last echo.
    age: Option<f64>,
    lost: u64,
    why: String,
}

impl Row {
    fn echo(&self) -> String {
        match self.age {
            Some(age) => format!("{} ago", seconds(&age.into())),
            None => "never".to_owned(),
        }
    }
}

/// The one that has not echoed for longer stands first.
fn older(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn rows(status: &Value, has_members: bool) -> Vec<Row> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let figures = list(&status["consumers"]);
    let row = |said: &Value, figures: &Value| Row {
        name: show(&said["name"]),
        word: show(&said["word"]),
        indicator: word(&said["indicator"]),
        age: figures["last_age_seconds"].as_f64(),
        lost: figures["lost"].as_u64().unwrap_or(0),
        why: said["text"].as_str().map(plain).unwrap_or_default(),
    };
    let groups = list(&status["conclusion"]["consumers"]);
    let mut rows = Vec::new();
    for group in &groups {
        if !has_members {
            rows.push(row(group, group));
            continue;
        }
        for member in list(&group["members"]) {
            let own = figures.iter().find(|one| one["name"] == member["name"]);
            rows.push(row(&member, own.unwrap_or(&Value::Null)));
        }
    }
    rows
}

/// Lines no wider than the terminal: broken between words, and within a word that is wider.
fn fitting(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for line in wrapped(text, width).lines() {
        if columns(line) <= width {
            lines.push(line.to_owned());
            continue;
        }
        let bare = colourless(line);
        let mut left = bare.as_str();
        while !left.is_empty() {
            // A letter that is wider than the terminal is shown all the same.
            let first = left.chars().next().map_or(0, char::len_utf8);
            let end = cut(left, width).len().max(first);
            let (line, more) = left.split_at_checked(end).unwrap_or((left, ""));
            lines.push(line.to_owned());
            left = more;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        let member = |name: &str, word: &str, indicator: &str| json!({"name": name, "word": word, "indicator": indicator});
        let group = |name: &str, word: &str, indicator: &str, age: Value, lost: u64| {
            json!({"name": name, "word": word, "indicator": indicator, "text": "", "lost": lost,
                   "last_age_seconds": age,
                   "members": [member(&format!("{name}/a"), word, indicator), member(&format!("{name}/b"), "echoes", "works")]})
        };
        json!({
            "conclusion": {
                "label": "outage at consumers", "state": "canary_lost", "indicator": "broken",
                "since_seconds": 200_000.0, "next_step": "Do that.", "stations": [],
                "consumers_text": "1 of 3 silent", "notices": [],
                "consumers": [
                    group("search", "silent", "broken", Value::Null, 7),
                    group("audit", "echoes", "works", json!(3.0), 0),
                    group("billing", "echoes", "works", json!(9.0), 2),
                ],
            },
            "verdict": {"sentence": "It is so.", "facts": ["a fact"]},
            "consumers": [{"name": "audit/b", "last_age_seconds": 3.0, "lost": 4}],
        })
    }

    fn said() -> Said {
        Said { status: Some(status()), failure: String::new(), at: Instant::now() }
    }

    fn names(view: &View) -> Vec<String> {
        let table = view.table(&status());
        table.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    #[test]
    fn keys_sort_search_and_take_apart() {
        let mut view = View::new(None);
        assert_eq!(names(&view), ["search", "audit", "billing"]);
        for expected in [
            ["audit", "billing", "search"],
            ["search", "billing", "audit"],
            ["search", "billing", "audit"],
            ["search", "audit", "billing"],
        ] {
            assert!(!view.press(Key::Letter('s')));
            assert_eq!(names(&view), expected, "{:?}", view.sort);
        }
        view.press(Key::Letter('r'));
        assert_eq!(names(&view), ["billing", "audit", "search"]);
        view.press(Key::Letter('e'));
        assert_eq!(names(&view).len(), 6);
        for key in keys(b"/IT/B\x7fbq") {
            assert!(!view.press(key), "what is typed is no command");
        }
        view.press(Key::Back);
        assert_eq!(names(&view), ["audit/b"]);
        assert!(
            view.table(&status()).contains("3.0 s ago       4 lost"),
            "{}",
            view.table(&status())
        );
        view.press(Key::Enter);
        view.press(Key::Letter('e'));
        assert_eq!(names(&view), ["audit/b"], "a search finds each by itself");
        view.press(Key::Escape);
        assert_eq!(names(&view).len(), 3);
        assert!(view.press(Key::Letter('q')) && view.press(Key::Interrupt));
    }

    #[test]
    fn the_verdict_stays_while_the_rest_is_scrolled_to_its_end_and_no_further() {
        let mut view = View::new(None);
        let size = (80, 14);
        let first = view.lines(&said(), 1_796_030_100_000_000, size);
        assert_eq!(first.len(), 14);
        assert!(first[0].contains("OUTAGE AT CONSUMERS"), "{first:#?}");
        assert!(first.join("\n").contains("2 d 07 h, since 2026-11-28 01:41 UTC"), "{first:#?}");
        assert!(first[13].contains("lines 1-"), "{first:#?}");
        for _ in 0..100 {
            view.press(Key::PageDown);
        }
        let last = view.lines(&said(), 0, size);
        assert_eq!(last[0].split(' ').next(), first[0].split(' ').next());
        assert!(last[12].contains("billing") || last.join("\n").contains("billing"), "{last:#?}");
        let length = view.length;
        assert!(last[13].contains(&format!("-{length} of {length}")), "{last:#?}");
        view.press(Key::Letter('s'));
        let sorted = view.lines(&said(), 0, (80, 10)).join("\n");
        assert!(
            sorted.contains("\nconsumers  1 of 3 silent\n"),
            "what is sorted is seen: {sorted}"
        );
        view.press(Key::Letter('s'));
        view.press(Key::Letter('s'));
        view.press(Key::Letter('s'));
        view.press(Key::Top);
        assert_eq!(view.lines(&said(), 1_796_030_100_000_000, size), first);
        view.press(Key::Down);
        assert_eq!(view.top, 1);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_is_more_than_it_has() {
        let mut said = said();
        let status = said.status.as_mut().expect("one");
        status["verdict"]["sentence"] = json!("x".repeat(300));
        status["conclusion"]["state"] = json!("名".repeat(90));
        let mut view = View::new(None);
        for width in [1, 2, 20, 37, 80, 200] {
            for height in [1, 2, 5, 24, 60] {
                let lines = view.lines(&said, 0, (width, height));
                assert_eq!(lines.len(), height, "{width}x{height}");
                let wide = |line: &&String| columns(line) > width.max(2);
                assert_eq!(lines.iter().find(wide), None, "{width}x{height}");
            }
        }
    }

    #[test]
    fn an_old_picture_is_not_left_to_stand() {
        let mut view = View::new(None);
        let mut said = said();
        said.failure = "connection refused".to_owned();
        let text = view.lines(&said, 0, (80, 24)).join("\n");
        assert!(text.contains("NO ANSWER") && text.contains("connection refused"), "{text}");
        assert!(!text.contains("billing"), "{text}");
        let none = Said { status: None, failure: String::new(), at: Instant::now() };
        assert!(view.lines(&none, 0, (80, 24)).join("\n").contains("Asking the service"));
        view.press(Key::Letter('?'));
        let text = view.lines(&said, 0, (80, 24)).join("\n");
        assert!(text.contains("sort consumers") && text.contains("any key"), "{text}");
        assert!(!view.press(Key::Letter('q')), "a key ends the help first");
    }

    #[test]
    fn sequences_of_keys_are_read_as_terminals_send_them() {
        assert_eq!(
            keys(b"\x1b[A\x1bOBj\x1b[6~\x1b[H\x1b[F \r\x7f\x03"),
            [
                Key::Up,
                Key::Down,
                Key::Letter('j'),
                Key::PageDown,
                Key::Top,
                Key::Bottom,
                Key::Letter(' '),
                Key::Enter,
                Key::Back,
                Key::Interrupt
            ]
        );
        assert_eq!(keys("é\u{1b}".as_bytes()), [Key::Letter('é'), Key::Escape]);
        // What means nothing is passed over as a whole, and nothing is too broken to be read.
        assert_eq!(keys(b"\x1b[1;5Cq\x1b[15~s\xff\x1b[99"), [Key::Letter('q'), Key::Letter('s')]);
    }
}
