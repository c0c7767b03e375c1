//! A statement's pieces.

/// Settings of a session that decide what a quote or a backslash means (`sql_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// ANSI_QUOTES: double quotes hold names.
    pub ansi_quotes: bool,
    /// NO_BACKSLASH_ESCAPES: a backslash stands for itself.
    pub plain_backslash: bool,
}

impl Mode {
    /// By the bits of `sql_mode`, as servers log it.
    pub fn of(sql_mode: u64) -> Self {
        Self { ansi_quotes: sql_mode & 4 != 0, plain_backslash: sql_mode & (1 << 20) != 0 }
    }
}

/// A piece of a statement; comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// Bare: a keyword, a name or a number.
    Word(&'a str),
    /// A name in quotes.
    Quoted(String),
    /// A text in quotes, as it stands between them.
    Text(&'a str),
    /// A variable, `@a` or `@@a`, without its name.
    Variable,
    /// Any other character.
    Other(char),
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Whether it is this keyword or character.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Token::Other(character) => text.chars().eq([*character]),
            Token::Word(_) => self.is_word(text),
            Token::Quoted(_) | Token::Text(_) | Token::Variable => false,
        }
    }
}

/// Pieces as they are asked for.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    rest: &'a str,
    mode: Mode,
    /// A comment is open whose content is executed.
    executed: u32,
    /// Something was met of which servers differ in what it means, or that has no end.
    is_doubtful: bool,
}

impl<'a> Tokens<'a> {
    /// In front of the first.
    pub fn new(statement: &'a str, mode: Mode) -> Self {
        Self { rest: statement, mode, executed: 0, is_doubtful: false }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// Whether it is not sure that the pieces so far are those that a server reads.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// The next.
    #[allow(clippy::should_implement_trait, reason = "it is looked ahead by clones")]
    pub fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        if is_of_word(first) {
            let end = self.rest.find(|character| !is_of_word(character)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            self.is_doubtful |= word.contains(is_doubtful_blank);
            return Some(Token::Word(word));
        }
        self.rest = self.rest.get(first.len_utf8()..).unwrap_or_default();
        Some(match first {
            '`' => Token::Quoted(self.name_in(first)),
            '"' if self.mode.ansi_quotes => Token::Quoted(self.name_in(first)),
            '\'' | '"' => Token::Text(self.text_in(first)),
            '@' => {
                self.variable();
                Token::Variable
            }
            _ => Token::Other(first),
        })
    }

    /// The next, without taking it.
    pub fn peek(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    /// Passes any number of these keywords.
    pub fn skip_words(&mut self, words: &[&str]) {
        while self.skip_one(words) {}
    }

    /// Passes one of these keywords or characters, if that is the next.
    pub fn skip_one(&mut self, any_of: &[&str]) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|token| any_of.iter().any(|text| token.is(text)));
        if found {
            *self = ahead;
        }
        found
    }

    /// `name` or `database.name`.
    pub fn name(&mut self) -> Option<super::Name> {
        let first = self.identifier()?;
        if self.skip_one(&["."]) {
            return Some((Some(first), self.identifier()?));
        }
        Some((None, first))
    }

    /// A name, bare or in quotes. Double quotes may hold one whatever the mode: where a name must
    /// stand nothing else can.
    pub fn identifier(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word.to_owned()),
            Token::Quoted(name) => Some(name),
            Token::Text(text) => Some(text.replace("\"\"", "\"")),
            Token::Variable | Token::Other(_) => None,
        }
    }

    /// Blanks and comments; of a comment that is executed only its marks.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(is_blank);
            if let Some(rest) = self.rest.strip_prefix("/*!") {
                self.rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                self.executed += 1;
                // A version has five digits; newer servers take a sixth as part of it too.
                self.is_doubtful |= !matches!(rest.len() - self.rest.len(), 0 | 5);
            } else if let Some(rest) = self.rest.strip_prefix("/*M!") {
                // MariaDB executes it, MySQL does not.
                self.rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                self.executed += 1;
                self.is_doubtful = true;
            } else if self.rest.starts_with("*/") && self.executed > 0 {
                self.rest = self.rest.get(2..).unwrap_or_default();
                self.executed -= 1;
            } else if let Some(rest) = self.rest.strip_prefix("/*") {
                self.pass_over(rest, "*/");
            } else if self.rest.starts_with('#') || is_dashed(self.rest) {
                let behind = self.rest.strip_prefix("--").unwrap_or_default();
                self.is_doubtful |= behind.starts_with(is_doubtful_blank);
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else {
                return;
            }
        }
    }

    fn pass_over(&mut self, rest: &'a str, end: &str) {
        match rest.split_once(end) {
            Some((_, rest)) => self.rest = rest,
            None => (self.rest, self.is_doubtful) = ("", true),
        }
    }

    /// Up to the closing quote; a doubled one stands for itself, and a backslash for nothing special.
    fn name_in(&mut self, quote: char) -> String {
        let mut name = String::new();
        let mut characters = self.rest.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if character != quote {
                name.push(character);
            } else if characters.next_if(|(_, next)| *next == quote).is_some() {
                name.push(quote);
            } else {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return name;
            }
        }
        (self.rest, self.is_doubtful) = ("", true);
        name
    }

    /// Up to the closing quote, whatever stands for itself between.
    fn text_in(&mut self, quote: char) -> &'a str {
        let mut characters = self.rest.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if character == '\\' && !self.mode.plain_backslash {
                characters.next();
            } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none()
            {
                let (text, rest) = self.rest.split_at_checked(at).unwrap_or((self.rest, ""));
                self.rest = rest.get(1..).unwrap_or_default();
                return text;
            }
        }
        let text = self.rest;
        (self.rest, self.is_doubtful) = ("", true);
        text
    }

    /// Behind the first `@`.
    fn variable(&mut self) {
        self.rest = self.rest.strip_prefix('@').unwrap_or(self.rest);
        let Some(first) = self.rest.chars().next() else { return };
        if matches!(first, '`' | '\'' | '"') {
            self.rest = self.rest.get(1..).unwrap_or_default();
            self.text_in(first);
            return;
        }
        let is_of_name = |character| is_of_word(character) || character == '.';
        self.rest = self.rest.trim_start_matches(is_of_name);
    }
}

/// What servers take for a blank: no others, which may be part of a name.
fn is_blank(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\x0b'
}

/// What is a blank in some character sets of clients, and part of a name in others.
fn is_doubtful_blank(character: char) -> bool {
    !character.is_ascii() && (character.is_whitespace() || character.is_control())
}

/// A comment to the line's end: two dashes and a blank.
fn is_dashed(text: &str) -> bool {
    let behind = text.strip_prefix("--").map(|rest| rest.chars().next());
    behind.is_some_and(|next| next.is_none_or(|next| next.is_whitespace() || next.is_control()))
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(statement: &str, mode: Mode) -> Vec<Token<'_>> {
        let mut tokens = Tokens::new(statement, mode);
        std::iter::from_fn(|| tokens.next()).collect()
    }

    #[test]
    fn quotes_and_backslashes_mean_what_the_mode_says() {
        let plain = Mode { plain_backslash: true, ..Mode::default() };
        let ansi = Mode { ansi_quotes: true, ..Mode::default() };
        assert_eq!(Mode::of(4 | 1 << 20), Mode { ansi_quotes: true, plain_backslash: true });
        assert_eq!(all(r"'a\' b' c", Mode::default()), [Token::Text(r"a\' b"), Token::Word("c")]);
        assert_eq!(all(r"'a\' b", plain), [Token::Text(r"a\"), Token::Word("b")]);
        assert_eq!(all("\"a\"", ansi), [Token::Quoted("a".to_owned())]);
        assert_eq!(all("\"a\"", Mode::default()), [Token::Text("a")]);
        assert_eq!(all("'a''b'", Mode::default()), [Token::Text("a''b")]);
        assert_eq!(all("`a``b`", Mode::default()), [Token::Quoted("a`b".to_owned())]);
    }

    #[test]
    fn comments_are_left_out_and_those_that_are_executed_are_not() {
        for (statement, words) in [
            ("a /* b */ c", "a c"),
            ("a -- b\nc # d\ne", "a c e"),
            ("a--b", "a - - b"),
            ("/*!50003 a /* b */ c*/ d", "a c d"),
            ("a */ b", "a * / b"),
            ("a@b.c + @`d e` @@global.f g", "a @ + @ @ g"),
        ] {
            let shown = all(statement, Mode::default()).into_iter().map(|token| match token {
                Token::Word(word) | Token::Text(word) => word.to_owned(),
                Token::Quoted(name) => name,
                Token::Variable => "@".to_owned(),
                Token::Other(character) => character.to_string(),
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), words, "{statement}");
        }
        let mut open = Tokens::new("a /* b", Mode::default());
        while open.next().is_some() {}
        assert!(open.is_doubtful());
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in ".{0,200}", ansi_quotes: bool, plain_backslash: bool) {
            let mode = Mode { ansi_quotes, plain_backslash };
            prop_assert!(all(&text, mode).len() <= text.len());
        }
    }
}
