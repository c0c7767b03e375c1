//! A function of AWS Lambda, whose event source mapping has `FunctionResponseTypes: [ReportBatchItemFailures]`. It keeps
//! a copy of tables, each row applied once: a message whose rows are early fails, and comes again.
//!
//! Here it takes one event from standard input, and prints its answer:
//! `MYSQL_URL=mysql://root@127.0.0.1:3306 cargo run --example lambda < event.json`. In AWS the crate `lambda_runtime` calls
//! [`handler`].

#[path = "support/copy.rs"]
pub(crate) mod copy;

use binpulse_client::{LambdaResponse, Message, Record, lambda};
use copy::{Copy, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut copy = Copy::open(&std::env::var("MYSQL_URL")?).await?;
    let event = std::io::read_to_string(std::io::stdin())?;
    let response = handler(&mut copy, &event).await?;
    println!("{}", serde_json::to_string(&response)?);
    Ok(copy.db.disconnect().await?)
}

pub(crate) async fn handler(copy: &mut Copy, event: &str) -> Result<LambdaResponse, Error> {
    let mut response = LambdaResponse::default();
    for Record { id, message } in lambda(event)? {
        match take(copy, message.map_err(Error::from)).await {
            Ok(true) => {}
            Ok(false) => response.failed(id), // rows before it have not come
            Err(error) => {
                eprintln!("{id}: {error}");
                response.failed(id);
            }
        }
    }
    Ok(response)
}

async fn take(copy: &mut Copy, message: Result<Message<'_>, Error>) -> Result<bool, Error> {
    copy.take(&message?.decode()?).await
}
