//! Reads row events with the crate mysql_async's binlog stream and row API, and counts their rows.
//!
//! usage: peer-mysql-async HOST PORT ROWS

use std::error::Error;

use futures_util::StreamExt;
use mysql_async::binlog::events::EventData;
use mysql_async::{BinlogStreamRequest, Conn, OptsBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, wanted] = words.as_slice() else {
        return Err("usage: peer-mysql-async HOST PORT ROWS".into());
    };
    let (port, wanted) = (port.parse()?, wanted.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(read(host, port, wanted))?);
    Ok(())
}

async fn read(host: &str, port: u16, wanted: u64) -> Result<u64, Box<dyn Error>> {
    let options = OptsBuilder::default().ip_or_hostname(host).tcp_port(port).user(Some("root"));
    let session = Conn::new(options).await?;
    let request =
        BinlogStreamRequest::new(4_000_000_013).with_filename(b"binlog.000001").with_pos(4);
    let mut stream = session.get_binlog_stream(request).await?;
    let mut rows = 0;
    while let Some(event) = stream.next().await {
        let event = event?;
        let Some(EventData::RowsEvent(data)) = event.read_data()? else { continue };
        let Some(map) = stream.get_tme(data.table_id()) else { continue };
        for row in data.rows(map) {
            std::hint::black_box(row?);
            rows += 1;
        }
        if rows >= wanted {
            return Ok(rows);
        }
    }
    Ok(rows)
}
