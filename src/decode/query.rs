//! QUERY: statements that are replicated as text, and what kind of statement each is.

use std::borrow::Cow;
use std::ops::Range;

use super::Fault;
use super::bytes::Bytes;
use super::charset::{self, Decoded};
use super::format_description::Format;
use super::xa::Xid;
use crate::sql;

/// The parts of a query event, as ranges of its body.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Status variables of the session.
    variables: Range<usize>,
    /// The selected database.
    pub(super) database: Range<usize>,
    /// The statement.
    pub(super) statement: Range<usize>,
}

/// Bytes of the fixed part that every server since 5.0 writes.
const FIXED: usize = 13;

/// Reads a query event's body.
pub(super) fn parse(body: &[u8], format: &Format) -> Result<Query, Fault> {
    parse_with(body, format.query_header)
}

/// With so many bytes in front of the status variables.
fn parse_with(body: &[u8], header: usize) -> Result<Query, Fault> {
    let mut bytes = Bytes::new(body);
    bytes.u32("thread id")?;
    bytes.u32("execution time")?;
    let database = usize::from(bytes.u8("length of the database's name")?);
    bytes.u16("error code")?;
    let variables = usize::from(bytes.u16("length of the status variables")?);
    bytes.take(header.saturating_sub(FIXED), "query header")?;
    let variables = bytes.at()..bytes.at() + variables;
    bytes.take(variables.len(), "status variables")?;
    let start = bytes.at();
    bytes.take(database, "database's name")?;
    bytes.u8("end of the database's name")?;
    Ok(Query { variables, database: start..start + database, statement: bytes.at()..body.len() })
}

/// Reads an EXECUTE_LOAD_QUERY event's body: a query with the place of the file's name in it.
pub(super) fn parse_load(body: &[u8], format: &Format) -> Result<Query, Fault> {
    // The file's number, where its name begins and ends, what to do with duplicates.
    const MORE: usize = 4 + 4 + 4 + 1;
    parse_with(body, format.query_header.max(FIXED) + MORE)
}

/// What a query event tells of the session that ran the statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Session {
    /// Collation of the client's character set, in which the statement is written.
    pub(super) collation: u16,
    /// `sql_mode`; 0 where it is not told.
    pub(super) sql_mode: u64,
    /// Databases of all tables that the statement changed, also by triggers and functions; `None` if
    /// they are not told, or too many (MariaDB never tells).
    pub(super) changed: Option<Vec<String>>,
}

impl Session {
    /// What quotes and backslashes of its statements mean.
    pub(super) fn mode(&self) -> sql::Mode {
        sql::Mode::of(self.sql_mode)
    }

    /// A statement of its client; `None` if it is not valid in the client's character set.
    pub(super) fn text<'a>(&self, statement: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut scratch = Vec::new();
        let decoded = charset::by_collation(self.collation)
            .map(|charset| charset.decode(statement, &mut scratch));
        match decoded {
            Some(Decoded::Scratch) => String::from_utf8(scratch).map(Cow::Owned).ok(),
            Some(Decoded::Malformed) => None,
            Some(Decoded::Borrowed) | None => str::from_utf8(statement).map(Cow::Borrowed).ok(),
        }
    }

    /// The same; of one that is not valid its ASCII, which all words that matter are of.
    pub(super) fn words<'a>(&self, statement: &'a [u8]) -> Cow<'a, str> {
        let ascii = || match charset::by_collation(self.collation) {
            Some(charset) => charset.ascii_of(statement),
            None => String::from_utf8_lossy(statement).into_owned(),
        };
        self.text(statement).unwrap_or_else(|| Cow::Owned(ascii()))
    }
}

/// Reads the session's status variables.
pub(super) fn session(body: &[u8], query: &Query) -> Session {
    let mut session = Session::default();
    let variables = body.get(query.variables.clone()).unwrap_or_default();
    // What is not understood ends it: lengths are known by code only.
    let _rest = read_variables(&mut Bytes::new(variables), &mut session);
    session
}

/// Codes of status variables as in `Query_event::Query_event_status_vars` of MySQL's sources; those of
/// MariaDB's own are from 128 on.
fn read_variables(bytes: &mut Bytes<'_>, session: &mut Session) -> Result<(), Fault> {
    const WHAT: &str = "status variable";
    /// Code of "more databases than are named".
    const TOO_MANY: u8 = 254;
    while bytes.left() > 0 {
        let length = match bytes.u8(WHAT)? {
            // Session flags; auto-increment step and offset; time of the original's log.
            0 | 3 | 10 => 4,
            1 => {
                session.sql_mode = bytes.u64("SQL mode")?;
                0
            }
            // Catalogue, with its length in front and a zero behind.
            2 => usize::from(bytes.u8(WHAT)?) + 1,
            4 => {
                session.collation = bytes.u16("client's collation")?;
                4
            }
            // Time zone; catalogue without the zero.
            5 | 6 => usize::from(bytes.u8(WHAT)?),
            // Names of days and months; the database's collation; collation of utf8mb4.
            7 | 8 | 18 => 2,
            // Tables of an UPDATE of many; transaction of a DDL statement.
            9 | 17 | 129 => 8,
            // The account: user and host.
            11 => {
                let user = usize::from(bytes.u8(WHAT)?);
                bytes.take(user, WHAT)?;
                usize::from(bytes.u8(WHAT)?)
            }
            12 => {
                let count = bytes.u8(WHAT)?;
                if count != TOO_MANY {
                    session.changed = Some(databases(bytes, count)?);
                }
                0
            }
            // Microseconds.
            13 | 128 => 3,
            16 | 19 | 20 => 1,
            _ => return Ok(()),
        };
        bytes.take(length, WHAT)?;
    }
    Ok(())
}

/// Names that end in a zero each.
fn databases(bytes: &mut Bytes<'_>, count: u8) -> Result<Vec<String>, Fault> {
    let mut names = Vec::with_capacity(count.into());
    for _ in 0..count {
        let mut name = Vec::new();
        loop {
            match bytes.u8("database's name")? {
                0 => break,
                byte => name.push(byte),
            }
        }
        let at = bytes.at();
        let text = String::from_utf8(name);
        names.push(text.map_err(|_| Fault::NotText { what: "database's name", at })?);
    }
    Ok(names)
}

/// What a statement means for the transaction that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Begin,
    Commit,
    Rollback,
    /// SAVEPOINT of this name, as quoted.
    Savepoint(&'a [u8]),
    /// ROLLBACK TO the savepoint of this name, as quoted.
    RollbackTo(&'a [u8]),
    /// RELEASE SAVEPOINT: what is in it stays.
    Release,
    XaStart(Xid),
    XaEnd(Xid),
    XaPrepare(Xid),
    XaCommit(Xid),
    XaRollback(Xid),
    /// A change of rows that was logged as a statement; its first words.
    Change(&'static str),
    /// Anything else: DDL, grants, maintenance.
    Schema,
}

/// Words that begin a change of rows. TRUNCATE is none: it is logged as a statement always.
const CHANGES: [&str; 12] = [
    "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "DO", "SELECT", "WITH", "VALUES",
    "TABLE", "HANDLER",
];

/// Behind what the server writes on its own.
const BY_SERVER: &[u8] = b"/* generated by server */";

/// Tells what a statement means; asks for its session where that depends on it.
pub(super) fn meaning(
    statement: &[u8],
    session: impl FnOnce() -> Session,
) -> Result<Meaning<'_>, Fault> {
    // In front of almost every transaction: not worth a look at its words.
    if statement == b"BEGIN" {
        return Ok(Meaning::Begin);
    }
    let mut words = Words(statement);
    let first = words.next();
    if is(first, "SET") {
        // MariaDB's SET STATEMENT .. FOR. The frames of transactions are never logged behind one.
        let session = session();
        let text = session.words(statement);
        let behind = sql::behind_settings(&text, session.mode());
        let is_made_with_rows = sql::creates_with_rows(behind, session.mode());
        let change =
            if is_made_with_rows { Some(MADE_WITH_ROWS) } else { change(behind.as_bytes()) };
        return Ok(change.map_or(Meaning::Schema, Meaning::Change));
    }
    if is(first, "BEGIN") {
        return Ok(Meaning::Begin);
    }
    if is(first, "COMMIT") {
        return Ok(Meaning::Commit);
    }
    if is(first, "SAVEPOINT") {
        return Ok(Meaning::Savepoint(words.0.trim_ascii()));
    }
    if is(first, "RELEASE") {
        return Ok(Meaning::Release);
    }
    if is(first, "START") {
        let transaction = is(words.next(), "TRANSACTION");
        return Ok(if transaction { Meaning::Begin } else { Meaning::Schema });
    }
    if is(first, "ROLLBACK") {
        let second = words.next();
        let to = is(second, "TO") || is(second, "WORK") && is(words.next(), "TO");
        if !to {
            return Ok(Meaning::Rollback);
        }
        let before = words.0;
        if !is(words.next(), "SAVEPOINT") || words.0.trim_ascii().is_empty() {
            words.0 = before;
        }
        return Ok(Meaning::RollbackTo(words.0.trim_ascii()));
    }
    if is(first, "XA") {
        let verb = words.next();
        let xid = || Xid::parse(words.0);
        return Ok(match verb.to_ascii_uppercase().as_slice() {
            b"START" | b"BEGIN" => Meaning::XaStart(xid()?),
            b"END" => Meaning::XaEnd(xid()?),
            b"PREPARE" => Meaning::XaPrepare(xid()?),
            b"COMMIT" => Meaning::XaCommit(xid()?),
            b"ROLLBACK" => Meaning::XaRollback(xid()?),
            _ => Meaning::Schema,
        });
    }
    let is_made_with_rows = || {
        let session = session();
        sql::creates_with_rows(&session.words(statement), session.mode())
    };
    if is(first, "CREATE") && may_hold_query(statement) && is_made_with_rows() {
        return Ok(Meaning::Change(MADE_WITH_ROWS));
    }
    Ok(change(statement).map_or(Meaning::Schema, Meaning::Change))
}

const MADE_WITH_ROWS: &str = "CREATE TABLE ... SELECT";

/// The first words of a statement that is no frame of a transaction, if it changes rows.
fn change(statement: &[u8]) -> Option<&'static str> {
    let mut words = Words(statement);
    let first = words.next();
    if first.is_empty() {
        // Parenthesised: `(SELECT ...)`, which can change rows by the functions it calls.
        return (words.0.first() == Some(&b'(')).then_some("SELECT");
    }
    let change = CHANGES.into_iter().find(|name| is(first, name));
    change.filter(|name| *name != "DELETE" || !is_by_server(statement))
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// Whether a CREATE could make a table with rows: a look that costs little.
fn may_hold_query(statement: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"SELECT", b"TABLE", b"VALUES"];
    let found = |word: &[u8]| {
        statement.windows(word.len()).filter(|window| window.eq_ignore_ascii_case(word)).count()
    };
    found(WORDS[0]) > 0 || found(WORDS[1]) > 1 || found(WORDS[2]) > 0
}

/// Whether the server wrote it on its own: the emptying of a MEMORY table after a restart, which is that
/// of a whole table and nothing else.
fn is_by_server(statement: &[u8]) -> bool {
    let end = statement.trim_ascii_end().strip_suffix(BY_SERVER);
    let Some(text) = end.and_then(|text| str::from_utf8(text).ok()) else { return false };
    let mut tokens = sql::Tokens::new(text, sql::Mode::default());
    tokens.skip_one(&["DELETE"])
        && tokens.skip_one(&["FROM"])
        && tokens.name().is_some()
        && tokens.next().is_none()
        && !tokens.is_doubtful()
}

/// Steps through the words of a statement; comments and space are skipped.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The next word of letters; empty at anything else.
    fn next(&mut self) -> &'a [u8] {
        self.skip_space();
        let end = self.0.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_');
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word
    }

    fn skip_space(&mut self) {
        loop {
            self.0 = self.0.trim_ascii_start();
            let rest = if let Some(comment) = self.0.strip_prefix(b"/*") {
                // `/*!40000 DROP ... */` is no comment but a statement for some versions.
                if let Some(versioned) =
                    comment.strip_prefix(b"!").or_else(|| comment.strip_prefix(b"M!"))
                {
                    let digits = versioned.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    versioned.get(digits..).unwrap_or_default()
                } else {
                    after(comment, b"*/")
                }
            } else if let Some(closing) = self.0.strip_prefix(b"*/") {
                closing
            } else if self.0.starts_with(b"#") || self.0.starts_with(b"--") {
                after(self.0, b"\n")
            } else {
                return;
            };
            self.0 = rest;
        }
    }
}

fn after<'a>(text: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let at = text.windows(mark.len()).position(|window| window == mark);
    at.and_then(|at| text.get(at + mark.len()..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(statement: &str) -> Meaning<'_> {
        meaning(statement.as_bytes(), Session::default).expect("a meaning")
    }

    /// A status variable as the server writes it, and what it tells.
    fn variable() -> impl Strategy<Value = (Vec<u8>, Session)> {
        let plain = |code: u8, bytes: usize| {
            prop::collection::vec(any::<u8>(), bytes)
                .prop_map(move |body| ([&[code], body.as_slice()].concat(), Session::default()))
        };
        let sized = |code: u8, zero: bool| {
            prop::collection::vec(any::<u8>(), 0..9).prop_map(move |body| {
                let length = u8::try_from(body.len()).expect("short");
                let end = if zero { &[0][..] } else { &[] };
                ([&[code, length], body.as_slice(), end].concat(), Session::default())
            })
        };
        let text = || prop::collection::vec(1..=255_u8, 0..6);
        let account = (text(), text()).prop_map(|(user, host)| {
            let length = |part: &Vec<u8>| u8::try_from(part.len()).expect("short");
            let front = [&[11, length(&user)], user.as_slice(), &[length(&host)], &host].concat();
            (front, Session::default())
        });
        let mode = any::<u64>().prop_map(|sql_mode| {
            let bytes = [&[1], &sql_mode.to_le_bytes()[..]].concat();
            (bytes, Session { sql_mode, ..Session::default() })
        });
        let collation = any::<(u16, [u8; 4])>().prop_map(|(collation, rest)| {
            let bytes = [&[4], &collation.to_le_bytes()[..], &rest].concat();
            (bytes, Session { collation, ..Session::default() })
        });
        let databases = prop::collection::vec("[a-zé]{0,4}", 0..4).prop_map(|names| {
            let mut bytes = vec![12, u8::try_from(names.len()).expect("few")];
            for name in &names {
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(0);
            }
            (bytes, Session { changed: Some(names), ..Session::default() })
        });
        prop_oneof![
            4 => mode,
            4 => collation,
            4 => databases,
            1 => Just((vec![12, 254], Session::default())),
            1 => account,
            1 => prop_oneof![plain(0, 4), plain(3, 4), plain(10, 4), sized(2, true)],
            1 => prop_oneof![sized(5, false), sized(6, false), plain(7, 2), plain(8, 2), plain(18, 2)],
            1 => prop_oneof![plain(9, 8), plain(17, 8), plain(129, 8), plain(13, 3), plain(128, 3)],
            1 => prop_oneof![plain(16, 1), plain(19, 1), plain(20, 1)],
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn each_part_of_a_query_is_where_it_was_put(
            variables in prop::collection::vec(variable(), 0..5),
            more in prop::collection::vec(any::<u8>(), 0..14),
            database in "[a-z]{0,9}",
            statement in "[a-z ]{0,20}",
            unknown in prop::option::of(prop_oneof![Just(14_u8), Just(15), 21..128_u8]),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut told = Session::default();
            let mut bytes = Vec::new();
            let ends_at = unknown.map(|_| cut.index(variables.len() + 1));
            for (at, (variable, tells)) in variables.iter().enumerate() {
                if ends_at == Some(at) {
                    bytes.extend(unknown);
                }
                bytes.extend_from_slice(variable);
                if ends_at.is_none_or(|end| at < end) {
                    if variable[0] == 1 {
                        told.sql_mode = tells.sql_mode;
                    }
                    if variable[0] == 4 {
                        told.collation = tells.collation;
                    }
                    if variable[0] == 12 && variable[1] != 254 {
                        told.changed.clone_from(&tells.changed);
                    }
                }
            }
            let length = u16::try_from(bytes.len()).expect("short").to_le_bytes();
            let name_length = u8::try_from(database.len()).expect("short");
            let front = [&[7, 0, 0, 0, 0, 0, 0, 0, name_length, 0, 0][..], &length, &more, &bytes];
            let body = [&front.concat(), database.as_bytes(), &[0], statement.as_bytes()].concat();
            let query = parse_with(&body, FIXED + more.len()).expect("a query");
            prop_assert_eq!(&body[query.database.clone()], database.as_bytes());
            prop_assert_eq!(&body[query.statement.clone()], statement.as_bytes());
            prop_assert_eq!(&body[query.variables.clone()], &bytes);
            prop_assert_eq!(session(&body, &query), told);
            // Cut in front of the statement it is an error, wherever
            let front = body.len() - statement.len();
            prop_assert!(parse_with(&body[..cut.index(front)], FIXED + more.len()).is_err());
        }
    }

    #[test]
    fn the_ends_of_transactions_are_told_from_savepoints() {
        assert_eq!(of("BEGIN"), Meaning::Begin);
        assert_eq!(of("start transaction"), Meaning::Begin);
        assert_eq!(of("START SLAVE"), Meaning::Schema);
        assert_eq!(of("COMMIT /* x */"), Meaning::Commit);
        assert_eq!(of("ROLLBACK"), Meaning::Rollback);
        assert_eq!(of("ROLLBACK TO `a b`"), Meaning::RollbackTo(b"`a b`"));
        assert_eq!(of("rollback work to savepoint a"), Meaning::RollbackTo(b"a"));
        assert_eq!(of("ROLLBACK TO savepoint"), Meaning::RollbackTo(b"savepoint"));
        assert_eq!(of("SAVEPOINT `a`"), Meaning::Savepoint(b"`a`"));
        assert_eq!(of("RELEASE SAVEPOINT `a`"), Meaning::Release);
    }

    #[test]
    fn each_word_of_xa_is_told() {
        let xid = || Xid::parse(b"X'61',X'',1").expect("an identifier");
        for (words, expected) in [
            ("XA START X'61',X'',1", Meaning::XaStart(xid())),
            ("xa begin X'61',X'',1", Meaning::XaStart(xid())),
            ("XA END X'61',X'',1", Meaning::XaEnd(xid())),
            ("XA PREPARE X'61',X'',1", Meaning::XaPrepare(xid())),
            ("XA COMMIT X'61',X'',1", Meaning::XaCommit(xid())),
            ("XA COMMIT X'61',X'',1 ONE PHASE", Meaning::XaCommit(xid())),
            ("XA ROLLBACK X'61',X'',1", Meaning::XaRollback(xid())),
            ("XA RECOVER", Meaning::Schema),
        ] {
            assert_eq!(of(words), expected, "{words}");
        }
    }

    #[test]
    fn each_word_that_changes_rows_is_told_and_others_are_schema() {
        for word in CHANGES {
            assert_eq!(of(&format!("{word} x")), Meaning::Change(word), "{word}");
            assert_eq!(of(&format!("{}\tx", word.to_lowercase())), Meaning::Change(word), "{word}");
            assert_eq!(of(&format!("{word}S x")), Meaning::Schema, "{word}");
        }
        for (statement, is_change) in [
            ("DELETE FROM t/* generated by server */", false),
            ("DELETE FROM t /* generated by server */ ", false),
            ("DELETE t FROM t /* generated by server */", true),
            ("DELETE FROM /* generated by server */", true),
            ("INSERT t /* generated by server */", true),
            ("CREATE TABLE a (b INT) TABLE c", true),
            ("CREATE TABLE a VALUES ROW(1)", true),
            ("CREATE TABLE a (b INT)", false),
            ("CREATE VIEW a AS SELECT 1", false),
            ("{x", false),
            ("(", true),
        ] {
            assert_eq!(matches!(of(statement), Meaning::Change(_)), is_change, "{statement}");
        }
        assert_eq!(of("ROLLBACK WORK"), Meaning::Rollback);
        assert_eq!(of("ROLLBACK TO a"), Meaning::RollbackTo(b"a"));
        assert_eq!(of("ROLLBACK WORK TO a"), Meaning::RollbackTo(b"a"));
        assert_eq!(of("/*M!100301 COMMIT */"), Meaning::Commit);
        assert_eq!(of("COMMIT AND CHAIN"), Meaning::Commit);
    }

    #[test]
    fn statements_that_change_rows_are_found_behind_comments() {
        assert_eq!(of("/* a */ -- b\n# c\n insert into t values (1)"), Meaning::Change("INSERT"));
        assert_eq!(of("(SELECT f())"), Meaning::Change("SELECT"));
        assert_eq!(of("WITH a AS (SELECT 1) DELETE FROM t"), Meaning::Change("WITH"));
        assert_eq!(of("/*!40000 UPDATE t SET a=1 */"), Meaning::Change("UPDATE"));
        assert_eq!(of("SET STATEMENT a=1 FOR INSERT INTO t VALUES (1)"), Meaning::Change("INSERT"));
        let latin1 = b"SET STATEMENT a='\xe4' FOR INSERT INTO t VALUES ('\xf6')";
        assert_eq!(
            meaning(latin1, Session::default).expect("a meaning"),
            Meaning::Change("INSERT")
        );
    }

    /// What the session says of backslashes and characters decides where a text ends.
    #[test]
    fn no_text_hides_the_rows_behind_it() {
        const CP932_JAPANESE_CI: u16 = 95;
        const GBK_CHINESE_CI: u16 = 28;
        const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
        let plain = Session { sql_mode: NO_BACKSLASH_ESCAPES, ..Session::default() };
        let cp932 = Session { collation: CP932_JAPANESE_CI, ..Session::default() };
        let gbk = Session { collation: GBK_CHINESE_CI, ..Session::default() };
        // The last is two bytes of which GBK makes a character that it does not know.
        for (text, session) in
            [(&b"x\\"[..], plain), (b"\x95\x5c", cp932), (b"\xe6\x97\xa5\x5c", gbk)]
        {
            for (front, back, words) in [
                (&b"CREATE TABLE t (a INT) COMMENT '"[..], &b"' SELECT 1"[..], MADE_WITH_ROWS),
                (b"SET STATEMENT a='", b"' FOR INSERT INTO t VALUES (1)", "INSERT"),
                (b"SET STATEMENT a='", b"' FOR CREATE TABLE t SELECT 1", MADE_WITH_ROWS),
            ] {
                let statement = [front, text, back].concat();
                let found = meaning(&statement, || session.clone()).expect("a meaning");
                assert_eq!(found, Meaning::Change(words), "{statement:?}");
            }
        }
    }

    #[test]
    fn ddl_and_what_the_server_does_itself_are_schema() {
        assert_eq!(of("CREATE TABLE t (a INT)"), Meaning::Schema);
        assert_eq!(of("TRUNCATE TABLE t"), Meaning::Schema);
        assert_eq!(of("DROP TABLE `insert`"), Meaning::Schema);
        assert_eq!(of("DELETE FROM `d`.`t` /* generated by server */"), Meaning::Schema);
        assert_eq!(of(""), Meaning::Schema);
        assert_eq!(of("/* unclosed"), Meaning::Schema);
        for change in [
            "INSERT INTO t VALUES (30,1) /* generated by server */",
            "DELETE FROM d.t WHERE a = 1 /* generated by server */",
            "DELETE FROM t /* generated by server */ LIMIT 1",
            "CREATE TABLE ctas SELECT * FROM t",
            "create table if not exists d.t (a INT) as (select 1)",
        ] {
            assert!(matches!(of(change), Meaning::Change(_)), "{change}");
        }
        assert_eq!(of("CREATE TEMPORARY TABLE t SELECT 1"), Meaning::Schema);
        assert_eq!(of("CREATE TABLE t (a INT) START TRANSACTION"), Meaning::Schema);
    }
}
