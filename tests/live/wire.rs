//! Whatever happens between the server and the streamer: nothing is lost, nothing is invented.

use std::time::Duration;

use binpulse_demo::{Options, Workload};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::support::proxy::{Fault, Proxy, Way, Which};

tests! {
    a_connection_that_breaks_anywhere_loses_nothing on [Mysql97, Mysql80, Mariadb1011];
    a_half_open_connection_is_noticed_and_loses_nothing on [Mysql97];
    a_black_hole_is_noticed_and_loses_nothing on [Mysql97];
    a_corrupt_byte_is_never_delivered on [Mysql97, Mariadb1011];
    a_slow_wire_is_no_reason_to_dial_again on [Mysql97];
}

/// A shop that is streamed through a proxy.
struct Line {
    rig: Rig,
    proxy: Proxy,
    shop: Workload,
}

impl Line {
    async fn start(bed: &Bed) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mysqld = bed.mysqld(Options::default()).await?;
        let proxy = Proxy::start(mysqld.address().parse()?).await?;
        // Without TLS, so that the proxy can tell the connections apart.
        let settings = [
            ("source.hosts", proxy.address().to_string()),
            ("source.tls", "off".to_owned()),
            ("source.get_server_public_key", "true".to_owned()),
        ];
        let rig = Rig::start(bed, mysqld, Topic::Standard, &settings).await?;
        let mut shop = Workload::open(rig.mysqld.connect().await?, 21).await?;
        shop.stock().await?;
        Ok(Self { rig, proxy, shop })
    }

    async fn do_business(&mut self) -> Outcome {
        for _ in 0..20 {
            self.shop.step().await?;
        }
        self.shop.take_stock(1_000).await?;
        Ok(())
    }

    /// Does business, and waits until all of it has been received, each row once by number.
    async fn all_arrives(&mut self) -> Outcome {
        self.do_business().await?;
        self.rig.receive_all(self.shop.written()).await?;
        assert!(self.rig.consumer.gaps().is_empty(), "{:?}", self.rig.consumer.gaps());
        Ok(())
    }

    /// Waits until a connection more than these has been made.
    async fn until_dialled_again(&mut self, connections: u64) -> Outcome {
        let give_up = Instant::now() + SOON;
        while self.proxy.connections() <= connections {
            self.rig.streamer.must_run()?;
            if Instant::now() > give_up {
                return Err("the streamer does not dial again".into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

async fn a_connection_that_breaks_anywhere_loses_nothing(bed: Bed) -> Outcome {
    let mut line = Line::start(&bed).await?;
    line.all_arrives().await?;
    line.proxy.reset(Which::Dump);
    line.all_arrives().await?;
    line.proxy.reset(Which::All);
    line.all_arrives().await?;
    // In a header, in the middle of an event, between events: wherever it falls
    for bytes in [1, 3, 4, 24, 1_000, 7_777, 20_011] {
        line.proxy.put(Way::ToClient, Which::Dump, Fault::CutAfter(bytes));
        line.all_arrives().await?;
    }
    Ok(())
}

async fn a_half_open_connection_is_noticed_and_loses_nothing(bed: Bed) -> Outcome {
    let mut line = Line::start(&bed).await?;
    line.all_arrives().await?;
    line.proxy.half_open(Which::Dump);
    line.all_arrives().await
}

async fn a_black_hole_is_noticed_and_loses_nothing(bed: Bed) -> Outcome {
    let mut line = Line::start(&bed).await?;
    line.all_arrives().await?;
    for ways in [vec![Way::ToClient], vec![Way::ToClient, Way::ToServer]] {
        let connections = line.proxy.connections();
        for way in &ways {
            line.proxy.put(*way, Which::All, Fault::Hold);
        }
        line.do_business().await?;
        line.until_dialled_again(connections).await?;
        line.proxy.heal();
        line.all_arrives().await?;
    }
    Ok(())
}

async fn a_corrupt_byte_is_never_delivered(bed: Bed) -> Outcome {
    let mut line = Line::start(&bed).await?;
    line.all_arrives().await?;
    // The rows that arrive are counted by table and kind; a wrong one would not be made up for.
    for bytes in [30, 500, 5_000, 12_345] {
        let dumps = line.proxy.dumps();
        line.proxy.put(Way::ToClient, Which::Dump, Fault::CorruptAfter(bytes));
        line.all_arrives().await?;
        assert!(line.proxy.dumps() > dumps, "noticed after {bytes} bytes");
    }
    Ok(())
}

async fn a_slow_wire_is_no_reason_to_dial_again(bed: Bed) -> Outcome {
    let mut line = Line::start(&bed).await?;
    line.all_arrives().await?;
    let dumps = line.proxy.dumps();
    line.proxy.put(Way::ToClient, Which::Dump, Fault::Trickle(Duration::from_micros(50)));
    for _ in 0..5 {
        line.shop.step().await?;
    }
    line.rig.receive_all(line.shop.written()).await?;
    line.proxy.heal();
    assert_eq!(line.proxy.dumps(), dumps);
    Ok(())
}
