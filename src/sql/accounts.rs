//! Statements that may carry passwords, or their hashes.

use super::{Mode, Token, Tokens, behind_settings};

/// Tokens in front of the word that tells what a statement makes.
const FRONT_TOKENS_MAX: usize = 40;
/// Texts within texts that are looked into: statements that prepare statements.
const DEPTH_MAX: u32 = 4;

/// Whether a statement, written under `mode`, is about accounts, their rights, or logins to other servers, or holds a statement
/// that is, or may be: the body of a routine, trigger or event, and texts that such a body prepares.
///
/// No consumer's table changes by any of them. So where it is not sure, the answer is yes.
pub fn may_carry_passwords(statement: &str, mode: Mode) -> bool {
    let statement = behind_settings(statement, mode);
    if is_about_accounts(Tokens::new(statement, mode)) || has_login(statement, mode) {
        return true;
    }
    is_program(statement, mode) && program_may(statement, mode, DEPTH_MAX)
}

fn is_about_accounts(mut tokens: Tokens<'_>) -> bool {
    let Some(Token::Word(verb)) = tokens.next() else { return false };
    match verb.to_ascii_uppercase().as_str() {
        "GRANT" | "REVOKE" => true,
        "SET" => tokens.skip_one(&["PASSWORD", "DEFAULT", "ROLE"]),
        "CREATE" | "ALTER" | "DROP" | "RENAME" => {
            if tokens.skip_one(&["OR"]) {
                tokens.next();
            }
            tokens.skip_one(&["USER", "ROLE", "SERVER"])
        }
        _ => false,
    }
}

/// Whether it names a login to another server: tables of the FEDERATED and Spider engines do.
fn has_login(statement: &str, mode: Mode) -> bool {
    let mut tokens = Tokens::new(statement, mode);
    if !tokens.skip_one(&["CREATE", "ALTER"]) {
        return false;
    }
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) if word.eq_ignore_ascii_case("CONNECTION") => {
                tokens.skip_one(&["="]);
                if matches!(tokens.peek(), Some(Token::Text(_))) {
                    return true;
                }
            }
            Token::Text(text) if names_password(text) => return true,
            Token::Word(_)
            | Token::Quoted(_)
            | Token::Text(_)
            | Token::Variable
            | Token::Other(_) => {}
        }
    }
    false
}

/// `password "..."`, as Spider has it in the comment of a table, or `password=...`, as CONNECT has it in
/// the list of its options.
fn names_password(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut parts = text.split("password").skip(1);
    parts.any(|behind| behind.trim_start().starts_with(['=', '"', '\'', '\\']))
}

/// Whether a statement makes or alters what runs statements later: a routine, a trigger, an event.
fn is_program(statement: &str, mode: Mode) -> bool {
    let mut tokens = Tokens::new(statement, mode);
    if !tokens.skip_one(&["CREATE", "ALTER"]) {
        return false;
    }
    let programs = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];
    let others = ["TABLE", "VIEW", "INDEX", "DATABASE", "SCHEMA", "SEQUENCE", "TABLESPACE"];
    for _ in 0..FRONT_TOKENS_MAX {
        let Some(token) = tokens.next() else { return false };
        if programs.iter().any(|word| token.is_word(word)) {
            return true;
        }
        if others.iter().any(|word| token.is_word(word)) {
            return false;
        }
    }
    // A front that long is none that is known.
    true
}

/// Whether a program, or a text in one, holds a statement that may carry a password.
fn program_may(text: &str, mode: Mode, depth: u32) -> bool {
    let mut tokens = Tokens::new(text, mode);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => {
                let upper = word.to_ascii_uppercase();
                let may = match upper.as_str() {
                    "IDENTIFIED" | "GRANT" | "REVOKE" => true,
                    "CREATE" | "ALTER" | "DROP" | "RENAME" => {
                        let mut ahead = tokens.clone();
                        if ahead.skip_one(&["OR"]) {
                            ahead.next();
                        }
                        ahead.skip_one(&["USER", "ROLE", "SERVER"])
                    }
                    "SET" => {
                        let mut ahead = tokens.clone();
                        ahead.skip_words(&["DEFAULT"]);
                        ahead.skip_one(&["ROLE"])
                    }
                    // What is put together at run time can't be read.
                    "PREPARE" => prepares_unread(tokens.clone(), "FROM"),
                    "IMMEDIATE" => prepares_unread(tokens.clone(), ""),
                    // PASSWORD(..), SET PASSWORD, MASTER_PASSWORD, SOURCE_PASSWORD ...
                    other => other.contains("PASSWORD"),
                };
                if may {
                    return true;
                }
            }
            Token::Text(text) => {
                let within = unescaped(text);
                if depth == 0 || program_may(&within, mode, depth - 1) {
                    return !within.trim().is_empty();
                }
            }
            Token::Quoted(_) | Token::Variable | Token::Other(_) => {}
        }
    }
    // The piece that can't be read may hold anything.
    tokens.is_doubtful() && depth == DEPTH_MAX
}

/// Whether what is prepared is anything but one text.
fn prepares_unread(mut tokens: Tokens<'_>, behind: &str) -> bool {
    if !behind.is_empty() {
        // The statement's name.
        tokens.next();
        if !tokens.skip_one(&[behind]) {
            // No PREPARE then, but a name: XA PREPARE, a column.
            return false;
        }
    }
    let is_text = matches!(tokens.next(), Some(Token::Text(_)));
    !is_text
        || !tokens
            .peek()
            .is_none_or(|next| next.is(";") || next.is_word("USING") || next.is_word("END"))
}

/// A text without its quotes' and backslashes' own signs, as far as words are concerned.
fn unescaped(text: &str) -> String {
    text.replace("''", "'").replace("\"\"", "\"").replace('\\', "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNTS: [&str; 18] = [
        "CREATE USER 'u'@'%' IDENTIFIED WITH 'x' AS '$A$005$'",
        "create /* a */ or replace user u",
        "ALTER USER u IDENTIFIED BY PASSWORD '*0'",
        "GRANT ALL ON *.* TO u IDENTIFIED BY PASSWORD '*0'",
        "REVOKE ALL ON *.* FROM u",
        "SET PASSWORD FOR 'u'@'%'='*0'",
        "DROP ROLE r",
        "RENAME USER a TO b",
        "alter user if exists a identified with mysql_native_password as '*0'",
        "set statement max_statement_time=10 for create user u identified by 'secret'",
        "SET STATEMENT a=1 FOR SET STATEMENT b='x' FOR CREATE USER u IDENTIFIED BY 'secret'",
        "SET DEFAULT ROLE r FOR u",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (PASSWORD 'x')",
        "/*!50003 CREATE*/ /*!50003 /* x */ USER*/ u IDENTIFIED BY 'x'",
        "CREATE/**/USER u IDENTIFIED BY 'x'",
        "CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:secret@h/d/t'",
        "CREATE TABLE t (a INT) ENGINE=SPIDER COMMENT='host \"h\", password \"secret\"'",
        "CREATE TABLE t (a INT) ENGINE=CONNECT OPTION_LIST='host=h,user=root,Password=secret'",
    ];

    fn may(statement: &str) -> bool {
        may_carry_passwords(statement, Mode::default())
    }

    #[test]
    fn a_backslash_hides_no_login_where_it_stands_for_itself() {
        let plain = Mode { plain_backslash: true, ..Mode::default() };
        let login = r"CREATE TABLE t (a INT) COMMENT 'x\' CONNECTION='mysql://u:secret@h/d/t'";
        assert!(may_carry_passwords(login, plain));
    }

    #[test]
    fn statements_about_accounts_are_told_from_ddl() {
        for accounts in ACCOUNTS {
            assert!(may(accounts), "{accounts}");
        }
        for ddl in [
            "CREATE TABLE user (a INT)",
            "CREATE TABLE t (password TEXT COMMENT 'the password', identified INT)",
            "CREATE DATABASE grant_me",
            "SET STATEMENT max_statement_time=10 FOR CREATE TABLE user (a INT)",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "ALTER TABLE t ADD COLUMN user INT",
            "DROP TABLE IF EXISTS `user`",
            "RENAME TABLE a TO b",
            "SET @@session.x = 1",
            "",
        ] {
            assert!(!may(ddl), "{ddl}");
        }
    }

    #[test]
    fn bodies_of_programs_are_looked_into() {
        for body in [
            "CREATE USER u IDENTIFIED BY 'secret'",
            "BEGIN SET @x = 1; alter /* a */ user u identified by 'secret'; END",
            "BEGIN SET PASSWORD FOR u = 'secret'; END",
            "BEGIN PREPARE s FROM 'CREATE USER u IDENTIFIED BY ''secret'''; EXECUTE s; END",
            "BEGIN PREPARE s FROM \"ALTER USER u IDENTIFIED BY 'secret'\"; END",
            "BEGIN SET @s = CONCAT('ALTER US', 'ER u IDENT', 'IFIED BY ''secret'''); PREPARE s FROM @s; END",
            "BEGIN EXECUTE IMMEDIATE CONCAT('CREATE US', 'ER u IDENT', 'IFIED BY ''secret'''); END",
            "EXECUTE IMMEDIATE 'SET PASSWORD = ''secret'''",
            "BEGIN /*!50701 GRANT SELECT ON *.* TO u IDENTIFIED BY 'secret' */; END",
            "CHANGE MASTER TO MASTER_PASSWORD = 'secret'",
            "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = 'secret'",
            "INSERT INTO t VALUES (PASSWORD('secret'))",
            "PREPARE s FROM 'PREPARE t FROM ''CREATE USER u IDENTIFIED BY \\'secret\\''''",
            "SET @a = 'not closed",
        ] {
            for head in [
                "CREATE DEFINER=`r`@`%` EVENT `user` ON SCHEDULE EVERY 1 DAY DO",
                "ALTER EVENT e DO",
                "CREATE PROCEDURE p(a INT)",
                "CREATE OR REPLACE FUNCTION f() RETURNS INT",
                "/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER g BEFORE INSERT ON t FOR EACH ROW",
                "SET STATEMENT max_statement_time=1 FOR CREATE PROCEDURE p()",
                "CREATE PACKAGE BODY b AS PROCEDURE p() AS",
            ] {
                assert!(may(&format!("{head} {body}")), "{head} {body}");
            }
        }
        for harmless in [
            "CREATE PROCEDURE p() SELECT 1",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t WHERE a < NOW() - INTERVAL 1 DAY",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 'create table user'",
            "CREATE PROCEDURE p() BEGIN PREPARE s FROM 'TRUNCATE t'; EXECUTE s; END",
            "CREATE PROCEDURE p() BEGIN CREATE TEMPORARY TABLE user_ids (a INT); END",
        ] {
            assert!(!may(harmless), "{harmless}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_asked_about(text in ".{0,200}") {
            let _ignored = may(&text);
            let _ignored = may(&format!("CREATE PROCEDURE p() {text}"));
        }

        /// However it is wrapped and commented.
        #[test]
        fn an_account_s_password_in_a_body_is_found(
            number in 0..14_usize,
            before in "(/\\* x \\*/|-- y\n| |\n|SET @a = 1; )*",
            depth in 0_u32..3,
        ) {
            let mut body = ACCOUNTS[number].to_owned();
            for _ in 0..depth {
                body = format!("PREPARE s FROM '{}'", body.replace('\'', "''"));
            }
            let statement = format!("CREATE PROCEDURE p() BEGIN {before}{body}; END");
            prop_assert!(may(&statement), "{}", statement);
        }
    }
}
