//! The least that a reader of the dump can do: it logs in, asks for everything, and counts packets.
//! What a server can send, and so the mark that a real reader is held to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::own_cpu;

/// As large as binpulse's own.
const BUFFER_BYTES: usize = 256 << 10;
/// `CLIENT_LONG_PASSWORD`, `CLIENT_PROTOCOL_41`, `CLIENT_SECURE_CONNECTION`, `CLIENT_PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
/// `COM_QUERY` and `COM_BINLOG_DUMP`.
const QUERY: u8 = 0x03;
const BINLOG_DUMP: u8 = 0x12;
/// The server ends the stream where its logs end.
const NON_BLOCK: u16 = 1;

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Reads all of the server's logs as `root` without a password.
pub(crate) fn count(address: &str) -> Outcome<Counted> {
    let (began, cpu) = (Instant::now(), own_cpu());
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    log_in(&mut stream)?;
    let checksum = "SET @source_binlog_checksum = 'CRC32', @master_binlog_checksum = 'CRC32'";
    command(&mut stream, QUERY, checksum.as_bytes())?;
    must_be_ok(&packet(&mut stream)?)?;
    let mut request = 4_u32.to_le_bytes().to_vec();
    request.extend(NON_BLOCK.to_le_bytes());
    request.extend(4_000_000_001_u32.to_le_bytes());
    request.extend(b"binlog.000001");
    command(&mut stream, BINLOG_DUMP, &request)?;
    let (packets, bytes) = drain(&mut stream)?;
    Ok(Counted { packets, bytes, wall: began.elapsed(), cpu: own_cpu().saturating_sub(cpu) })
}

fn log_in(stream: &mut TcpStream) -> Outcome {
    packet(stream)?;
    let mut reply = CAPABILITIES.to_le_bytes().to_vec();
    reply.extend((1_u32 << 30).to_le_bytes());
    reply.push(45);
    reply.extend([0; 23]);
    reply.extend(b"root\0\0caching_sha2_password\0");
    send(stream, 1, &reply)?;
    must_be_ok(&packet(stream)?)
}

fn must_be_ok(reply: &[u8]) -> Outcome {
    match reply.first() {
        Some(0) => Ok(()),
        _ => Err(format!("the server says {}", String::from_utf8_lossy(reply)).into()),
    }
}

fn command(stream: &mut TcpStream, code: u8, body: &[u8]) -> Outcome {
    send(stream, 0, &[&[code], body].concat())
}

fn send(stream: &mut TcpStream, sequence: u8, payload: &[u8]) -> Outcome {
    let length = u32::try_from(payload.len())?.to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], sequence];
    packet.extend_from_slice(payload);
    Ok(stream.write_all(&packet)?)
}

fn packet(stream: &mut TcpStream) -> Outcome<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut payload = vec![0; length_of(header)];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

fn length_of([a, b, c, _]: [u8; 4]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

/// Counts packets until the one that ends the stream.
fn drain(stream: &mut TcpStream) -> Outcome<(u64, u64)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut packets, mut bytes) = (0, 0);
    // Bytes of the payload at hand that are still to come, and the header as far as it has come.
    let (mut left, mut header) = (0_usize, Vec::with_capacity(4));
    let mut mark = None;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the server closed".into());
        }
        bytes += count as u64;
        let mut rest = buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            if left > 0 {
                mark = mark.or(rest.first().copied());
                let step = left.min(rest.len());
                rest = rest.get(step..).unwrap_or_default();
                left -= step;
            } else {
                header.push(rest[0]);
                rest = rest.get(1..).unwrap_or_default();
                if let [a, b, c, d] = header[..] {
                    left = length_of([a, b, c, d]);
                    header.clear();
                    packets += 1;
                    mark = None;
                }
                continue;
            }
            match mark {
                Some(0xfe) if left == 0 => return Ok((packets, bytes)),
                Some(0xff) => return Err("the server refused to send its logs".into()),
                _ => {}
            }
        }
    }
}
