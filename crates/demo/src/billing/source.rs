//! The source: a private MySQL with one table of charges.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::super::workload::Random;
use super::super::{Error, Installed, Mysqld, Options, prepare};
use super::Billing;

/// Charges in one transaction, at most.
const ROWS_MAX: u64 = 60;
const CENTS_MAX: u64 = 100_000;

pub(super) struct Source {
    pub(super) mysqld: Mysqld,
    session: Conn,
    random: Random,
    written: u64,
}

impl Source {
    pub(super) async fn start(installed: &Installed, billing: &Billing) -> Result<Self, Error> {
        let mysqld = Mysqld::start(installed.server()?, Options::default()).await?;
        prepare(&mysqld, &billing.binary).await?;
        mysqld
            .execute(&[
                "CREATE DATABASE billing",
                "CREATE TABLE billing.charges (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)",
            ])
            .await?;
        let session = mysqld.connect().await?;
        Ok(Self { mysqld, session, random: Random::new(billing.seed), written: 0 })
    }

    /// Writes charges until there are so many, in transactions of a few.
    pub(super) async fn write_up_to(&mut self, charges: u64) -> Result<(), Error> {
        while self.written < charges {
            let rows = (1 + self.random.below(ROWS_MAX)).min(charges - self.written);
            let values: Vec<_> = (1..=rows)
                .map(|at| format!("({}, {})", self.written + at, 1 + self.random.below(CENTS_MAX)))
                .collect();
            let insert = format!("INSERT INTO billing.charges VALUES {}", values.join(", "));
            self.session.query_drop(insert).await?;
            self.written += rows;
        }
        Ok(())
    }

    /// How many charges it has, and their sum.
    pub(super) async fn sums(&mut self) -> Result<(u64, u64), Error> {
        let query =
            "SELECT COUNT(*), CAST(COALESCE(SUM(cents), 0) AS UNSIGNED) FROM billing.charges";
        Ok(self.session.query_first(query).await?.unwrap_or_default())
    }
}
