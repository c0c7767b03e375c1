//! Statements that must not leave. Pure.

/// Whether a statement is about accounts: those carry password hashes, and are no schema change.
/// Servers log them in their own words, without comments in front.
pub(super) fn is_of_accounts(statement: &[u8]) -> bool {
    let words = statement
        .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .filter(|word| !word.is_empty());
    let words: Vec<String> =
        words.take(4).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["GRANT" | "REVOKE", ..] | ["SET", "PASSWORD" | "DEFAULT" | "ROLE", ..] => true,
        ["CREATE" | "ALTER" | "DROP" | "RENAME", object, rest @ ..] => {
            let is_account = |word: &str| matches!(word, "USER" | "ROLE");
            is_account(object) || *object == "OR" && rest.iter().any(|word| is_account(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_accounts;

    #[test]
    fn statements_with_password_hashes_are_known_for_what_they_are() {
        for statement in [
            "CREATE USER 'a'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$...'",
            "create or replace user a identified by password '*AB'",
            "ALTER USER IF EXISTS a IDENTIFIED WITH mysql_native_password AS '*AB'",
            "GRANT SELECT ON *.* TO a IDENTIFIED BY PASSWORD '*AB'",
            "SET PASSWORD FOR a = '*AB'",
            "DROP ROLE r",
            "REVOKE ALL ON *.* FROM a",
        ] {
            assert!(is_of_accounts(statement.as_bytes()), "{statement}");
        }
        for statement in [
            "CREATE TABLE user (id INT)",
            "ALTER TABLE users ADD password TEXT",
            "CREATE OR REPLACE VIEW user_roles AS SELECT 1",
            "DROP DATABASE d",
            "",
        ] {
            assert!(!is_of_accounts(statement.as_bytes()), "{statement}");
        }
    }
}
