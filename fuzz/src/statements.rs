//! Texts of statements.

use binpulse::sql::{Mode, creates_with_rows, defined, may_carry_passwords, subjects, written};

/// The first byte holds the bits of `sql_mode`, the rest is the text.
pub fn statement(input: &[u8]) -> u64 {
    let Some((bits, text)) = input.split_first() else { return 0 };
    let text = String::from_utf8_lossy(text);
    let mode = Mode { ansi_quotes: bits & 1 != 0, plain_backslash: bits & 2 != 0 };
    let _ignored = (subjects(&text), defined(&text), creates_with_rows(&text, mode));
    let _ignored = may_carry_passwords(&text, mode);
    let Ok(found) = written(&text, mode) else { return 0 };
    assert!(!found.tables.is_empty(), "no table, and no error");
    for (database, table) in &found.tables {
        for name in database.iter().chain([table]) {
            // A quote in a name is doubled in the text.
            let written = [name.clone(), name.replace('`', "``"), name.replace('"', "\"\"")];
            assert!(written.iter().any(|name| text.contains(name)), "not in the text: {name:?}");
        }
    }
    found.tables.len() as u64
}
