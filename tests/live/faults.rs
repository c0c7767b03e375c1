//! The proxy breaks connections in the ways that it says.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::bed::Bed;
use crate::suite::{Outcome, tests};
use crate::support::proxy::{Fault, Proxy, Way, Which};

const A_WHILE: Duration = Duration::from_millis(150);

tests! {
    a_held_flow_delivers_nothing_and_later_everything on [];
    a_byte_is_corrupted_where_it_was_asked_for on [];
    a_connection_is_cut_after_so_many_bytes on [];
    a_reset_is_seen_as_an_error_and_a_half_open_connection_not_at_all on [];
    a_fault_on_dumps_leaves_other_connections_alone on [];
    slow_flows_are_slow_and_a_moved_target_gets_new_connections on [];
    a_transaction_is_taken_out_so_that_the_packets_do_not_tell on [];
}

/// A server that sends back what it gets, with `prefix` first.
async fn echo(prefix: &'static [u8]) -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                write.write_all(prefix).await?;
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok(address)
}

async fn exchange(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    socket.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    socket.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn a_held_flow_delivers_nothing_and_later_everything(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(exchange(&mut socket, b"before").await?, b"before");
    for way in [Way::ToClient, Way::ToServer] {
        proxy.put(way, Which::All, Fault::Hold);
        timeout(A_WHILE, exchange(&mut socket, b"held")).await.expect_err("nothing comes");
        proxy.heal();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"held");
    }
    // It counts what it has passed on, maybe after that was read here.
    timeout(Duration::from_secs(10), async {
        while proxy.bytes_to_client() < 14 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    assert_eq!((proxy.bytes_to_client(), proxy.connections()), (14, 1));
    Ok(())
}

async fn a_byte_is_corrupted_where_it_was_asked_for(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    proxy.put(Way::ToClient, Which::All, Fault::CorruptAfter(5));
    assert_eq!(exchange(&mut socket, &[0; 4]).await?, [0; 4]);
    assert_eq!(exchange(&mut socket, &[0; 4]).await?, [0, 0xff, 0, 0]);
    assert_eq!(exchange(&mut socket, &[0; 4]).await?, [0; 4]);
    Ok(())
}

async fn a_connection_is_cut_after_so_many_bytes(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    proxy.put(Way::ToClient, Which::All, Fault::CutAfter(6));
    assert_eq!(exchange(&mut socket, b"four").await?, b"four");
    socket.write_all(b"more").await?;
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await?;
    assert_eq!(rest, b"mo");
    let mut next = TcpStream::connect(proxy.address()).await?;
    assert_eq!(exchange(&mut next, b"the fault is used up").await?, b"the fault is used up");
    Ok(())
}

async fn a_reset_is_seen_as_an_error_and_a_half_open_connection_not_at_all(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    exchange(&mut socket, b"open").await?;
    proxy.reset(Which::All);
    let error = socket.read(&mut [0]).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let mut socket = TcpStream::connect(proxy.address()).await?;
    exchange(&mut socket, b"a reset is for connections of before").await?;
    proxy.half_open(Which::All);
    timeout(A_WHILE, exchange(&mut socket, b"anybody?")).await.expect_err("silence");

    proxy.refuse();
    let mut socket = TcpStream::connect(proxy.address()).await?;
    exchange(&mut socket, b"closed at once").await.expect_err("refused");
    Ok(())
}

async fn a_fault_on_dumps_leaves_other_connections_alone(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut dump = TcpStream::connect(proxy.address()).await?;
    let mut other = TcpStream::connect(proxy.address()).await?;
    exchange(&mut dump, &[1, 0, 0, 0, 0x1e]).await?;
    exchange(&mut other, &[1, 0, 0, 0, 0x03]).await?;
    assert_eq!((proxy.connections(), proxy.dumps()), (2, 1));
    proxy.put(Way::ToClient, Which::Dump, Fault::Hold);
    assert_eq!(exchange(&mut other, b"fine").await?, b"fine");
    timeout(A_WHILE, exchange(&mut dump, b"held")).await.expect_err("nothing comes");
    proxy.reset(Which::Dump);
    assert_eq!(exchange(&mut other, b"fine").await?, b"fine");
    dump.read(&mut [0]).await.expect_err("a reset");
    Ok(())
}

async fn slow_flows_are_slow_and_a_moved_target_gets_new_connections(_: Bed) -> Outcome {
    let proxy = Proxy::start(echo(b"1").await?).await?;
    let mut old = TcpStream::connect(proxy.address()).await?;
    assert_eq!(old.read_u8().await?, b'1');
    proxy.move_to(echo(b"2").await?);
    let mut new = TcpStream::connect(proxy.address()).await?;
    assert_eq!(new.read_u8().await?, b'2');

    for fault in [Fault::Delay(A_WHILE), Fault::Trickle(A_WHILE / 8)] {
        proxy.put(Way::ToClient, Which::All, fault);
        let start = Instant::now();
        exchange(&mut old, b"12345678").await?;
        assert!(start.elapsed() >= A_WHILE * 7 / 8, "{fault:?}: {:?}", start.elapsed());
    }
    Ok(())
}

async fn a_transaction_is_taken_out_so_that_the_packets_do_not_tell(_: Bed) -> Outcome {
    let packet = |number: u8, kind: u8, text: &[u8; 2]| {
        [&[12, 0, 0, number, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0][..], text].concat()
    };
    let (gtid, rows, xid) = (33, 30, 16);
    let heartbeat = packet(1, 27, b"hb");
    let lost = [packet(2, gtid, b"g1"), packet(3, rows, b"ab"), packet(4, xid, b"x1")].concat();
    let kept = |first: u8| {
        [packet(first, gtid, b"g2"), packet(first + 1, rows, b"cd"), packet(first + 2, xid, b"x2")]
            .concat()
    };
    let proxy = Proxy::start(echo(b"").await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    proxy.put(Way::ToClient, Which::All, Fault::LoseTransaction("ab"));
    assert_eq!(exchange(&mut socket, &heartbeat).await?, heartbeat);
    socket.write_all(&[lost, kept(5)].concat()).await?;
    let mut left = vec![0; kept(2).len()];
    socket.read_exact(&mut left).await?;
    assert_eq!(left, kept(2), "with the numbers that follow the last one");
    proxy.heal();
    assert_eq!(exchange(&mut socket, &kept(8)).await?, kept(5), "also when the fault is over");
    Ok(())
}
