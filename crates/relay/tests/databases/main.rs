//! State and copies against real servers: MySQL, MariaDB, PostgreSQL and Redis, as `make deps` fetched
//! them. A server that is not there is named on standard error, as skipped.

mod servers;
mod state;
