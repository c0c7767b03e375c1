//! Reads row events with the crate mysql_async's binlog stream and row API; see ../../README.md for
//! how it is called.

use std::error::Error;
use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use mysql_async::binlog::events::EventData;
use mysql_async::binlog::value::BinlogValue;
use mysql_async::{BinlogStreamRequest, Conn, OptsBuilder, Value};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(read(&words))?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn read(words: &[String]) -> Outcome<String> {
    let [host, port, file, position, wanted, seconds, mode @ ..] = words else {
        return Err("usage: HOST PORT FILE POSITION ROWS SECONDS [ages]".into());
    };
    let (wanted, seconds): (u64, f64) = (wanted.parse()?, seconds.parse()?);
    let has_ages = mode.first().is_some_and(|mode| mode == "ages");
    let options =
        OptsBuilder::default().ip_or_hostname(host).tcp_port(port.parse()?).user(Some("root"));
    let session = Conn::new(options).await?;
    let request = BinlogStreamRequest::new(4_000_000_013)
        .with_filename(file.as_bytes())
        .with_pos(position.parse()?);
    let mut stream = session.get_binlog_stream(request).await?;
    let (mut rows, mut until, mut ages_us) = (0, None, Vec::new());
    while let Some(event) = stream.next().await {
        let event = event?;
        let Some(EventData::RowsEvent(data)) = event.read_data()? else { continue };
        let Some(map) = stream.get_tme(data.table_id()) else { continue };
        let until = *until.get_or_insert_with(|| {
            println!("reading");
            Instant::now() + Duration::from_secs_f64(seconds)
        });
        for row in data.rows(map) {
            let (_, after) = std::hint::black_box(row?);
            if !has_ages {
                rows += 1;
            } else if let Some(BinlogValue::Value(Value::Int(due_us @ 1..))) =
                after.as_ref().and_then(|row| row.as_ref(1))
            {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                ages_us.push(i64::try_from(now.as_micros())? - due_us);
                rows += 1;
            }
        }
        if rows >= wanted || Instant::now() >= until {
            break;
        }
    }
    // Numbers print as JSON does.
    Ok(format!(
        "{{\"reader\": \"mysql_async 0.37.1, its rows\", \"rows\": {rows}, \"ages_us\": {ages_us:?}}}"
    ))
}
