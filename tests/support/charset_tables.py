#!/usr/bin/env python3
"""Prints the tables of src/decode/charset/ from what real servers say.

    charset_tables.py collations  PORT...  > src/decode/charset/collations.rs
    charset_tables.py single-byte PORT     > src/decode/charset/single_byte.rs
    charset_tables.py multi-byte  PORT     > src/decode/charset/multi_byte.rs
    charset_tables.py weights     PORT     > src/decode/savepoint/weights.rs

Each PORT is a server on 127.0.0.1 with a root account without password; `collations` wants one of
every version that counts, `weights` MariaDB 11.5 or newer. `multi-byte` prints only where a server differs from the crate
encoding_rs, and builds a small program to ask it. Needs PyMySQL and cargo.
"""

import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import pymysql

SINGLE_BYTE = (
    "armscii8 cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 dec8 geostd8 greek hebrew hp8 keybcs2 "
    "koi8r koi8u latin1 latin2 latin5 latin7 macce macroman swe7 tis620"
).split()

# Charset: encoding of encoding_rs, and the byte sequences that MySQL takes for characters: a range
# for each byte, as in the `mbmaxlen` functions of strings/ctype-*.c.
ASIAN = {
    "big5": ("BIG5", ["A1-F9 40-7E", "A1-F9 A1-FE"]),
    "cp932": ("SHIFT_JIS", ["A1-DF", *(f"{a} {b}" for a in ("81-9F", "E0-FC") for b in ("40-7E", "80-FC"))]),
    "sjis": ("SHIFT_JIS", ["A1-DF", *(f"{a} {b}" for a in ("81-9F", "E0-FC") for b in ("40-7E", "80-FC"))]),
    "euckr": ("EUC_KR", [f"81-FE {b}" for b in ("41-5A", "61-7A", "81-FE")]),
    "gb2312": ("GBK", ["A1-F7 A1-FE"]),
    "gbk": ("GBK", ["81-FE 40-7E", "81-FE 80-FE"]),
    "ujis": ("EUC_JP", ["8E-8E A1-DF", "A1-FE A1-FE", "8F-8F A1-FE A1-FE"]),
    "eucjpms": ("EUC_JP", ["8E-8E A1-DF", "A1-FE A1-FE", "8F-8F A1-FE A1-FE"]),
    # Four bytes: the Basic Multilingual Plane's part; the rest is arithmetic in both.
    "gb18030": ("GB18030", ["81-FE 40-7E", "81-FE 80-FE", "81-84 30-39 81-FE 30-39"]),
}
UNMAPPED = 0xFFFD


def connect(port):
    return pymysql.connect(host="127.0.0.1", port=int(port), user="root", password="", charset="utf8mb4")


def version(cursor):
    cursor.execute("SELECT VERSION()")
    return cursor.fetchone()[0].split("-")[0]


def decode_all(cursor, charset, sequences):
    """What the server makes of each byte sequence: a code point, or UNMAPPED."""
    points = {}
    for part in chunks(sequences, 500):
        rows = " UNION ALL ".join(f"SELECT x'{one.hex()}' AS b" for one in part[:1])
        rows += "".join(f" UNION ALL SELECT x'{one.hex()}'" for one in part[1:])
        cursor.execute(
            f"SELECT HEX(b), HEX(CONVERT(CONVERT(b USING {charset}) USING utf32)) FROM ({rows}) AS t"
        )
        for stored, point in cursor.fetchall():
            question = point == "0000003F" and stored != "3F"
            known = point and len(point) == 8 and not question
            points[bytes.fromhex(stored)] = int(point, 16) if known else UNMAPPED
    return points


def chunks(items, size):
    items = iter(items)
    while part := list(itertools.islice(items, size)):
        yield part


def collations(ports):
    names, versions = {}, []
    for port in ports:
        cursor = connect(port).cursor()
        versions.append(version(cursor))
        cursor.execute("SELECT VERSION() LIKE '%MariaDB%'")
        query = "SELECT id, character_set_name FROM information_schema.collations WHERE id IS NOT NULL"
        if cursor.fetchone()[0]:
            # Here a collation of several character sets has an id for each.
            query = "SELECT id, character_set_name FROM information_schema.collation_character_set_applicability"
        cursor.execute(query)
        for number, charset in cursor.fetchall():
            charset = "utf8mb3" if charset == "utf8" else charset
            assert names.setdefault(number, charset) == charset, (number, charset)
    runs = []
    for number, charset in sorted(names.items()):
        if runs and runs[-1][1:] == [number - 1, charset]:
            runs[-1][1] = number
        else:
            runs.append([number, number, charset])
    print("//! Collation ids and their character sets. Made by `tests/support/charset_tables.py`.")
    print("//!")
    print(f"//! Source: `information_schema.collations` of {', '.join(versions)}.")
    print()
    print("/// First id, last id, character set; ascending.")
    print("#[rustfmt::skip]")
    print(f"pub(super) const COLLATIONS: [(u16, u16, &str); {len(runs)}] = [")
    for part in chunks((f'({first}, {last}, "{charset}"),' for first, last, charset in runs), 4):
        print("    " + " ".join(part))
    print("];")


def single_byte(port):
    cursor = connect(port).cursor()
    print("//! Single-byte character sets. Made by `tests/support/charset_tables.py`.")
    print("//!")
    print(f"//! Source: `CONVERT(... USING utf32)` of every byte on MySQL {version(cursor)}.")
    print()
    print("/// Code points of the bytes 0x80 to 0xFF; U+FFFD where the character set has none.")
    print("pub(super) type Upper = [u16; 128];")
    swaps = []
    for charset in SINGLE_BYTE:
        points = decode_all(cursor, charset, [bytes([byte]) for byte in range(256)])
        points = [points[bytes([byte])] for byte in range(256)]
        swaps += [(charset, byte, point) for byte, point in enumerate(points[:128]) if byte != point]
        print("\n#[rustfmt::skip]")
        print(f"pub(super) const {charset.upper()}: Upper = [")
        for part in chunks(points[128:], 16):
            print("    " + " ".join(f"0x{point:04x}," for point in part))
        print("];")
    assert {charset for charset, _, _ in swaps} == {"swe7"}, swaps
    print("\n/// Bytes below 0x80 that are not ASCII in swe7, and their code points; ascending.")
    print("#[rustfmt::skip]")
    print(f"pub(super) const SWE7_LOWER: [(u8, u16); {len(swaps)}] = [")
    for part in chunks((f"(0x{byte:02x}, 0x{point:04x})," for _, byte, point in swaps), 6):
        print("    " + " ".join(part))
    print("];")


def sequences(forms):
    for form in forms:
        ranges = [tuple(int(end, 16) for end in part.split("-")) for part in form.split()]
        for combination in itertools.product(*(range(low, high + 1) for low, high in ranges)):
            yield bytes(combination)


ORACLE = """
use std::io::{BufRead, Write};
fn main() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (label, hex) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        let encoding = match label {
            "BIG5" => encoding_rs::BIG5, "SHIFT_JIS" => encoding_rs::SHIFT_JIS, "EUC_KR" => encoding_rs::EUC_KR,
            "GBK" => encoding_rs::GBK, "EUC_JP" => encoding_rs::EUC_JP, _ => encoding_rs::GB18030,
        };
        let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes);
        let point = text.and_then(|text| { let mut c = text.chars(); c.next().filter(|_| c.next().is_none()) });
        writeln!(out, "{}", point.map_or(0xfffd, u32::from)).unwrap();
    }
}
"""


def library(queries):
    """What encoding_rs makes of (encoding, bytes) pairs."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "src").mkdir()
        (Path(folder) / "src/main.rs").write_text(ORACLE)
        (Path(folder) / "Cargo.toml").write_text(
            '[package]\nname = "oracle"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\nencoding_rs = "0.8"\n'
        )
        text = "".join(f"{encoding} {stored.hex()}\n" for encoding, stored in queries)
        done = subprocess.run(
            ["cargo", "run", "--quiet"], cwd=folder, input=text, capture_output=True, text=True, check=True
        )
        return [int(line) for line in done.stdout.split()]


def multi_byte(port):
    cursor = connect(port).cursor()
    print("//! Where MySQL's Asian character sets differ from encoding_rs. Made by")
    print("//! `tests/support/charset_tables.py`.")
    print("//!")
    print(f"//! Source: `CONVERT(... USING utf32)` of every byte sequence on MySQL {version(cursor)}.")
    print()
    print("/// First and last byte sequence, read as a big-endian number, and the code point of the first; the")
    print("/// code points of the others follow on. 0: MySQL knows no character there.")
    print("pub(super) type Exception = (u32, u32, u32);")
    for charset, (encoding, forms) in ASIAN.items():
        stored = sorted(sequences(forms), key=lambda one: (len(one), one))
        ours = decode_all(cursor, charset, stored)
        theirs = library((encoding, one) for one in stored)
        runs, previous = [], None
        for one, known in zip(stored, theirs, strict=True):
            point = ours[one] if ours[one] != UNMAPPED or one == bytes.fromhex("8431A437") else 0
            if point == (0 if known == UNMAPPED and one != bytes.fromhex("8431A437") else known):
                previous = None
                continue
            code = int.from_bytes(one)
            # A run goes on over codes that are no characters at all: they never get here.
            follows = previous is not None and (point == 0 == runs[-1][2] or (
                runs[-1][2] and code == runs[-1][1] + 1 and point == runs[-1][2] + code - runs[-1][0]
            ))
            if follows:
                runs[-1][1] = code
            else:
                runs.append([code, code, point])
            previous = one
        print("\n#[rustfmt::skip]")
        print(f"pub(super) const {charset.upper()}: [Exception; {len(runs)}] = [")
        texts = (f"(0x{first:_x}, 0x{last:_x}, 0x{point:_x})," for first, last, point in runs)
        for part in chunks(texts, 4):
            print("    " + " ".join(part))
        print("];")


IDENTIFIER_COLLATIONS = ("utf8mb3_general_ci", "utf8mb3_general1400_as_ci")


def weight_runs(weights):
    """(first, last, step, weight of the first, increment) of the characters that are not their own weight."""
    left, runs = {point: weight for point, weight in weights.items() if point != weight}, []
    while left:
        first, longest = min(left), 0
        for step, increment in itertools.product((1, 2, 3, 16), (0, 1, 2, 3, 16)):
            count = 1
            while left.get(first + count * step) == left[first] + count * increment:
                count += 1
            if count > longest:
                longest, run = count, (first, first + (count - 1) * step, step, left[first], increment)
        runs.append(run)
        for point in range(run[0], run[1] + 1, run[2]):
            del left[point]
    return runs


def weights(port):
    cursor = connect(port).cursor()
    print("//! Weights of characters in the collations that servers compare identifiers by. Made by")
    print("//! `tests/support/charset_tables.py`.")
    print("//!")
    print(f"//! Source: `WEIGHT_STRING` of every character on MariaDB {version(cursor)}.")
    print()
    print("/// Code points first to last in steps; weight of the first, and what each next one adds.")
    print("pub(super) type Run = (u16, u16, u8, u16, u8);")
    points = [point for point in range(0x10000) if not 0xD800 <= point < 0xE000]
    for collation in IDENTIFIER_COLLATIONS:
        found = {}
        for part in chunks(points, 500):
            rows = " UNION ALL ".join(f"SELECT {point} AS p, _utf16 x'{point:04x}' AS c" for point in part)
            cursor.execute(f"SELECT p, HEX(WEIGHT_STRING(CONVERT(c USING utf8mb3) COLLATE {collation})) FROM ({rows}) AS t")
            found.update((point, int(weight, 16)) for point, weight in cursor.fetchall())
        runs = weight_runs(found)
        print(f"\n/// `{collation}`: characters that are not their own weight, by the first of each run.")
        print("#[rustfmt::skip]")
        print(f"pub(super) const {collation.removeprefix('utf8mb3_').upper()}: [Run; {len(runs)}] = [")
        for part in chunks((f"(0x{f:04x}, 0x{l:04x}, {s}, 0x{w:04x}, {i})," for f, l, s, w, i in runs), 4):
            print("    " + " ".join(part))
        print("];")


def main(arguments):
    match arguments:
        case ["collations", *ports] if ports:
            collations(ports)
        case ["single-byte", port]:
            single_byte(port)
        case ["multi-byte", port]:
            multi_byte(port)
        case ["weights", port]:
            weights(port)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
