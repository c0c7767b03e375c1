//! Which tables a statement is about, as far as its text tells. Pure.
//!
//! Not a parser of SQL: it reads the front of a statement for the names that it is about, and knows
//! nothing of what is done to them. Where that front is none that it knows, the statement counts as
//! one about the database that was selected.

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subjects {
    /// These tables (or views, sequences): database, if named, and name.
    Tables(Vec<(Option<String>, String)>),
    /// A database, or something in it that is no table; `None`: the one that was selected.
    Database(Option<String>),
}

/// Names that are read of one statement; what is beyond is not asked about.
const NAMES_MAX: usize = 1000;
/// Tokens in front of the word that tells what a statement is about (`DEFINER = ..` and the like).
const FRONT_TOKENS_MAX: usize = 40;

/// Reads what a statement is about.
pub(super) fn subjects(statement: &str) -> Subjects {
    let mut tokens = Tokens { rest: statement };
    let Some(Token::Word(verb)) = tokens.next() else { return Subjects::Database(None) };
    match verb.to_ascii_uppercase().as_str() {
        "CREATE" | "ALTER" | "DROP" => object(&mut tokens, &verb.to_ascii_uppercase()),
        "TRUNCATE" => {
            tokens.skip_words(&["TABLE"]);
            tables(&mut tokens, &[])
        }
        "RENAME" => {
            tokens.skip_words(&["TABLE", "TABLES", "IF", "EXISTS"]);
            tables(&mut tokens, &[",", "TO"])
        }
        "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "CHECKSUM" => {
            tokens.skip_words(&["NO_WRITE_TO_BINLOG", "LOCAL", "TABLE", "TABLES"]);
            tables(&mut tokens, &[","])
        }
        _ => Subjects::Database(None),
    }
}

/// Behind CREATE, ALTER or DROP.
fn object(tokens: &mut Tokens<'_>, verb: &str) -> Subjects {
    for _ in 0..FRONT_TOKENS_MAX {
        let Some(token) = tokens.next() else { break };
        let Token::Word(word) = token else { continue };
        match word.to_ascii_uppercase().as_str() {
            "TABLE" | "TABLES" | "VIEW" | "SEQUENCE" => {
                tokens.skip_words(&["IF", "NOT", "EXISTS"]);
                let separators: &[&str] = if verb == "DROP" { &[","] } else { &[] };
                let mut found = tables(tokens, separators);
                if let (Subjects::Tables(names), "ALTER") = (&mut found, verb) {
                    names.extend(new_name(tokens));
                }
                return found;
            }
            "DATABASE" | "SCHEMA" => {
                tokens.skip_words(&["IF", "NOT", "EXISTS"]);
                let options = ["CHARACTER", "COLLATE", "DEFAULT", "ENCRYPTION", "READ", "COMMENT"];
                let name = match tokens.next() {
                    Some(Token::Word(word)) => {
                        let is_option =
                            options.iter().any(|option| word.eq_ignore_ascii_case(option));
                        (!is_option).then(|| word.to_owned())
                    }
                    Some(Token::Quoted(name)) => Some(name),
                    Some(Token::Other(_)) | None => None,
                };
                return Subjects::Database(name);
            }
            "INDEX" => return behind_on(tokens),
            "TRIGGER" if verb == "CREATE" => return behind_on(tokens),
            "TRIGGER" | "PROCEDURE" | "FUNCTION" | "EVENT" | "PACKAGE" => {
                tokens.skip_words(&["BODY", "IF", "NOT", "EXISTS"]);
                return Subjects::Database(tokens.name().and_then(|(database, _)| database));
            }
            _ => {}
        }
    }
    Subjects::Database(None)
}

/// Names with one of `separators` between two.
fn tables(tokens: &mut Tokens<'_>, separators: &[&str]) -> Subjects {
    let mut names = Vec::new();
    while let Some(name) = tokens.name() {
        names.push(name);
        if names.len() >= NAMES_MAX || !tokens.skip_one(separators) {
            break;
        }
    }
    if names.is_empty() { Subjects::Database(None) } else { Subjects::Tables(names) }
}

/// `... ON table`.
fn behind_on(tokens: &mut Tokens<'_>) -> Subjects {
    while let Some(token) = tokens.next() {
        if token.is_word("ON") {
            return tables(tokens, &[]);
        }
    }
    Subjects::Database(None)
}

/// `ALTER TABLE ... RENAME [TO | AS | =] name`.
fn new_name(tokens: &mut Tokens<'_>) -> Option<(Option<String>, String)> {
    while let Some(token) = tokens.next() {
        if token.is_word("RENAME") {
            let mut ahead = Tokens { rest: tokens.rest };
            let of_a_part = ["COLUMN", "INDEX", "KEY", "CONSTRAINT"];
            if ahead.next().is_some_and(|next| of_a_part.iter().any(|part| next.is_word(part))) {
                continue;
            }
            tokens.skip_one(&["TO", "AS", "="]);
            return tokens.name();
        }
    }
    None
}

/// A piece of a statement. Texts and numbers are `Other`, comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    /// Bare: a keyword or a name.
    Word(&'a str),
    /// A name in backticks or double quotes.
    Quoted(String),
    /// Any other character; a text is its first quote.
    Other(char),
}

impl Token<'_> {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn is(&self, text: &str) -> bool {
        match self {
            Token::Other(character) => text.chars().eq([*character]),
            Token::Word(_) | Token::Quoted(_) => self.is_word(text),
        }
    }
}

/// Pieces as they are asked for.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        if is_of_word(first) {
            let end = self.rest.find(|character| !is_of_word(character)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            return Some(Token::Word(word));
        }
        self.rest = self.rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '`' | '"' => Some(Token::Quoted(self.quoted(first))),
            '\'' => {
                self.quoted(first);
                Some(Token::Other(first))
            }
            _ => Some(Token::Other(first)),
        }
    }

    /// Blanks and comments; of a comment that is executed only its marks.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let executed = ["/*!", "/*M!"].iter().find_map(|mark| self.rest.strip_prefix(mark));
            if let Some(rest) = executed {
                self.rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            } else if let Some(rest) = self.rest.strip_prefix("*/") {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix("/*") {
                self.rest = rest.split_once("*/").map_or("", |(_, rest)| rest);
            } else if self.rest.starts_with("-- ") || self.rest.starts_with('#') {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else {
                return;
            }
        }
    }

    /// Up to the closing quote; a doubled one stands for itself, and a backslash for nothing special
    /// in a name.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().peekable();
        while let Some((_, character)) = characters.next() {
            if character == '\\' && quote == '\'' {
                characters.next();
            } else if character != quote {
                text.push(character);
            } else if characters.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                break;
            }
        }
        let at = characters.peek().map_or(self.rest.len(), |(at, _)| *at);
        self.rest = self.rest.get(at..).unwrap_or_default();
        text
    }

    fn skip_words(&mut self, words: &[&str]) {
        while self.skip_one(words) {}
    }

    fn skip_one(&mut self, any_of: &[&str]) -> bool {
        let mut ahead = Tokens { rest: self.rest };
        let found = ahead.next().is_some_and(|token| any_of.iter().any(|text| token.is(text)));
        if found {
            self.rest = ahead.rest;
        }
        found
    }

    /// `name` or `database.name`.
    fn name(&mut self) -> Option<(Option<String>, String)> {
        let first = self.identifier()?;
        if self.skip_one(&["."]) {
            return Some((Some(first), self.identifier()?));
        }
        Some((None, first))
    }

    fn identifier(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word.to_owned()),
            Token::Quoted(name) => Some(name),
            Token::Other(_) => None,
        }
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Subjects, subjects};

    fn spelt(statement: &str) -> String {
        match subjects(statement) {
            Subjects::Tables(names) => {
                let names = names.into_iter().map(|(database, name)| match database {
                    Some(database) => format!("{database}.{name}"),
                    None => format!("?.{name}"),
                });
                names.collect::<Vec<_>>().join(" ")
            }
            Subjects::Database(Some(database)) => format!("{database}.*"),
            Subjects::Database(None) => "?.*".to_owned(),
        }
    }

    #[test]
    fn the_names_that_a_statement_is_about_are_found() {
        for (statement, expected) in [
            ("CREATE TABLE shop.orders (id INT)", "shop.orders"),
            ("create table if not exists `shop` . `or``ders`(id int)", "?.orders"),
            ("CREATE TABLE t (a TEXT COMMENT 'x.y RENAME z')", "?.t"),
            ("CREATE OR REPLACE TEMPORARY TABLE t LIKE b.u", "?.t"),
            ("CREATE TABLE a.t SELECT * FROM b.u", "a.t"),
            ("/* app: x */ -- note\n ALTER TABLE a.t ADD c INT", "a.t"),
            ("ALTER TABLE a.t RENAME COLUMN c TO d, RENAME TO b.u", "a.t b.u"),
            ("ALTER TABLE a.t ADD KEY k (c), RENAME AS u", "a.t ?.u"),
            ("ALTER TABLE a.t RENAME INDEX i TO j", "a.t"),
            ("DROP TABLE IF EXISTS `a`.`t`,`u` /* generated by server */", "a.t ?.u"),
            ("TRUNCATE a.t", "a.t"),
            ("truncate table `t`", "?.t"),
            ("RENAME TABLE a.t TO b.u, v TO w", "a.t b.u ?.v ?.w"),
            ("CREATE UNIQUE INDEX i ON a.t (c)", "a.t"),
            ("DROP INDEX `on` ON t", "?.t"),
            (
                "CREATE ALGORITHM=UNDEFINED DEFINER=`table`@`%` SQL SECURITY DEFINER VIEW `a`.`v` AS \
                 select 1",
                "a.v",
            ),
            (
                "CREATE DEFINER=`r`@`%` TRIGGER a.g BEFORE INSERT ON a.t FOR EACH ROW SET @a = 1",
                "a.t",
            ),
            ("DROP TRIGGER a.g", "a.*"),
            ("CREATE DEFINER=`r`@`%` PROCEDURE `a`.`p`() SELECT 1", "a.*"),
            ("DROP PROCEDURE p", "?.*"),
            ("CREATE DATABASE IF NOT EXISTS `a` CHARACTER SET utf8mb4", "a.*"),
            ("DROP SCHEMA a", "a.*"),
            ("ALTER DATABASE CHARACTER SET latin1", "?.*"),
            (
                "/*!50003 CREATE*/ /*!50020 DEFINER=`r`@`%`*/ /*!50003 EVENT a.e ON SCHEDULE*/",
                "a.*",
            ),
            ("ANALYZE NO_WRITE_TO_BINLOG TABLE a.t, b.u", "a.t b.u"),
            ("CREATE TABLE `größe`.`t.x` (id INT)", "größe.t.x"),
            ("FLUSH PRIVILEGES", "?.*"),
            ("CREATE TABLE", "?.*"),
            ("", "?.*"),
        ] {
            let expected = if statement.contains("or``ders") { "shop.or`ders" } else { expected };
            assert_eq!(spelt(statement), expected, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_asked_about(text in ".{0,200}") {
            let _unjudged = subjects(&text);
            let _unjudged = subjects(&format!("ALTER TABLE {text}"));
            let _unjudged = subjects(&format!("CREATE {text}"));
        }
    }
}
