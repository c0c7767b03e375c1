//! What a statement's text tells: which tables it is about, which it changes, and whether it may carry
//! a password. Pure; knows nothing of who asks.
//!
//! Not a parser of SQL: it reads as much of a statement as the question needs, and says so where it
//! does not understand the text.

mod accounts;
mod functions;
mod lexer;
mod subjects;
mod written;

pub use accounts::may_carry_passwords;
pub use lexer::{Mode, Token, Tokens};
pub use subjects::{Object, Subjects, defined, renamed, subjects};
pub use written::{Unread, Written, creates_with_rows, written};

/// A table's name in a statement: database, if named, and name.
pub type Name = (Option<String>, String);

/// What stands behind `SET STATEMENT variable = value, ... FOR`, which MariaDB logs together with the
/// statement that it is for; all of any other statement.
pub fn behind_settings(statement: &str, mode: Mode) -> &str {
    let mut rest = statement;
    loop {
        let mut tokens = Tokens::new(rest, mode);
        if !(tokens.skip_one(&["SET"]) && tokens.skip_one(&["STATEMENT"])) {
            return rest;
        }
        loop {
            match tokens.next() {
                Some(token) if token.is_word("FOR") => break,
                Some(_) => {}
                None => return rest,
            }
        }
        rest = tokens.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_for_one_statement_do_not_hide_it() {
        for (statement, expected) in [
            ("set statement a=1, b = 'it''s for \\' you' for DROP x", "DROP x"),
            ("SET STATEMENT x1for=2/* for */,`for`=3 FOR/**/DROP y", "/**/DROP y"),
            ("SET STATEMENT a=1 FOR set statement b=2 for DROP z", "DROP z"),
            ("SET x = 1", "SET x = 1"),
            ("SET STATEMENT a = 1", "SET STATEMENT a = 1"),
            ("SET STATEMENT a = 'b FOR DROP", "SET STATEMENT a = 'b FOR DROP"),
            ("set", "set"),
            ("", ""),
        ] {
            assert_eq!(behind_settings(statement, Mode::default()).trim_start(), expected);
        }
    }
}
