//! What operators do with a relay: check it before it starts, and move a dead letter queue back.

use binpulse_demo::{Consumer, Folder, Options, Standin};
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::bed::{Bed, Rig, SOON, Topic, command};
use crate::suite::{Outcome, tests};

tests! {
    a_dead_letter_queue_is_moved_back_to_the_queue_of_the_relay on [Mysql97];
    a_relay_is_checked_before_it_starts on [Mysql97];
}

async fn a_dead_letter_queue_is_moved_back_to_the_queue_of_the_relay(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Fifo, &[]).await?;
    let name = bed.topic_name();
    // One gets what the other would have: as if SQS had moved all of it.
    let dead = rig.aws.subscribe_queue(&rig.topic_arn, &format!("{name}-dead.fifo"), &[]).await?;
    let queue =
        rig.aws.subscribe_queue(&rig.topic_arn, &format!("{name}-r.fifo"), &["none"]).await?;
    let mut connection = rig.mysqld.connect().await?;
    connection.query_drop("CREATE DATABASE paid").await?;
    connection.query_drop("CREATE TABLE paid.charges (id INT PRIMARY KEY, amount INT)").await?;
    for id in 0..30 {
        connection.query_drop(format!("INSERT INTO paid.charges VALUES ({id}, 0)")).await?;
        connection.query_drop("UPDATE paid.charges SET amount = amount + 1 WHERE id < 3").await?;
    }
    let rows = 30 + 87;
    rig.receive_some(rows).await?;

    let redrive = |from: &str| {
        let mut redrive = command("relay", Vec::new());
        let arguments = [
            "redrive",
            "--from",
            from,
            "--rate",
            "500",
            "--relay-queue",
            &queue,
            "--sns-endpoint-url",
            &rig.endpoint_url,
            "--sns-region",
            Standin::REGION,
        ];
        redrive.arguments = arguments.map(String::from).to_vec();
        redrive
    };
    let (code, output) = redrive(&dead).run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("about 0 are left"), "{output}");
    let mut relayed = Consumer::new(rig.aws.clone(), queue.clone());
    let give_up = Instant::now() + SOON;
    while relayed.received().total() < rows && Instant::now() < give_up {
        relayed.receive(&mut |_, _| ()).await?;
    }
    assert_eq!(relayed.received(), rig.consumer.received());
    assert_eq!((relayed.duplicates(), relayed.gaps().len()), (0, 0));
    // There is nothing more, and the relay's own queue is refused.
    let (code, output) = redrive(&dead).run_to_end(SOON).await?;
    assert!(code == Some(0) && output.contains("0 messages moved"), "{output}");
    let (code, output) = redrive(&queue).run_to_end(SOON).await?;
    assert!(code == Some(64) && output.contains("relay.queue itself"), "{output}");
    Ok(())
}

async fn a_relay_is_checked_before_it_starts(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let name = bed.topic_name();
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &format!("{name}-all"), &[]).await?;
    let canaries =
        rig.aws.subscribe_queue(&rig.topic_arn, &format!("{name}-few"), &["canary"]).await?;
    let folder = Folder::create()?;
    let check = async |queue: &str, more: &[(&'static str, &str)]| {
        let mut settings = vec![
            ("relay.queue", queue.to_owned()),
            ("relay.state", format!("file:{}", folder.path().join("state").display())),
            ("relay.to.kind", String::from("webhook")),
            ("relay.to.url", String::from("https://127.0.0.1/hook?token=secret")),
            ("relay.to.secret", String::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            ("relay.egress.allow", String::from("127.0.0.0/8")),
            ("relay.streamer_url", format!("http://{}", rig.streamer.address())),
            ("relay.listen", String::from("127.0.0.1:0")),
            ("sns.endpoint_url", rig.endpoint_url.clone()),
            ("sns.region", Standin::REGION.to_owned()),
        ];
        settings.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
        settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let mut command = command("relay", settings);
        command.arguments = ["--check", "--topic", &rig.topic_arn].map(String::from).to_vec();
        command.run_to_end(SOON).await
    };
    let (code, output) = check(&queue, &[]).await?;
    assert_eq!(code, Some(0), "{output}");
    for found in ["0 lanes, 0 parked", "127.0.0.1:443", "admits what the settings need"] {
        assert!(output.contains(found), "{found}: {output}");
    }
    assert!(!output.contains("token=secret"), "{output}");
    // Each is named with its fix, and decides about the exit code.
    let (code, output) = check(&canaries, &[]).await?;
    assert!(code == Some(1) && output.contains("kind change do not pass"), "{output}");
    let (code, output) = check(&format!("{queue}-none"), &[]).await?;
    assert!(code == Some(1) && output.contains("GetQueueAttributes"), "{output}");
    let (code, output) = check(&queue, &[("relay.egress.allow", "10.0.0.0/8")]).await?;
    assert!(code == Some(1) && output.contains("relay.egress.allow"), "{output}");
    // Only a warning: rows flow without it.
    let (code, output) = check(&queue, &[("relay.streamer_url", "http://127.0.0.1:1")]).await?;
    assert!(code == Some(0) && output.contains("127.0.0.1:1"), "{output}");
    Ok(())
}
