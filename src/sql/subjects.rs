//! Which tables a statement is about, as far as its text tells. Pure.
//!
//! Not a parser of SQL: it reads the front of a statement for the names that it is about, and knows
//! nothing of what is done to them. Where that front is none that it knows, the statement counts as
//! one about the database that was selected.

use super::{Mode, Name, Token, Tokens};

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subjects {
    /// These tables (or views, sequences): database, if named, and name.
    Tables(Vec<Name>),
    /// A database, or something in it that is no table; `None`: the one that was selected.
    Database(Option<String>),
}

/// Names that are read of one statement; what is beyond is not asked about.
const NAMES_MAX: usize = 1000;
/// Tokens in front of the word that tells what a statement is about (`DEFINER = ..` and the like).
const FRONT_TOKENS_MAX: usize = 40;

/// Reads what a statement is about.
pub fn subjects(statement: &str) -> Subjects {
    let mut tokens =
        Tokens::new(super::behind_settings(statement, Mode::default()), Mode::default());
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

/// The tables that a statement renames: old and new name of each.
pub fn renamed(statement: &str) -> Vec<(Name, Name)> {
    let mode = Mode::default();
    let mut tokens = Tokens::new(super::behind_settings(statement, mode), mode);
    if tokens.skip_one(&["ALTER"]) {
        tokens.skip_words(&["ONLINE", "IGNORE"]);
        if !tokens.skip_one(&["TABLE"]) {
            return Vec::new();
        }
        tokens.skip_words(&["IF", "EXISTS"]);
        let old = tokens.name();
        return old.zip(new_name(&mut tokens)).into_iter().collect();
    }
    if !tokens.skip_one(&["RENAME"]) {
        return Vec::new();
    }
    let Subjects::Tables(names) = subjects(statement) else { return Vec::new() };
    let pairs = names.chunks_exact(2);
    pairs.filter_map(|pair| Some((pair.first()?.clone(), pair.last()?.clone()))).collect()
}

/// Something that stands between a statement and the rows that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A view of this name.
    View(Name),
    /// A trigger on this table.
    Trigger(Name),
}

/// The view or trigger that a statement makes or alters.
pub fn defined(statement: &str) -> Option<Object> {
    let mut tokens =
        Tokens::new(super::behind_settings(statement, Mode::default()), Mode::default());
    if !tokens.skip_one(&["CREATE", "ALTER"]) {
        return None;
    }
    for _ in 0..FRONT_TOKENS_MAX {
        let token = tokens.next()?;
        if token.is_word("VIEW") {
            tokens.skip_words(&["IF", "NOT", "EXISTS"]);
            return tokens.name().map(Object::View);
        }
        if token.is_word("TRIGGER") {
            while !tokens.next()?.is_word("ON") {}
            return tokens.name().map(Object::Trigger);
        }
        if ["TABLE", "PROCEDURE", "FUNCTION", "EVENT"].iter().any(|word| token.is_word(word)) {
            return None;
        }
    }
    None
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
                    names.extend(exchanged(tokens.clone()));
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
                    // Double quotes hold names in some modes.
                    Some(Token::Text(name)) => Some(name.to_owned()),
                    Some(Token::Variable | Token::Other(_)) | None => None,
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

/// `ALTER TABLE ... EXCHANGE PARTITION p WITH TABLE name`: rows of both change.
fn exchanged(mut tokens: Tokens<'_>) -> Option<Name> {
    while let Some(token) = tokens.next() {
        if token.is_word("EXCHANGE") && tokens.skip_one(&["PARTITION"]) {
            tokens.identifier()?;
            return (tokens.skip_one(&["WITH"]) && tokens.skip_one(&["TABLE"]))
                .then(|| tokens.name())?;
        }
    }
    None
}

/// `ALTER TABLE ... RENAME [TO | AS | =] name`.
fn new_name(tokens: &mut Tokens<'_>) -> Option<Name> {
    while let Some(token) = tokens.next() {
        if token.is_word("RENAME") {
            let mut ahead = tokens.clone();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Name, Object, Subjects, defined, renamed, subjects};

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
            ("ALTER TABLE a.t EXCHANGE PARTITION `p` WITH TABLE b.u WITHOUT VALIDATION", "a.t b.u"),
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

    #[test]
    fn renamed_tables_have_an_old_and_a_new_name() {
        for (statement, expected) in [
            ("RENAME TABLE a.t TO b.u, v TO w", "a.t>b.u v>w"),
            ("ALTER TABLE a.t ADD KEY k (c), RENAME AS u", "a.t>u"),
            ("ALTER TABLE a.t RENAME COLUMN c TO d", ""),
            ("ALTER TABLE a.t EXCHANGE PARTITION p WITH TABLE b.u", ""),
            ("DROP TABLE a.t, a.u", ""),
            ("RENAME USER a TO b", ""),
        ] {
            let text = |(database, table): Name| match database {
                Some(database) => format!("{database}.{table}"),
                None => table,
            };
            let all = renamed(statement).into_iter();
            let all: Vec<_> =
                all.map(|(old, new)| format!("{}>{}", text(old), text(new))).collect();
            assert_eq!(all.join(" "), expected, "{statement}");
        }
    }

    #[test]
    fn views_and_triggers_are_found_where_they_are_made() {
        let name = |text: &str| (Some("a".to_owned()), text.to_owned());
        for (statement, expected) in [
            (
                "CREATE OR REPLACE ALGORITHM=MERGE VIEW a.v AS SELECT 1",
                Some(Object::View(name("v"))),
            ),
            ("alter definer=`view`@`%` view `a`.`v` as select 1", Some(Object::View(name("v")))),
            (
                "CREATE DEFINER=`r`@`%` TRIGGER g AFTER INSERT ON a.t FOR EACH ROW SET @x = 1",
                Some(Object::Trigger(name("t"))),
            ),
            (
                "SET STATEMENT x=1 FOR CREATE TRIGGER g AFTER DELETE ON a.t FOR EACH ROW BEGIN END",
                Some(Object::Trigger(name("t"))),
            ),
            ("CREATE TABLE a.v (`VIEW` INT)", None),
            ("DROP VIEW a.v", None),
            ("CREATE PROCEDURE p() CREATE VIEW a.v AS SELECT 1", None),
        ] {
            assert_eq!(defined(statement), expected, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_asked_about(text in ".{0,200}") {
            let _ignored = subjects(&text);
            let _ignored = subjects(&format!("ALTER TABLE {text}"));
            let _ignored = subjects(&format!("CREATE {text}"));
            let _ignored = renamed(&format!("RENAME TABLE {text}"));
        }
    }
}
