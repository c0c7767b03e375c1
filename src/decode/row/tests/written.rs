//! Values as a server writes them, for every width, length and number of digits, and read back.
#![allow(clippy::cast_possible_truncation, reason = "the values are made to fit")]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

/// The highest bytes of a big-endian number.
fn be(value: u64, bytes: usize) -> Vec<u8> {
    value.to_be_bytes()[8 - bytes..].to_vec()
}

fn le(value: u64, bytes: usize) -> Vec<u8> {
    value.to_le_bytes()[..bytes].to_vec()
}

fn is_out_of_range(found: &Result<Owned, CellError>) -> bool {
    matches!(found, Err(CellError::OutOfRange { .. }))
}

/// Fraction with so many digits, as stored and as text.
fn fraction(microseconds: u32, digits: u8) -> (Vec<u8>, String) {
    let cut = microseconds / 10_u32.pow(6 - u32::from(digits));
    let stored = if digits % 2 == 1 { cut * 10 } else { cut };
    let text = match digits {
        0 => String::new(),
        _ => format!(".{cut:0width$}", width = usize::from(digits)),
    };
    (be(stored.into(), usize::from(digits.div_ceil(2))), text)
}

/// `decimal2bin` of the server: digits in groups of nine around the point.
fn decimal(negative: bool, integer: &str, decimals: &str) -> Vec<u8> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let group = |digits: &str| be(digits.parse().unwrap_or(0), BYTES[digits.len()]);
    let (first, rest) = integer.split_at(integer.len() % 9);
    let mut bytes = group(first);
    for at in (0..rest.len()).step_by(9) {
        bytes.extend(group(&rest[at..at + 9]));
    }
    for at in (0..decimals.len()).step_by(9) {
        bytes.extend(group(&decimals[at..decimals.len().min(at + 9)]));
    }
    if negative {
        for byte in &mut bytes {
            *byte = !*byte;
        }
    }
    bytes[0] ^= 0x80;
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn integers_of_every_width(value: u64, (wire_type, width) in prop::sample::select(vec![
        (1, 1_u32), (2, 2), (9, 3), (3, 4), (8, 8),
    ])) {
        let value = value >> (64 - 8 * width);
        let shift = 64 - 8 * width;
        let signed = (value << shift).cast_signed() >> shift;
        let bytes = le(value, width as usize);
        let column = column(wire_type, &[]);
        prop_assert_eq!(read(&column, &bytes), Ok(Owned::Int(signed)));
        let unsigned = WireColumn { unsigned: true, ..column };
        prop_assert_eq!(read(&unsigned, &bytes), Ok(Owned::UInt(value)));
    }

    #[test]
    fn bits_of_every_length(length in 1..=64_u32, value: u64) {
        let value = value >> (64 - length);
        let bytes = be(value, length.div_ceil(8) as usize);
        let meta = [(length % 8) as u8, (length / 8) as u8];
        let column = column(16, &meta);
        prop_assert_eq!(read(&column, &bytes), Ok(Owned::UInt(value)));
        let plan = ColumnPlan::new(&column).expect("a valid column");
        prop_assert_eq!(plan.mysql_type(), format!("bit({length})"));
        if length % 8 > 0 {
            // A bit more than there are
            let found = read(&column, &be(value | 1 << length, length.div_ceil(8) as usize));
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
    }

    #[test]
    fn decimals_of_every_precision_and_scale(
        (precision, scale) in (1..=65_u8).prop_flat_map(|precision| (Just(precision), 0..=precision.min(30))),
        digits in "[0-9]{65}",
        zeros in 0..=65_usize,
        negative: bool,
    ) {
        // Zeros in front are as frequent as any other number of them
        let mut digits = digits.into_bytes();
        digits[..zeros].fill(b'0');
        let digits = String::from_utf8(digits).expect("digits");
        let integer = &digits[..usize::from(precision - scale)];
        let decimals = &digits[digits.len() - usize::from(scale)..];
        let shown = integer.trim_start_matches('0');
        let shown = if shown.is_empty() { "0" } else { shown };
        let point = if scale > 0 { "." } else { "" };
        let sign = if negative { "-" } else { "" };
        let column = column(246, &[precision, scale]);
        let bytes = decimal(negative, integer, decimals);
        let expected = text(&format!("{sign}{shown}{point}{decimals}"));
        prop_assert_eq!(read(&column, &bytes), Ok(expected));
        let cut = ColumnPlan::new(&column).expect("a valid column");
        let cut = cut.reader.read(&bytes[1..], &mut 0, &mut Vec::new());
        prop_assert!(matches!(cut, Err(CellError::Short { .. })), "{:?}", cut);
    }

    #[test]
    fn dates_and_times_of_every_precision(
        (year, month, day) in (0..16_384_u32, 0..16_u32, 0..32_u32),
        (hour, minute, second) in (0..32_u32, 0..64_u32, 0..64_u32),
        microsecond in 0..1_000_000_u32,
        digits in 0..=6_u8,
        calm in prop::bool::weighted(0.7),
    ) {
        // Mostly what there is, else anything that the bits hold
        let (year, month) = if calm { (year % 10_000, month % 13) } else { (year, month) };
        let (hour, minute, second) =
            if calm { (hour % 24, minute % 60, second % 60) } else { (hour, minute, second) };
        let (fraction, fraction_text) = fraction(microsecond, digits);
        let is_date = year <= 9999 && month <= 12;
        let is_time = hour <= 23 && minute <= 59 && second <= 59;
        let date = format!("{year:04}-{month:02}-{day:02}");
        let time = format!("{hour:02}:{minute:02}:{second:02}");

        let packed = u64::from(year << 9 | month << 5 | day);
        let found = read(&column(10, &[]), &le(packed, 3));
        if is_date {
            prop_assert_eq!(found, Ok(text(&date)));
        } else {
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
        // A month beyond 12 would be the next year's here
        if month <= 12 {
            let days = u64::from((year * 13 + month) << 5 | day);
            let seconds = u64::from(hour << 12 | minute << 6 | second);
            let packed = 0x80_0000_0000 + (days << 17 | seconds);
            let found = read(&column(18, &[digits]), &[be(packed, 5), fraction].concat());
            if packed >> 40 > 0 {
                // More than the bytes hold
            } else if is_date && is_time {
                prop_assert_eq!(found, Ok(text(&format!("{date} {time}{fraction_text}"))));
            } else {
                prop_assert!(is_out_of_range(&found), "{:?}", found);
            }
        }
        let old = (u64::from(year) * 10_000 + u64::from(month * 100 + day)) * 1_000_000
            + u64::from(hour * 10_000 + minute * 100 + second);
        let found = read(&column(12, &[]), &le(old, 8));
        if is_date && is_time {
            prop_assert_eq!(found, Ok(text(&format!("{date} {time}"))));
        } else {
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
    }

    #[test]
    fn timestamps_of_every_precision(
        seconds in prop_oneof![any::<u32>(), 0..3_u32, Just(u32::MAX)],
        microsecond in 0..1_000_000_u32,
        digits in 0..=6_u8,
    ) {
        let (fraction, fraction_text) = fraction(microsecond, digits);
        let time = chrono::DateTime::from_timestamp(seconds.into(), 0).expect("a time");
        let whole = match seconds {
            0 => "0000-00-00 00:00:00".to_owned(),
            _ => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        };
        let zero = if digits == 0 { String::new() } else { format!(".{}", "0".repeat(digits.into())) };
        let fraction_text = if seconds == 0 { zero } else { fraction_text };
        let bytes = [be(seconds.into(), 4), fraction].concat();
        prop_assert_eq!(read(&column(17, &[digits]), &bytes), Ok(text(&(whole.clone() + &fraction_text))));
        prop_assert_eq!(read(&column(7, &[]), &le(seconds.into(), 4)), Ok(text(&whole)));
    }

    #[test]
    fn spans_of_time_of_every_precision(
        (hour, minute, second) in (prop_oneof![0..200_u32, 830..850_u32, 0..1024_u32], 0..64_u32, 0..64_u32),
        microsecond in prop_oneof![Just(0), 0..1_000_000_u32],
        digits in 0..=6_u8,
        negative: bool,
        calm in prop::bool::weighted(0.7),
    ) {
        let (hour, minute, second) =
            if calm { (hour % 839, minute % 60, second % 60) } else { (hour, minute, second) };
        let (fraction, fraction_text) = fraction(microsecond, digits);
        let is_time = hour <= 838 && minute <= 59 && second <= 59;
        let packed = i64::from(hour << 12 | minute << 6 | second);
        let fraction_bits = 8 * fraction.len();
        let stored = fraction.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
        let whole = packed << fraction_bits | stored;
        let based = (0x80_0000 << fraction_bits) + if negative { -whole } else { whole };
        let sign = if negative && whole != 0 { "-" } else { "" };
        let time = format!("{hour:02}:{minute:02}:{second:02}");
        let bytes = be(based.cast_unsigned(), 3 + fraction.len());
        let found = read(&column(19, &[digits]), &bytes);
        if is_time {
            prop_assert_eq!(found, Ok(text(&format!("{sign}{time}{fraction_text}"))));
        } else {
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
        let old = i64::from(hour * 10_000 + minute * 100 + second);
        let sign = if negative && old != 0 { "-" } else { "" };
        let old = if negative { -old } else { old };
        let found = read(&column(11, &[]), &le(old.cast_unsigned(), 3));
        if is_time {
            prop_assert_eq!(found, Ok(text(&format!("{sign}{time}"))));
        } else if old.abs() < 1 << 23 {
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
    }

    #[test]
    fn fractions_of_a_second_and_more_are_refused(
        above in 0..1_000_u32, wire_type in prop::sample::select(vec![17_u8, 18, 19]), wide: bool,
    ) {
        let bytes = if wide { 3 } else { 2 };
        let stored = if wide { 1_000_000 + above } else { 10_000 + above };
        let whole = match wire_type {
            17 => be(1_000, 4),
            18 => be(0x80_0000_0000 + (13 << 22) + (1 << 17), 5),
            _ => be(0x80_0001, 3),
        };
        let digits = if wide { 6 } else { 4 };
        let found = read(&column(wire_type, &[digits]), &[whole.clone(), be(stored.into(), bytes)].concat());
        prop_assert!(is_out_of_range(&found), "{:?}", found);
        let most = be(if wide { 999_999 } else { 9_999 }, bytes);
        let found = read(&column(wire_type, &[digits]), &[whole, most].concat());
        let Ok(Owned::Text(shown)) = &found else { panic!("{found:?}") };
        prop_assert!(shown.ends_with(if wide { ".999999" } else { ".9999" }), "{}", shown);
    }

    #[test]
    fn labels_of_every_number(
        count in prop_oneof![1..=64_usize, Just(300)], drawn: u64, told in prop::bool::weighted(0.8),
    ) {
        let names: Vec<String> = (0..count).map(|at| format!("l{at}")).collect();
        let labels: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        let members = told.then_some(labels.as_slice());
        let width = if count <= 255 { 1 } else { 2 };
        let column = WireColumn { members, ..text_column(254, &[247, width], LATIN1) };
        let index = drawn % (count as u64 + 2);
        // One byte holds no more than 255
        let index = if width == 1 { index % 256 } else { index };
        let expected = match usize::try_from(index).expect("small") {
            0 if told => text(""),
            at if told && at <= count => text(&names[at - 1]),
            _ => Owned::UInt(index),
        };
        prop_assert_eq!(read(&column, &le(index, width.into())), Ok(expected));

        if count <= 64 {
            let width = match count.div_ceil(8) {
                few @ 0..=4 => few,
                _ => 8,
            };
            let column = WireColumn { members, ..text_column(254, &[248, width as u8], LATIN1) };
            let mask = if width == 8 { drawn } else { drawn & ((1 << (8 * width)) - 1) };
            let is_covered = count == 64 || mask >> count == 0;
            let expected = if told && is_covered {
                let set = (0..count).filter(|at| mask >> at & 1 == 1);
                text(&set.map(|at| names[at].as_str()).collect::<Vec<_>>().join(","))
            } else {
                Owned::UInt(mask)
            };
            prop_assert_eq!(read(&column, &le(mask, width)), Ok(expected));
            let whole = if count == 64 { u64::MAX } else { (1 << count) - 1 };
            if told {
                let expected = text(&names.join(","));
                prop_assert_eq!(read(&column, &le(whole, width)), Ok(expected));
            }
        }
    }

    #[test]
    fn strings_of_every_length(
        length in prop_oneof![0..300_usize, 250..260_usize, 65_530..=65_535_usize],
        declared in prop_oneof![1..=255_u16, 256..=u16::MAX],
        len_bytes in 1..=4_u8,
    ) {
        let value: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
        let shown = text(std::str::from_utf8(&value).expect("ASCII"));
        let put = |bytes: usize| [le(length as u64, bytes), value.clone()].concat();
        let fits = |bytes: usize| length < 1 << (8 * bytes);
        let varchar = text_column(15, &declared.to_le_bytes(), UTF8MB4);
        let front = if declared <= 255 { 1 } else { 2 };
        if fits(front) {
            prop_assert_eq!(read(&varchar, &put(front)), Ok(shown.clone()));
        }
        if fits(len_bytes.into()) {
            let blob = text_column(252, &[len_bytes], UTF8MB4);
            prop_assert_eq!(read(&blob, &put(len_bytes.into())), Ok(shown.clone()));
            let geometry = column(255, &[len_bytes]);
            prop_assert_eq!(read(&geometry, &put(len_bytes.into())), Ok(Owned::Bytes(value.clone())));
        }
        let plan = ColumnPlan::new(&varchar).expect("a valid column");
        prop_assert_eq!(plan.mysql_type(), format!("varchar({})", declared / 4));
    }

    #[test]
    fn bitmaps_of_every_length(bytes: [u8; 9], bits in 0..=72_usize, fills: bool) {
        let mut bytes = bytes;
        if fills {
            bytes[..bits / 8].fill(0xff);
            if bits % 8 > 0 {
                bytes[bits / 8] |= (1 << (bits % 8)) - 1;
            }
        }
        let mut at = 0;
        let bitmap = Bitmap::take(&bytes, &mut at, bits).expect("enough");
        prop_assert_eq!((at, bitmap.len(), bitmap.bytes().len()), (bits.div_ceil(8), bits, bits.div_ceil(8)));
        let model: Vec<bool> = (0..bits).map(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect();
        for bit in 0..80 {
            prop_assert_eq!(bitmap.get(bit), model.get(bit) == Some(&true), "{}", bit);
        }
        prop_assert_eq!(bitmap.count(), model.iter().filter(|it| **it).count());
        let is_full = model.iter().all(|it| *it);
        prop_assert_eq!(bitmap.is_full(bits), is_full);
        prop_assert!(!bitmap.is_full(bits + 1));
        prop_assert!(bits == 0 || !bitmap.is_full(bits - 1));
        prop_assert!(Bitmap::take(&bytes, &mut 0, 73).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn compressed_values_of_every_length(
        length in prop_oneof![1..500_usize, 60_000..200_000_usize],
        seed: u32,
        wrapped: bool,
        spare in 0..2_usize,
        off in prop_oneof![Just(0_i64), Just(1), Just(-1)],
    ) {
        // Letters that compress, but not into nothing
        let mut state = seed;
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 28) as u8
        };
        let value: Vec<u8> = (0..length).map(|_| letter()).collect();
        let stream = if wrapped {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&value).expect("in memory");
            encoder.finish().expect("in memory")
        } else {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&value).expect("in memory");
            encoder.finish().expect("in memory")
        };
        let needed = if length < 256 { 1 } else if length < 65_536 { 2 } else { 3 };
        let len_bytes = needed + spare;
        let header = 0x80 | if wrapped { 0 } else { 8 } | len_bytes as u8;
        let promised = (length as u64).saturating_add_signed(off);
        let packed = [vec![header], be(promised, len_bytes), stream].concat();
        let stored = [le(packed.len() as u64, 4), packed.clone()].concat();
        let found = read(&text_column(140, &[4], UTF8MB4), &stored);
        if off == 0 || promised >> (8 * len_bytes) > 0 {
            if off == 0 {
                prop_assert_eq!(found, Ok(text(std::str::from_utf8(&value).expect("ASCII"))));
            }
        } else {
            prop_assert!(is_out_of_range(&found), "{:?}", found);
        }
        // Cut anywhere
        let cut = &packed[..packed.len() - 1 - seed as usize % (packed.len() - 2)];
        let found = read(&text_column(140, &[4], UTF8MB4), &[le(cut.len() as u64, 4), cut.to_vec()].concat());
        prop_assert!(found.is_err(), "{:?}", found);
    }
}

#[test]
fn every_day_that_a_timestamp_can_have_is_the_calendars() {
    for day in 0..=u32::MAX / 86_400 {
        let seconds = day * 86_400 + 1;
        let time = chrono::DateTime::from_timestamp(seconds.into(), 0).expect("a time");
        let mut shown = Vec::new();
        temporal::write_timestamp(seconds, 0, 0, &mut shown);
        let expected = time.format("%Y-%m-%d %H:%M:%S").to_string();
        assert_eq!(shown, expected.as_bytes(), "{day}");
    }
}
