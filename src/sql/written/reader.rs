//! Table references and expressions, passed piece by piece.

use crate::sql::functions::{is_keyword, is_native};
use crate::sql::{Name, Token, Tokens};

/// Why a statement's tables can't be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is none of INSERT, REPLACE, UPDATE, DELETE, LOAD DATA, CREATE TABLE ... SELECT.
    #[error("it is of another kind than INSERT, REPLACE, UPDATE, DELETE and LOAD DATA")]
    Verb,
    /// It calls what may change other tables.
    #[error("it calls {0}, which may change other tables")]
    Call(String),
    /// Its text is not understood.
    #[error("its text is not understood at {0}")]
    Text(&'static str),
}

/// Tables that one statement may name.
pub(super) const TABLES_MAX: usize = 1000;

pub(super) struct Reader<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) tables: Vec<Name>,
    /// What stands in front of a dot.
    pub(super) named: Vec<String>,
    /// Names of common table expressions, which are no tables.
    pub(super) ctes: Vec<String>,
}

impl Reader<'_> {
    /// Table references, joined or listed; their aliases.
    pub(super) fn references(&mut self) -> Result<Vec<String>, Unread> {
        let mut aliases = Vec::new();
        self.listed(&mut aliases, 0)?;
        Ok(aliases)
    }

    fn listed(&mut self, aliases: &mut Vec<String>, depth: u32) -> Result<(), Unread> {
        const DEPTH_MAX: u32 = 32;
        if depth > DEPTH_MAX {
            return Err(Unread::Text("parentheses this deep"));
        }
        loop {
            self.factor(aliases, depth)?;
            // Conditions of joins: up to the next table, or the end of the list.
            let is_next = self.condition()?;
            if !is_next {
                return Ok(());
            }
        }
    }

    /// One table, a derived one, or a list in parentheses.
    fn factor(&mut self, aliases: &mut Vec<String>, depth: u32) -> Result<(), Unread> {
        if self.tokens.skip_one(&["("]) {
            let mut ahead = self.tokens.clone();
            while ahead.skip_one(&["("]) {}
            let is_query = ["SELECT", "WITH", "VALUES", "TABLE"]
                .iter()
                .any(|word| ahead.peek().is_some_and(|token| token.is_word(word)));
            if is_query {
                self.rest(1, false)?;
                aliases.extend(self.alias()?);
                if self.tokens.peek().is_some_and(|token| token.is("(")) {
                    self.tokens.next();
                    self.parenthesis()?;
                }
                return Ok(());
            }
            self.listed(aliases, depth + 1)?;
            if !self.tokens.skip_one(&[")"]) {
                return Err(Unread::Text("a list of tables"));
            }
            return Ok(());
        }
        self.word(&["LATERAL"]);
        let name = self.name()?;
        if self.tokens.peek().is_some_and(|token| token.is("(")) {
            // JSON_TABLE, or another function that stands for a table.
            return Err(Unread::Call(name.1));
        }
        self.partitions()?;
        let alias = self.alias()?;
        let is_expression = name.0.is_none() && self.ctes.contains(&name.1);
        if !is_expression {
            self.add(name)?;
        }
        aliases.extend(alias);
        self.hints()
    }

    /// `USE INDEX (..)` and the like.
    fn hints(&mut self) -> Result<(), Unread> {
        loop {
            let mut ahead = self.tokens.clone();
            if !(ahead.skip_one(&["USE", "FORCE", "IGNORE"]) && ahead.skip_one(&["INDEX", "KEY"])) {
                return Ok(());
            }
            ahead.skip_words(&["FOR", "JOIN", "ORDER", "GROUP", "BY"]);
            if !ahead.skip_one(&["("]) {
                return Err(Unread::Text("a hint about indexes"));
            }
            self.tokens = ahead;
            self.parenthesis()?;
            self.tokens.skip_one(&[","]);
        }
    }

    /// Passes what stands between two tables of a list: a comma, the words of a join, a condition.
    /// Whether another table follows.
    fn condition(&mut self) -> Result<bool, Unread> {
        const JOINS: [&str; 8] =
            ["JOIN", "INNER", "CROSS", "LEFT", "RIGHT", "NATURAL", "OUTER", "STRAIGHT_JOIN"];
        const ENDS: [&str; 8] = ["SET", "WHERE", "ORDER", "LIMIT", "RETURNING", ")", ";", "FROM"];
        let mut is_condition = false;
        loop {
            let Some(token) = self.tokens.peek() else { return Ok(false) };
            if ENDS.iter().any(|word| token.is(word)) {
                return Ok(false);
            }
            if self.tokens.skip_one(&[","]) {
                return Ok(true);
            }
            let calls = self.is_call_ahead();
            if !calls && JOINS.iter().any(|word| token.is_word(word)) {
                self.tokens.skip_words(&JOINS);
                return Ok(true);
            }
            if self.word(&["ON"]) {
                is_condition = true;
                continue;
            }
            if self.word(&["USING"]) {
                if !self.tokens.skip_one(&["("]) {
                    return Err(Unread::Text("the condition of a join"));
                }
                self.parenthesis()?;
                continue;
            }
            if !is_condition {
                return Err(Unread::Text("what follows a table"));
            }
            self.expression()?;
        }
    }

    /// Whether the next is a word with a parenthesis right behind it: LEFT(..) is no join.
    fn is_call_ahead(&self) -> bool {
        let mut ahead = self.tokens.clone();
        matches!(ahead.next(), Some(Token::Word(_))) && ahead.rest().starts_with('(')
    }

    /// `[AS] name`.
    pub(super) fn alias(&mut self) -> Result<Option<String>, Unread> {
        const NOT: [&str; 26] = [
            "SET",
            "WHERE",
            "ORDER",
            "LIMIT",
            "JOIN",
            "INNER",
            "CROSS",
            "LEFT",
            "RIGHT",
            "NATURAL",
            "STRAIGHT_JOIN",
            "ON",
            "USING",
            "USE",
            "FORCE",
            "IGNORE",
            "PARTITION",
            "RETURNING",
            "FOR",
            "FROM",
            "GROUP",
            "HAVING",
            "UNION",
            "SELECT",
            "VALUES",
            "OUTER",
        ];
        if self.word(&["AS"]) {
            return self.tokens.identifier().map(Some).ok_or(Unread::Text("an alias"));
        }
        match self.tokens.peek() {
            Some(Token::Word(word)) if !NOT.iter().any(|not| word.eq_ignore_ascii_case(not)) => {
                Ok(self.tokens.identifier())
            }
            Some(Token::Quoted(_)) => Ok(self.tokens.identifier()),
            _ => Ok(None),
        }
    }

    pub(super) fn name(&mut self) -> Result<Name, Unread> {
        if matches!(self.tokens.peek(), Some(Token::Text(_))) {
            return Err(Unread::Text("a table's name"));
        }
        self.tokens.name().ok_or(Unread::Text("a table's name")).and_then(checked)
    }

    pub(super) fn add(&mut self, name: Name) -> Result<(), Unread> {
        if self.tables.len() == TABLES_MAX {
            return Err(Unread::Text("more tables than are read"));
        }
        if !self.tables.contains(&name) {
            self.tables.push(name);
        }
        Ok(())
    }

    /// Behind an opening parenthesis of names or definitions: up to the closing one.
    pub(super) fn parenthesis(&mut self) -> Result<(), Unread> {
        let mut depth = 1_u32;
        while depth > 0 {
            match self.tokens.next() {
                Some(Token::Other('(')) => depth += 1,
                Some(Token::Other(')')) => depth -= 1,
                Some(_) => {}
                None => return Err(Unread::Text("a parenthesis that is not closed")),
            }
        }
        Ok(())
    }

    /// Passes expressions and queries: behind `depth` open parentheses up to the last closing one, or
    /// `to_end`.
    pub(super) fn rest(&mut self, mut depth: u32, to_end: bool) -> Result<(), Unread> {
        loop {
            match self.tokens.peek() {
                None if to_end && depth == 0 => return Ok(()),
                None => return Err(Unread::Text("a parenthesis that is not closed")),
                Some(Token::Other('(')) => {
                    depth += 1;
                    self.tokens.next();
                }
                Some(Token::Other(')')) if depth == 0 => {
                    return Err(Unread::Text("a parenthesis too many"));
                }
                Some(Token::Other(')')) => {
                    depth -= 1;
                    self.tokens.next();
                    if depth == 0 && !to_end {
                        return Ok(());
                    }
                }
                Some(Token::Other(';')) if depth == 0 => {
                    self.tokens.next();
                    if self.tokens.peek().is_some() {
                        return Err(Unread::Text("a second statement"));
                    }
                }
                Some(_) => self.expression()?,
            }
        }
    }

    /// Passes one piece of an expression; no parenthesis, unless it is a call's.
    fn expression(&mut self) -> Result<(), Unread> {
        let token = self.tokens.next();
        match token {
            Some(Token::Other('(')) => self.rest(1, false),
            Some(Token::Word(word)) => {
                let is_adjacent = self.tokens.rest().starts_with('(');
                if self.tokens.peek().is_some_and(|next| next.is("(")) {
                    let may = is_keyword(word) || is_adjacent && is_native(word);
                    return if may { Ok(()) } else { Err(Unread::Call(word.to_owned())) };
                }
                self.qualified(word)?;
                // A sequence's next value, and what else changes by being read.
                if word.eq_ignore_ascii_case("NEXT") && self.tokens.skip_one(&["VALUE"]) {
                    return Err(Unread::Call("NEXT VALUE".to_owned()));
                }
                Ok(())
            }
            Some(Token::Quoted(name)) => {
                if self.tokens.peek().is_some_and(|next| next.is("(")) {
                    return Err(Unread::Call(name));
                }
                self.qualified(&name)
            }
            Some(Token::Text(_) | Token::Variable | Token::Other(_)) => Ok(()),
            None => Err(Unread::Text("its end")),
        }
    }

    /// Behind a name: `.name` and so on; a call then is one of a stored function.
    fn qualified(&mut self, first: &str) -> Result<(), Unread> {
        let is_qualified = self.tokens.peek().is_some_and(|next| next.is("."));
        if is_qualified && self.named.len() < TABLES_MAX && !self.named.iter().any(|it| it == first)
        {
            self.named.push(first.to_owned());
        }
        while self.tokens.skip_one(&["."]) {
            if self.tokens.skip_one(&["*"]) {
                return Ok(());
            }
            let name = self.tokens.identifier().ok_or(Unread::Text("a qualified name"))?;
            if self.tokens.peek().is_some_and(|next| next.is("(")) {
                return Err(Unread::Call(name));
            }
        }
        Ok(())
    }

    pub(super) fn word(&mut self, any_of: &[&str]) -> bool {
        self.tokens.skip_one(any_of)
    }

    pub(super) fn words(&mut self, any_of: &[&str]) {
        self.tokens.skip_words(any_of);
    }
}

/// A name that is not a number.
pub(super) fn checked(name: Name) -> Result<Name, Unread> {
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = is_number(&name.1) || name.0.as_deref().is_some_and(is_number);
    if is_one { Err(Unread::Text("a table's name")) } else { Ok(name) }
}
