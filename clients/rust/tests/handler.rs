//! The example of a Lambda handler answers as the conformance suite says. BINPULSE_TEST_MYSQL names a server.

#[path = "../examples/lambda.rs"]
#[allow(dead_code, reason = "its main")]
mod example;

use example::copy::{Copy, Error};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

#[tokio::test]
async fn the_handler_tells_which_messages_failed() -> Result<(), Error> {
    let Ok(address) = std::env::var("BINPULSE_TEST_MYSQL") else {
        println!("SKIPPED: no server, BINPULSE_TEST_MYSQL is not set");
        return Ok(());
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/handler.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    for case in &cases {
        let mut session = mysql_async::Conn::new(mysql_async::Opts::from_url(&format!(
            "mysql://root@{address}"
        ))?)
        .await?;
        for statement in case["statements"].as_array().into_iter().flatten() {
            session.query_drop(statement.as_str().expect("a statement")).await?;
        }
        let mut copy = Copy::open(&format!("mysql://root@{address}")).await?;
        for step in case["steps"].as_array().into_iter().flatten() {
            let response = example::handler(&mut copy, &step["event"].to_string()).await?;
            let failures = step["failures"].as_array().into_iter().flatten();
            let failures: Vec<Value> = failures.map(|id| json!({"itemIdentifier": id})).collect();
            assert_eq!(json!(response), json!({"batchItemFailures": failures}));
        }
        let rows: Vec<(String, String)> =
            session.query(case["select"].as_str().expect("a query")).await?;
        assert_eq!(json!(rows), case["rows"]);
    }
    Ok(())
}
