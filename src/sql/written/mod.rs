//! The tables whose rows a statement changes.
//!
//! All of them, or none: what is not understood is an error. Tables that a statement only reads are
//! left out where that is plain (the SELECT of an INSERT); where it is not, they count.

mod reader;

pub use reader::Unread;

use reader::{Reader, TABLES_MAX, checked};

use super::{Mode, Name, Token, Tokens, behind_settings};

/// What a statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its first word, upper case.
    pub verb: &'static str,
    /// Tables whose rows it may change; at least one.
    pub tables: Vec<Name>,
    /// What stands in front of a dot behind them: databases that it reads, and names of tables.
    pub named: Vec<String>,
}

/// Reads which tables' rows a statement changes, written under `mode`.
pub fn written(statement: &str, mode: Mode) -> Result<Written, Unread> {
    let statement = behind_settings(statement, mode);
    let mut reader = Reader {
        tokens: Tokens::new(statement, mode),
        tables: Vec::new(),
        named: Vec::new(),
        ctes: Vec::new(),
    };
    let verb = reader.statement()?;
    reader.rest(0, true)?;
    // What is behind the last piece counts too: a comment that is not closed.
    reader.tokens.next();
    if reader.tokens.is_doubtful() {
        return Err(Unread::Text("a comment or quote that servers read differently"));
    }
    if reader.tables.is_empty() {
        return Err(Unread::Text("the table's name"));
    }
    Ok(Written { verb, tables: reader.tables, named: reader.named })
}

/// Whether a statement, written under `mode`, makes a table together with rows: CREATE TABLE ... SELECT.
/// One that makes a temporary table does not count.
pub fn creates_with_rows(statement: &str, mode: Mode) -> bool {
    let mut tokens = Tokens::new(behind_settings(statement, mode), mode);
    if !created(&mut tokens) {
        return false;
    }
    while let Some(token) = tokens.next() {
        // Those of a partition are VALUES IN and VALUES LESS.
        let is_query = token.is_word("SELECT")
            || token.is_word("TABLE") && tokens.clone().name().is_some()
            || token.is_word("VALUES") && tokens.clone().skip_one(&["ROW", "("]);
        if is_query {
            return true;
        }
    }
    false
}

/// Passes CREATE [OR REPLACE] TABLE.
fn created(tokens: &mut Tokens<'_>) -> bool {
    if !tokens.skip_one(&["CREATE"]) {
        return false;
    }
    tokens.skip_words(&["OR", "REPLACE"]);
    tokens.skip_one(&["TABLE"])
}

impl Reader<'_> {
    /// Reads as far as tables are named that are written to.
    fn statement(&mut self) -> Result<&'static str, Unread> {
        if self.word(&["WITH"]) {
            self.expressions()?;
            return match self.verb()? {
                verb @ ("UPDATE" | "DELETE") => self.of(verb),
                _ => Err(Unread::Verb),
            };
        }
        let verb = self.verb()?;
        self.of(verb)
    }

    fn verb(&mut self) -> Result<&'static str, Unread> {
        const VERBS: [&str; 6] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "CREATE"];
        let Some(Token::Word(word)) = self.tokens.peek() else { return Err(Unread::Verb) };
        let verb = VERBS.into_iter().find(|verb| word.eq_ignore_ascii_case(verb));
        let verb = verb.ok_or(Unread::Verb)?;
        if verb != "CREATE" {
            self.tokens.next();
        }
        Ok(verb)
    }

    fn of(&mut self, verb: &'static str) -> Result<&'static str, Unread> {
        match verb {
            "INSERT" | "REPLACE" => {
                self.words(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"]);
                self.word(&["INTO"]);
                self.target()?;
                self.columns()?;
            }
            "UPDATE" => {
                self.words(&["LOW_PRIORITY", "IGNORE"]);
                self.references()?;
                if !self.word(&["SET"]) {
                    return Err(Unread::Text("what follows the tables of an UPDATE"));
                }
            }
            "DELETE" => self.delete()?,
            "LOAD" => self.load()?,
            _ => {
                if !created(&mut self.tokens) {
                    return Err(Unread::Verb);
                }
                self.words(&["IF", "NOT", "EXISTS"]);
                let name = self.name()?;
                self.add(name)?;
                // Definitions of columns hold what looks like calls: types.
                if self.tokens.peek().is_some_and(|token| token.is("(")) {
                    let mut ahead = self.tokens.clone();
                    ahead.next();
                    let is_query = ahead.peek().is_some_and(|token| {
                        ["SELECT", "WITH", "TABLE", "VALUES", "("].iter().any(|word| token.is(word))
                    });
                    if !is_query {
                        self.tokens.next();
                        self.parenthesis()?;
                    }
                }
            }
        }
        Ok(verb)
    }

    /// Behind WITH: `name [(columns)] AS (query), ...`.
    fn expressions(&mut self) -> Result<(), Unread> {
        self.word(&["RECURSIVE"]);
        loop {
            let name = self.tokens.identifier();
            self.ctes.push(name.ok_or(Unread::Text("the name of a common table expression"))?);
            if self.tokens.skip_one(&["("]) {
                self.parenthesis()?;
            }
            if !self.word(&["AS"]) || !self.tokens.skip_one(&["("]) {
                return Err(Unread::Text("a common table expression"));
            }
            self.rest(1, false)?;
            if !self.tokens.skip_one(&[","]) {
                return Ok(());
            }
        }
    }

    /// The table of an INSERT, a REPLACE or a LOAD DATA, with its partitions.
    fn target(&mut self) -> Result<(), Unread> {
        let name = self.name()?;
        self.add(name)?;
        self.partitions()
    }

    pub(super) fn partitions(&mut self) -> Result<(), Unread> {
        if self.word(&["PARTITION"]) {
            if !self.tokens.skip_one(&["("]) {
                return Err(Unread::Text("a list of partitions"));
            }
            self.parenthesis()?;
        }
        Ok(())
    }

    /// A list of columns behind a table, and VALUE, which no other word than VALUES stands for.
    fn columns(&mut self) -> Result<(), Unread> {
        if self.tokens.peek().is_some_and(|token| token.is("(")) {
            let mut ahead = self.tokens.clone();
            ahead.next();
            let is_query = ahead.peek().is_some_and(|token| {
                ["SELECT", "WITH", "TABLE", "("].iter().any(|word| token.is(word))
            });
            if !is_query {
                self.tokens.next();
                self.parenthesis()?;
            }
        }
        self.word(&["VALUE"]);
        Ok(())
    }

    /// `DELETE FROM t`, `DELETE t, u FROM ...`, `DELETE FROM t, u USING ...`.
    fn delete(&mut self) -> Result<(), Unread> {
        self.words(&["LOW_PRIORITY", "QUICK", "IGNORE"]);
        let from_first = self.word(&["FROM"]);
        let mut targets = vec![self.delete_target()?];
        while self.tokens.skip_one(&[","]) {
            if targets.len() == TABLES_MAX {
                return Err(Unread::Text("more tables than are read"));
            }
            targets.push(self.delete_target()?);
        }
        let is_of_many = if from_first { self.word(&["USING"]) } else { self.word(&["FROM"]) };
        if !is_of_many {
            let [(name, false)] = targets.as_slice() else {
                return Err(Unread::Text("the tables of a DELETE"));
            };
            if !from_first {
                return Err(Unread::Text("what follows DELETE"));
            }
            self.add(name.clone())?;
            self.partitions()?;
            if self.word(&["FOR"]) {
                // MariaDB: FOR PORTION OF period FROM .. TO ..
                self.words(&["PORTION", "OF"]);
                return Ok(());
            }
            return self.alias().map(drop);
        }
        let aliases = self.references()?;
        for ((database, table), _) in targets {
            let is_alias = database.is_none()
                && aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&table));
            if !is_alias {
                self.add((database, table))?;
            }
        }
        Ok(())
    }

    /// `t` or `t.*`; whether it had the star.
    fn delete_target(&mut self) -> Result<(Name, bool), Unread> {
        let first = self.tokens.identifier().ok_or(Unread::Text("the tables of a DELETE"))?;
        let mut name = (None, first);
        if self.tokens.skip_one(&["."]) {
            if self.tokens.skip_one(&["*"]) {
                return checked(name).map(|name| (name, true));
            }
            let second = self.tokens.identifier().ok_or(Unread::Text("the tables of a DELETE"))?;
            name = (Some(name.1), second);
            if self.tokens.skip_one(&["."]) {
                if !self.tokens.skip_one(&["*"]) {
                    return Err(Unread::Text("the tables of a DELETE"));
                }
                return checked(name).map(|name| (name, true));
            }
        }
        checked(name).map(|name| (name, false))
    }

    /// `LOAD DATA [LOCAL] INFILE 'file' [REPLACE | IGNORE] INTO TABLE t`.
    fn load(&mut self) -> Result<(), Unread> {
        if !self.word(&["DATA", "XML"]) {
            return Err(Unread::Text("what follows LOAD"));
        }
        self.words(&["LOW_PRIORITY", "CONCURRENT", "LOCAL"]);
        let is_file = self.word(&["INFILE"]) && matches!(self.tokens.next(), Some(Token::Text(_)));
        self.words(&["REPLACE", "IGNORE"]);
        if !(is_file && self.word(&["INTO"]) && self.word(&["TABLE"])) {
            return Err(Unread::Text("the front of a LOAD DATA"));
        }
        self.target()?;
        self.options()
    }

    /// Behind the table of a LOAD DATA, up to SET: character set, fields, lines, columns.
    fn options(&mut self) -> Result<(), Unread> {
        loop {
            match self.tokens.peek() {
                None => return Ok(()),
                Some(token) if token.is_word("SET") => {
                    let mut ahead = self.tokens.clone();
                    ahead.next();
                    // CHARACTER SET name has no equals sign behind the name.
                    ahead.next();
                    if ahead.skip_one(&["=", "."]) {
                        return Ok(());
                    }
                    self.tokens.next();
                }
                Some(Token::Other('(')) => {
                    self.tokens.next();
                    self.parenthesis()?;
                }
                Some(_) => {
                    self.tokens.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
