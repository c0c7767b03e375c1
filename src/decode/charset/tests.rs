use proptest::prelude::*;

use super::*;

fn text(charset: &str, bytes: &[u8]) -> Option<String> {
    let mut scratch = b"before".to_vec();
    let charset = by_name(charset).expect("a known character set");
    match charset.decode(bytes, &mut scratch) {
        Decoded::Borrowed => {
            Some(String::from_utf8(bytes.to_vec()).expect("borrowed text is UTF-8"))
        }
        Decoded::Scratch => {
            Some(String::from_utf8(scratch.split_off(6)).expect("decoded text is UTF-8"))
        }
        Decoded::Malformed => {
            assert_eq!(scratch, b"before", "malformed text leaves nothing behind");
            None
        }
    }
}

#[test]
fn every_collation_leads_to_a_character_set() {
    for (first, last, name) in collations::COLLATIONS {
        for id in first..=last {
            assert_eq!(by_collation(id).map(Charset::name), Some(name), "collation {id}");
        }
    }
    for id in [0, 17, 100, 251, 5_000, u16::MAX] {
        assert!(by_collation(id).is_none(), "collation {id}");
    }
}

#[test]
fn text_reads_as_the_server_reads_it() {
    for (charset, bytes, expected) in [
        ("utf8mb4", "grüße 😀".as_bytes(), Some("grüße 😀")),
        ("utf8mb4", b"\xff", None),
        ("ascii", b"plain", Some("plain")),
        ("ascii", b"\x80", None),
        ("latin1", b"\x80\xe9\x81", Some("€é\u{81}")),
        ("swe7", b"[\\]{|}", Some("ÄÖÅäöå")),
        ("swe7", b"abc", Some("abc")),
        ("cp1251", b"\xcf\xf0\xe8", Some("При")),
        ("cp1251", b"\x98", None),
        ("tis620", b"\xa1\xdb", None),
        ("ucs2", b"\x00a\x20\xac", Some("a€")),
        ("ucs2", b"\xd8\x3d\xde\x00", None),
        ("ucs2", b"\x00", None),
        ("utf16", b"\xd8\x3d\xde\x00", Some("😀")),
        ("utf16", b"\xd8\x3d", None),
        ("utf16le", b"\x3d\xd8\x00\xde", Some("😀")),
        ("utf32", b"\x00\x01\xf6\x00", Some("😀")),
        ("utf32", b"\x00\x11\x00\x00", None),
        ("sjis", b"\x81\x5f\x82\xa0\xb1", Some("\\あｱ")),
        ("cp932", b"\x81\x5f\x87\x40", Some("＼①")),
        ("sjis", b"\x87\x40", None),
        ("sjis", b"\x82", None),
        ("ujis", b"\xa4\xa2\x8e\xb1\x8f\xa2\xb7", Some("あｱ~")),
        ("eucjpms", b"\xad\xa1", Some("①")),
        ("gbk", b"\xc4\xe3\xba\xc3", Some("你好")),
        ("gbk", b"\x80", None),
        ("gb2312", b"\xa1\xaa", Some("―")),
        ("gb2312", b"\x81\x40", None),
        ("gb18030", b"\x94\x39\xfc\x36", Some("😀")),
        ("gb18030", b"\x81\x30\x81", None),
        ("big5", b"\xa7\x41\xa6\x6e", Some("你好")),
        ("big5", b"\x87\x40", None),
        ("euckr", b"\xb0\xa1", Some("가")),
    ] {
        assert_eq!(text(charset, bytes).as_deref(), expected, "{charset} {bytes:02x?}");
    }
}

#[test]
fn exceptions_are_sorted_and_do_not_overlap() {
    for charset in &CHARSETS {
        if let Encoding::Asian(asian) = &charset.encoding {
            assert!(asian.is_sorted(), "{}", charset.name);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_text_or_are_malformed(
        index in 0usize..41,
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _: Option<String> = text(CHARSETS[index].name, &bytes);
    }
}

/// What becomes of every sequence of so many bytes, in one number.
fn all_sequences(charset: &Charset, starts: &[&[u8]]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    let mut scratch = Vec::new();
    for start in starts {
        for pair in 0..=u16::MAX {
            let bytes = [start, &pair.to_be_bytes()[..]].concat();
            scratch.clear();
            match charset.decode(&bytes, &mut scratch) {
                Decoded::Borrowed => hash.update(&bytes),
                Decoded::Scratch => hash.update(&scratch),
                Decoded::Malformed => hash.update(&[0xff]),
            }
            hash.update(&[0xfe]);
        }
    }
    hash.finalize()
}

/// Each number is that of the decoding as it is: a change of any sequence shows here.
#[test]
fn sequences_of_several_bytes_read_as_ever() {
    let found: Vec<_> = [
        ("big5", &[&b""[..]][..]),
        ("sjis", &[b""]),
        ("cp932", &[b""]),
        ("euckr", &[b""]),
        ("gb2312", &[b""]),
        ("gbk", &[b""]),
        ("gb18030", &[b"", b"\x81\x30", b"\x84\x31", b"\x90\x30", b"\xfe\x39"]),
        ("ujis", &[b"", b"\x8f"]),
        ("eucjpms", &[b"", b"\x8f"]),
    ]
    .into_iter()
    .map(|(name, starts)| {
        (name, all_sequences(by_name(name).expect("a known character set"), starts))
    })
    .collect();
    let expected = [
        ("big5", 186_725_775),
        ("sjis", 2_352_372_634),
        ("cp932", 1_054_490_063),
        ("euckr", 570_443_048),
        ("gb2312", 1_000_086_455),
        ("gbk", 1_345_846_961),
        ("gb18030", 3_625_218_403),
        ("ujis", 1_989_275_027),
        ("eucjpms", 1_992_767_040),
    ];
    assert_eq!(found, expected);
}

#[test]
fn text_is_ascii_or_not_at_every_length() {
    for length in 0..600_usize {
        let mut bytes = vec![b'a'; length];
        assert!(is_ascii(&bytes), "{length}");
        for at in [0, length / 2, length.saturating_sub(1)] {
            if at < length {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes) && !is_utf8(&bytes), "{length} {at}");
                bytes[at] = b'a';
            }
        }
    }
}
