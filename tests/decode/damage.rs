//! Damaged logs give an error, or end early: never a panic, and never a row that was not there.

use binpulse::change::Position;
use binpulse::decode::{Config, Decoder};
use proptest::prelude::*;

use crate::fixture::{self, Fixture};

/// What comes out of the first `files` of a fixture, the last of them replaced.
fn read_with(fixture: &Fixture, last: usize, content: Vec<u8>, config: Config) -> fixture::Reading {
    let mut files = fixture.files[..last].to_vec();
    files.push((fixture.files[last].0.clone(), content));
    fixture::read_by(&files, config)
}

#[test]
fn a_log_cut_off_anywhere_yields_a_beginning_of_what_the_whole_yields() {
    for fixture in fixture::all() {
        let whole = fixture::read(&fixture.files);
        for (number, (_, file)) in fixture.files.iter().enumerate() {
            let mut boundary = 4;
            for event in fixture::events(file) {
                for cut in [boundary - 1, boundary, boundary + 1, boundary + event.len() / 2] {
                    let part = read_with(&fixture, number, file[..cut].to_vec(), fixture::config());
                    let place = format!("{} file {number} cut at {cut}", fixture.name);
                    assert!(whole.lines.starts_with(&part.lines), "{place}");
                    if cut > 4 && cut != boundary {
                        assert!(part.error.is_some(), "{place}");
                    }
                    if part.error.is_none() {
                        let last = part.lines.last();
                        assert!(
                            last.is_none_or(
                                |line| !line.starts_with("begin") && !line.contains("insert")
                            ),
                            "{place} ends inside a transaction"
                        );
                    }
                }
                boundary += event.len();
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_and_yields_no_wrong_row() {
    // A fixed generator: the same bits every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for fixture in fixture::all() {
        let whole = fixture::read(&fixture.files);
        let (_, file) = &fixture.files[0];
        let has_checksums = !fixture.name.starts_with("no_checksum/");
        for _ in 0..300 {
            let (at, bit) = (4 + random(file.len() - 4), random(8));
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            let part = read_with(&fixture, 0, flipped, fixture::config());
            // The format description's mark of a file in use is under no checksum, by design.
            let is_mark = at == 4 + 17 && bit == 0;
            if has_checksums && !is_mark {
                let place = format!("{} byte {at} bit {bit}", fixture.name);
                assert!(part.error.is_some(), "{place}");
                assert!(whole.lines.starts_with(&part.lines), "{place}: {:?}", part.lines.last());
            }
        }
    }
}

#[test]
fn flipped_bits_that_no_checksum_guards_cause_no_panic() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for fixture in fixture::all() {
        let (_, file) = &fixture.files[0];
        let lengths: Vec<usize> = fixture::events(file).iter().map(|event| event.len()).collect();
        for _ in 0..200 {
            let mut flipped = file.clone();
            // The lengths in the headers stay, so that the damage gets beyond the framing.
            let event = random(lengths.len());
            let start = 4 + lengths[..event].iter().sum::<usize>();
            for _ in 0..=random(3) {
                let at = start + 13 + random(lengths[event] - 13);
                flipped[at] ^= 1 << random(8);
            }
            let config = Config { verify_checksum: false, ..Config::default() };
            read_with(&fixture, 0, flipped, config);
        }
    }
}

/// An event of any type and content whose length is right.
fn any_event() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![0..=45_u8, 160..=175_u8, any::<u8>()];
    let bodies = proptest::collection::vec(any::<u8>(), 0..120);
    (kinds, any::<u32>(), any::<u16>(), bodies).prop_map(|(kind, end, flags, body)| {
        let length = u32::try_from(19 + body.len()).expect("short");
        let mut event = vec![0; 4];
        event.push(kind);
        event.extend([7, 0, 0, 0]);
        event.extend(length.to_le_bytes());
        event.extend(end.to_le_bytes());
        event.extend(flags.to_le_bytes());
        event.extend(body);
        event
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_can_be_fed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new(Config::default());
        decoder.start_at(Position::new("binlog.000001", 4));
        let _ = fixture::feed(&mut decoder, &bytes, &mut Vec::new());
    }

    #[test]
    fn any_events_can_be_fed_anywhere(
        events in proptest::collection::vec(any_event(), 1..8),
        taken in 0..12_usize,
        maria in any::<bool>(),
    ) {
        let server = if maria { "mariadb-10.11" } else { "mysql-9.7" };
        let fixture = fixture::one("rows", server);
        let config = Config { verify_checksum: false, ..Config::default() };
        let mut decoder = Decoder::new(config);
        decoder.start_at(Position::new("binlog.000001", 4));
        let mut lines = Vec::new();
        for event in fixture::events(&fixture.files[0].1).iter().take(1 + taken) {
            fixture::feed(&mut decoder, event, &mut lines).expect("a whole event");
        }
        for event in &events {
            if fixture::feed(&mut decoder, event, &mut lines).is_err() {
                break;
            }
        }
    }
}
