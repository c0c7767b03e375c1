//! What is written arrives.

use binpulse_demo::{Options, Workload};

use crate::bed::{Bed, Rig, Topic};
use crate::suite::{Outcome, tests};

tests! {
    rows_written_arrive_on_a_standard_topic on [Mysql97, Mysql80, Mariadb1011, Mariadb118];
    rows_written_arrive_on_a_fifo_topic on [Mysql97];
    rows_written_arrive_from_a_server_without_gtids on [Mysql80];
}

async fn rows_written_arrive_on_a_standard_topic(bed: Bed) -> Outcome {
    shop_arrives(&bed, Topic::Standard, Options::default()).await
}

async fn rows_written_arrive_on_a_fifo_topic(bed: Bed) -> Outcome {
    shop_arrives(&bed, Topic::Fifo, Options::default()).await
}

async fn rows_written_arrive_from_a_server_without_gtids(bed: Bed) -> Outcome {
    shop_arrives(&bed, Topic::Standard, Options { gtid: false, ..Options::default() }).await
}

async fn shop_arrives(bed: &Bed, topic: Topic, options: Options) -> Outcome {
    // Given a stream
    let mysqld = bed.mysqld(options).await?;
    let mut rig = Rig::start(bed, mysqld, topic, &[]).await?;

    // When a shop does business, changes a table, and takes stock in one big transaction
    let mut shop = Workload::open(rig.mysqld.connect().await?, 1).await?;
    shop.stock().await?;
    for step in 0..120 {
        shop.step().await?;
        if step == 60 {
            shop.alter().await?;
            shop.take_stock(20_000).await?;
        }
    }

    // Then every row arrives, once by number, none is missing between, and the ALTER is told
    rig.receive_all(shop.written()).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    assert!(rig.consumer.statements() > 0);
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());
    Ok(())
}
