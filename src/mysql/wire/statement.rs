//! Statements in the text protocol: their answers, and how values are put into them.

use std::fmt::Write;

use mysql_common::value::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::bytes::{Bytes, Column, quote};
use super::channel::Channel;
use super::failure::{Failure, ServerError, Step};
use crate::mysql::Row;

const COM_QUERY: u8 = 0x03;
/// `SERVER_MORE_RESULTS_EXISTS`: another answer follows.
const MORE_RESULTS: u16 = 8;

/// Largest answer to a statement, with all its result sets. GTID sets and lists of binary logs, the
/// largest that we ask for, stay far below.
pub(crate) const RESULT_BYTES_MAX: usize = 64 << 20;
/// What a packet and a cell of it count beside their bytes: they take memory too.
const OVERHEAD_BYTES: usize = 32;
/// Columns of an answer: no server has tables or views with more.
const COLUMNS_MAX: u64 = 4096;

/// What a server answers to a statement.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// Names of the first result set's columns.
    pub(crate) columns: Vec<String>,
    /// Its rows, each with as many values.
    pub(crate) rows: Vec<Row>,
    /// Rows that were changed.
    pub(crate) affected_rows: u64,
}

/// Runs one statement. After any failure but a refusal the channel is of no more use.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    sql: &str,
) -> Result<Answer, Failure> {
    channel.command(&command(sql)).await.map_err(|error| error.at(Step::Statement))?;
    let mut reader = Reader { channel, room: RESULT_BYTES_MAX };
    let mut first = None;
    loop {
        let (answer, more) = reader.answer().await?;
        let answer = first.get_or_insert(answer);
        if !more {
            return Ok(std::mem::take(answer));
        }
    }
}

/// Takes a large answer as it comes, without a copy of it in between.
pub trait RowSink {
    /// Takes the definition of the next column as the server sent it, before the first row.
    fn column(&mut self, definition: &[u8]);

    /// Takes a row; `None` if it has not as many cells as it should.
    fn row(&mut self, cells: Cells<'_>) -> Option<()>;
}

/// The cells of one row in the text protocol, lent by the connection.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a>(Bytes<'a>);

impl<'a> Cells<'a> {
    /// The cells of a packet.
    pub(crate) fn new(packet: &'a [u8]) -> Self {
        Self(Bytes(packet))
    }

    /// Takes the next cell, the inner `None` for NULL; the outer behind the last, and where the bytes end
    /// too early.
    #[inline]
    pub fn take(&mut self) -> Option<Option<&'a [u8]>> {
        self.0.column().map(|column| match column {
            Column::Null => None,
            Column::Text(text) => Some(text),
        })
    }

    /// Whether all cells were taken.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

/// Runs one statement with a single result set, whose rows go to `sink`. After any failure but a
/// refusal the channel is of no more use. Messages say nothing of what is in the rows.
pub(crate) async fn stream<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    sql: &str,
    sink: &mut impl RowSink,
) -> Result<(), Failure> {
    channel.command(&command(sql)).await.map_err(|error| error.at(Step::Statement))?;
    let head = packet(channel, Step::Statement).await?;
    let count = Bytes(&head).number().filter(|count| (1..=COLUMNS_MAX).contains(count));
    for _ in 0..count.ok_or_else(|| unexpected(&head, "a number of columns up to 4096"))? {
        sink.column(&packet(channel, Step::Statement).await?);
    }
    let end = packet(channel, Step::Statement).await?;
    end_status(&end).ok_or_else(|| unexpected(&end, "the end of the columns"))?;
    loop {
        let Some(range) = channel.buffered().map_err(|error| error.at(Step::Statement))? else {
            channel.fill().await.map_err(|error| error.at(Step::Statement))?;
            continue;
        };
        let bytes = channel.bytes(range);
        if let Some((0xff, rest)) = bytes.split_first() {
            return Err(ServerError::parse(rest).at(Step::Statement));
        }
        if let Some(status) = end_status(bytes) {
            if status & MORE_RESULTS != 0 {
                return Err(unexpected(bytes, "no further answer"));
            }
            return Ok(());
        }
        sink.row(Cells::new(bytes)).ok_or_else(|| Failure::Protocol {
            step: Step::Statement,
            found: format!("a packet of {} bytes", bytes.len()),
            expected: "a row with as many cells as there are columns",
        })?;
    }
}

fn command(sql: &str) -> Vec<u8> {
    let mut command = Vec::with_capacity(1 + sql.len());
    command.push(COM_QUERY);
    command.extend_from_slice(sql.as_bytes());
    command
}

/// One packet that is no error.
pub(crate) async fn packet<S: AsyncRead + Unpin>(
    channel: &mut Channel<S>,
    step: Step,
) -> Result<Vec<u8>, Failure> {
    let packet = channel.packet().await.map_err(|error| error.at(step))?;
    match packet.split_first() {
        Some((0xff, rest)) => Err(ServerError::parse(rest).at(step)),
        Some(_) => Ok(packet),
        None => Err(Failure::Protocol { step, found: quote(&packet), expected: "an answer" }),
    }
}

/// Reads answers until they become too large.
struct Reader<'a, S> {
    channel: &'a mut Channel<S>,
    /// Bytes that may still come.
    room: usize,
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    /// One result set, or the acknowledgement of a statement without; whether another follows.
    async fn answer(&mut self) -> Result<(Answer, bool), Failure> {
        let head = self.packet().await?;
        match head.first() {
            Some(0x00) => {
                let (affected_rows, status) =
                    acknowledged(&head).ok_or_else(|| unexpected(&head, "an acknowledgement"))?;
                let answer = Answer { affected_rows, ..Answer::default() };
                return Ok((answer, status & MORE_RESULTS != 0));
            }
            // It asks for a file of ours.
            Some(0xfb) => return Err(unexpected(&head, "rows, not a request for a file")),
            Some(_) | None => {}
        }
        let mut input = Bytes(&head);
        let count = input.number().filter(|count| (1..=COLUMNS_MAX).contains(count));
        let count = count.ok_or_else(|| unexpected(&head, "a number of columns up to 4096"))?;
        let mut answer = Answer::default();
        for _ in 0..count {
            let definition = self.packet().await?;
            let name = column_name(&definition);
            answer.columns.push(name.ok_or_else(|| unexpected(&definition, "a column"))?);
        }
        let end = self.packet().await?;
        end_status(&end).ok_or_else(|| unexpected(&end, "the end of the columns"))?;
        loop {
            let packet = self.packet().await?;
            if let Some(status) = end_status(&packet) {
                return Ok((answer, status & MORE_RESULTS != 0));
            }
            self.spend(answer.columns.len().saturating_mul(OVERHEAD_BYTES))?;
            let row = row(&packet, answer.columns.len());
            answer.rows.push(row.ok_or_else(|| unexpected(&packet, "a row"))?);
        }
    }

    async fn packet(&mut self) -> Result<Vec<u8>, Failure> {
        let packet = packet(self.channel, Step::Statement).await?;
        self.spend(packet.len() + OVERHEAD_BYTES)?;
        Ok(packet)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        self.room = self.room.checked_sub(bytes).ok_or_else(|| Failure::Protocol {
            step: Step::Statement,
            found: format!("an answer of more than {RESULT_BYTES_MAX} bytes"),
            expected: "a smaller one",
        })?;
        Ok(())
    }
}

fn unexpected(packet: &[u8], expected: &'static str) -> Failure {
    Failure::Protocol { step: Step::Statement, found: quote(packet), expected }
}

/// Changed rows and status of an OK packet.
fn acknowledged(packet: &[u8]) -> Option<(u64, u16)> {
    let mut input = Bytes(packet);
    input.byte()?;
    let affected_rows = input.number()?;
    let _last_insert_id = input.number()?;
    Some((affected_rows, u16::from_le_bytes(input.array()?)))
}

/// Status of an EOF packet; `None` if it is none.
fn end_status(packet: &[u8]) -> Option<u16> {
    let [0xfe, _, _, low, high] = *packet else { return None };
    Some(u16::from_le_bytes([low, high]))
}

/// Behind catalogue, schema, table and its original name.
fn column_name(definition: &[u8]) -> Option<String> {
    let mut input = Bytes(definition);
    for _ in 0..4 {
        input.text()?;
    }
    Some(String::from_utf8_lossy(input.text()?).into_owned())
}

/// The values of a row, if there are exactly so many.
fn row(packet: &[u8], columns: usize) -> Option<Row> {
    let mut input = Bytes(packet);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        row.push(match input.column()? {
            Column::Null => Value::NULL,
            Column::Text(text) => Value::Bytes(text.to_vec()),
        });
    }
    input.0.is_empty().then(|| Row::new(row))
}

/// The statement with a literal in place of each `?` outside of quotes; `None` unless there are
/// exactly as many values.
///
/// Texts and bytes are written in hexadecimal digits: no SQL mode and no character set can make
/// them end early.
pub(crate) fn interpolate(sql: &str, values: &[Value]) -> Option<String> {
    let mut values = values.iter();
    let mut statement = String::with_capacity(sql.len());
    let mut quoted_by = None;
    for character in sql.chars() {
        match (quoted_by, character) {
            (None, '?') => literal(&mut statement, values.next()?),
            (None, '\'' | '"' | '`') => {
                quoted_by = Some(character);
                statement.push(character);
            }
            (open, _) => {
                if open == Some(character) {
                    quoted_by = None;
                }
                statement.push(character);
            }
        }
    }
    values.next().is_none().then_some(statement)
}

fn literal(into: &mut String, value: &Value) {
    match value {
        Value::Bytes(bytes) => {
            // What is text takes part in comparisons as text does.
            let introducer = if std::str::from_utf8(bytes).is_ok() { "_utf8mb4 " } else { "" };
            into.push_str(introducer);
            into.push_str("x'");
            for byte in bytes {
                write!(into, "{byte:02x}").expect("a String takes any text");
            }
            into.push('\'');
        }
        // Numbers, NULL, and times, which are digits in quotes.
        other @ (Value::NULL
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Date(..)
        | Value::Time(..)) => into.push_str(&other.as_sql(true)),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// A server whose answer is ready, and who takes every question.
    struct Ready(Vec<u8>, usize);

    impl AsyncRead for Ready {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let rest = &self.0[self.1..];
            let count = rest.len().min(into.remaining());
            into.put_slice(&rest[..count]);
            self.1 += count;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Ready {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn answered(payloads: &[Vec<u8>]) -> Result<Answer, Failure> {
        with_answer(payloads, async |channel| run(channel, "SELECT 1").await)
    }

    fn with_answer<T>(
        payloads: &[Vec<u8>],
        ask: impl AsyncFnOnce(&mut Channel<Ready>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut wire = Vec::new();
        for (number, payload) in payloads.iter().enumerate() {
            let length = u32::try_from(payload.len()).expect("small").to_le_bytes();
            wire.extend_from_slice(&length[..3]);
            wire.push(u8::try_from((number + 1) % 256).expect("a byte"));
            wire.extend_from_slice(payload);
        }
        let mut channel = Channel::new(Ready(wire, 0));
        channel.allow(RESULT_BYTES_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(ask(&mut channel))
    }

    #[derive(Debug, Default, PartialEq)]
    struct Taken {
        columns: Vec<Vec<u8>>,
        rows: Vec<Vec<Option<Vec<u8>>>>,
    }

    impl RowSink for Taken {
        fn column(&mut self, definition: &[u8]) {
            self.columns.push(definition.to_vec());
        }

        fn row(&mut self, mut cells: Cells<'_>) -> Option<()> {
            let mut row = Vec::new();
            for _ in &self.columns {
                row.push(cells.take()?.map(<[u8]>::to_vec));
            }
            self.rows.push(row);
            cells.is_empty().then_some(())
        }
    }

    fn streamed(payloads: &[Vec<u8>]) -> (Taken, Result<(), Failure>) {
        let mut taken = Taken::default();
        let end =
            with_answer(payloads, async |channel| stream(channel, "SELECT 1", &mut taken).await);
        (taken, end)
    }

    fn column(name: &[u8]) -> Vec<u8> {
        [&b"\x03def\0\0\0"[..], &[u8::try_from(name.len()).expect("short")], name, &[0; 14]]
            .concat()
    }

    const END: [u8; 5] = [0xfe, 0, 0, 2, 0];
    const END_OF_FIRST: [u8; 5] = [0xfe, 0, 0, 10, 0];

    #[test]
    fn rows_and_their_names_are_read_and_further_answers_passed_over() {
        let answer = answered(&[
            vec![2],
            column(b"a"),
            column(b"b"),
            END.to_vec(),
            b"\x011\xfb".to_vec(),
            END_OF_FIRST.to_vec(),
            b"\0\x05\0\x02\0\0\0".to_vec(),
        ])
        .expect("an answer");
        assert_eq!(answer.columns, ["a", "b"]);
        assert_eq!(answer.rows, [Row::new(vec![Value::Bytes(b"1".to_vec()), Value::NULL])]);
        let changed = answered(&[b"\0\xfc\x00\x01\0\x02\0\0\0".to_vec()]).expect("an answer");
        assert_eq!(changed.affected_rows, 256);
    }

    #[test]
    fn a_sink_is_given_each_row_and_its_definitions() {
        let (taken, end) = streamed(&[
            vec![2],
            column(b"a"),
            column(b"b"),
            END.to_vec(),
            b"\x011\xfb".to_vec(),
            b"\0\x03abc".to_vec(),
            END.to_vec(),
        ]);
        end.expect("an answer");
        assert_eq!(taken.columns, [column(b"a"), column(b"b")]);
        let rows = [vec![Some(b"1".to_vec()), None], vec![Some(vec![]), Some(b"abc".to_vec())]];
        assert_eq!(taken.rows, rows);
    }

    #[test]
    fn what_is_no_answer_for_a_sink_is_refused_without_a_word_of_the_row() {
        let front = [vec![1], column(b"a"), END.to_vec()];
        for row in [&b"\x06secr"[..], b"\x06secret\x01x", b""] {
            let (_, refused) = streamed(&[&front[..], &[row.to_vec(), END.to_vec()]].concat());
            let refused = refused.expect_err("no row").to_string();
            assert!(refused.contains("a row with as many cells"), "{refused}");
            assert!(!refused.contains("secr") && !refused.contains("73"), "{refused}");
        }
        let killed = b"\xff\xd0\x0b#HY000maximum time exceeded".to_vec();
        let (taken, refused) = streamed(&[&front[..], &[b"\x011".to_vec(), killed]].concat());
        assert_eq!(taken.rows.len(), 1);
        let Err(Failure::Refused { error, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code, 3024);
        for answer in [vec![b"\0\0\0\x02\0\0\0".to_vec()], vec![b"\xfb/etc/passwd".to_vec()]] {
            let (_, refused) = streamed(&answer);
            assert!(matches!(refused, Err(Failure::Protocol { .. })), "{refused:?}");
        }
        let (_, further) = streamed(
            &[&front[..], &[END_OF_FIRST.to_vec(), b"\0\0\0\x02\0\0\0".to_vec()]].concat(),
        );
        assert!(matches!(further, Err(Failure::Protocol { .. })), "{further:?}");
    }

    #[test]
    fn an_error_behind_rows_is_the_answer() {
        let refused = answered(&[
            vec![1],
            column(b"a"),
            END.to_vec(),
            b"\x011".to_vec(),
            b"\xff\x24\x05#HY000stopped".to_vec(),
        ]);
        let Err(Failure::Refused { error, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((error.code, error.state.as_str()), (1316, "HY000"));
    }

    #[test]
    fn more_columns_than_a_server_has_are_refused_before_memory_is_taken_for_them() {
        for count in [&b"\xfe\0\0\0\x80\0\0\0\0"[..], b"\xfd\0\0\x80", b"\xfc\x01\x10"] {
            let refused = answered(&[count.to_vec()]);
            assert!(matches!(refused, Err(Failure::Protocol { .. })), "{refused:?}");
        }
        let file = answered(&[b"\xfb/etc/passwd".to_vec()]);
        assert!(matches!(file, Err(Failure::Protocol { .. })), "{file:?}");
    }

    #[test]
    fn an_answer_without_end_is_refused_at_its_size() {
        let row = [&b"\xfd\0\0\x80"[..], &vec![b'x'; 0x80_0000]].concat();
        let mut packets = vec![vec![1], column(b"a"), END.to_vec()];
        packets.extend(std::iter::repeat_n(row, 9));
        let refused = answered(&packets).expect_err("72 MiB");
        assert!(refused.to_string().contains("more than 67108864 bytes"), "{refused}");
    }

    #[test]
    fn values_become_literals_that_nothing_can_end_early() {
        let values = [
            Value::from("it's \\"),
            Value::Bytes(vec![0xff, 0]),
            Value::NULL,
            Value::Int(-7),
            Value::from(""),
        ];
        let sql = "INSERT INTO `a?b` VALUES (?, ?, ?, ?, '?''?', ?)";
        assert_eq!(
            interpolate(sql, &values).expect("as many values as places"),
            "INSERT INTO `a?b` VALUES (_utf8mb4 x'69742773205c', x'ff00', NULL, -7, '?''?', \
             _utf8mb4 x'')"
        );
        assert_eq!(interpolate("?", &[]), None);
        assert_eq!(interpolate("1", &[Value::NULL]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(
            packets in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..40), 0..8,
            ),
        ) {
            let _ignored = answered(&packets);
            let _ignored = streamed(&packets);
            for bytes in &packets {
                let _ignored = row(bytes, 3);
            }
        }
    }
}
