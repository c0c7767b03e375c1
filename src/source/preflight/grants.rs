//! What an account may, read from SHOW GRANTS. Pure.

use std::collections::BTreeSet;

/// Global privileges of an account, upper case; those on single schemas are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    global: BTreeSet<String>,
    all: bool,
}

impl Grants {
    /// Reads the lines of SHOW GRANTS.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Self::default();
        for line in lines {
            let upper = line.trim().to_ascii_uppercase();
            let Some(rest) = upper.strip_prefix("GRANT ") else { continue };
            let Some((privileges, _)) = rest.split_once(" ON *.* TO ") else { continue };
            for privilege in privileges.split(',') {
                let privilege = privilege.trim();
                if matches!(privilege, "ALL" | "ALL PRIVILEGES") {
                    grants.all = true;
                }
                grants.global.insert(privilege.to_owned());
            }
        }
        // A partial revoke (`REVOKE ... ON schema.*`) never touches what a replica needs.
        grants
    }

    /// Whether the account has the global privilege, named as MySQL names it, upper case.
    ///
    /// MariaDB's `BINLOG MONITOR` counts as `REPLICATION CLIENT`, of which it is the new name.
    pub fn has(&self, privilege: &str) -> bool {
        let alias = match privilege {
            "REPLICATION CLIENT" => "BINLOG MONITOR",
            "REPLICATION SLAVE" => "REPLICATION REPLICA",
            other => other,
        };
        self.all || self.global.contains(privilege) || self.global.contains(alias)
    }
}

#[cfg(test)]
mod tests {
    use super::Grants;

    #[test]
    fn global_privileges_are_read_and_others_left_out() {
        let grants = Grants::parse([
            "GRANT SELECT, REPLICATION SLAVE ON *.* TO `binpulse`@`%`",
            "GRANT CONNECTION_ADMIN,PERSIST_RO_VARIABLES_ADMIN ON *.* TO `binpulse`@`%`",
            "GRANT SELECT, REPLICATION CLIENT ON `shop`.* TO `binpulse`@`%`",
            "GRANT `role`@`%` TO `binpulse`@`%`",
        ]);
        assert!(grants.has("REPLICATION SLAVE") && grants.has("CONNECTION_ADMIN"));
        assert!(!grants.has("REPLICATION CLIENT") && !grants.has("SUPER"));
    }

    #[test]
    fn all_privileges_are_all_and_mariadbs_names_count() {
        let line = "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION";
        assert!(Grants::parse([line]).has("REPLICATION SLAVE"));
        let line = "GRANT BINLOG MONITOR ON *.* TO `m`@`%` IDENTIFIED BY PASSWORD '*0'";
        assert!(Grants::parse([line]).has("REPLICATION CLIENT"));
        let line = "  GRANT REPLICATION CLIENT ON *.* TO `m`@`%`\r\n";
        assert!(Grants::parse([line]).has("REPLICATION CLIENT"));
        assert!(!Grants::parse(["GRANT USAGE ON *.* TO `u`@`%`"]).has("SELECT"));
    }
}
