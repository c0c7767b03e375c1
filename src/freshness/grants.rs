//! Reads what `SHOW GRANTS` prints. Pure.

/// Privileges that let an account write on a read-only server. A heartbeat written by it would
/// certify a demoted primary as live. MySQL: SUPER, CONNECTION_ADMIN; MariaDB: SUPER, READ ONLY
/// ADMIN. ALL PRIVILEGES contains them.
const EXEMPT: [&str; 4] = ["SUPER", "CONNECTION_ADMIN", "READ ONLY ADMIN", "READ_ONLY ADMIN"];

/// The global privileges of one line of `SHOW GRANTS`, upper case; nothing for a line that grants
/// on less than everything.
pub fn read_grants(line: &str) -> Vec<String> {
    let line = line.trim();
    let Some(rest) = strip_word(line, "GRANT ") else { return Vec::new() };
    // Privileges on all schemas, and no schema's: a backtick would stand before the star.
    let upper = rest.to_ascii_uppercase();
    let Some(end) = upper.find(" ON *.* TO ") else { return Vec::new() };
    upper.get(..end).unwrap_or_default().split(',').map(|word| word.trim().to_owned()).collect()
}

/// Those of the account's privileges that make its writes prove nothing.
pub fn exempt_privileges<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = lines
        .into_iter()
        .flat_map(read_grants)
        .filter(|privilege| {
            EXEMPT.contains(&privilege.as_str())
                || privilege == "ALL"
                || privilege == "ALL PRIVILEGES"
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| text.get(word.len()..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::exempt_privileges;

    #[test]
    fn accounts_that_may_write_on_a_read_only_server_are_found() {
        for (line, expected) in [
            ("GRANT SELECT, SUPER ON *.* TO `a`@`%`", vec!["SUPER"]),
            (
                "GRANT BACKUP_ADMIN,CONNECTION_ADMIN ON *.* TO `a`@`%` WITH GRANT OPTION",
                vec!["CONNECTION_ADMIN"],
            ),
            (
                "GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' IDENTIFIED BY PASSWORD '*A' WITH GRANT OPTION",
                vec!["ALL PRIVILEGES"],
            ),
            ("GRANT READ ONLY ADMIN, RELOAD ON *.* TO `a`@`%`", vec!["READ ONLY ADMIN"]),
            ("GRANT USAGE ON *.* TO `a`@`%`", vec![]),
            ("GRANT ALL PRIVILEGES ON `binpulse`.* TO `a`@`%`", vec![]),
            ("GRANT `super`@`%` TO `a`@`%`", vec![]),
            ("GRANT SELECT ON `x ON *.* TO y`.* TO `a`@`%`", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(exempt_privileges([line]), expected, "{line}");
        }
    }
}
