#!/usr/bin/env python3
"""Changes single points of the production code, and looks whether a test notices (cargo-mutants).

Usage: mutants.py [FOLDER...]; without one, each folder of FOLDERS in turn. Environment:

  MUTANTS_SAMPLE   mutants of each folder, chosen by MUTANTS_SEED (default 50; 0: all of them)
  MUTANTS_SEED     default 1
  MUTANTS_SHARD    k/n, from 0/n: every nth of the sample, to share the work between machines
  MUTANTS_TESTS    what must notice: arguments of `cargo test` (default: the unit and property tests)

Resumable: what was killed in an earlier run is not run again (target/mutants/FOLDER). Ends with 1 when
less than 90 % of a folder's mutants are killed, the ones in EQUIVALENT left out.
"""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "checkpoint": "src/checkpoint",
    "pack": "src/pack",
    "sink": "src/sink",
    "pipeline": "src/pipeline",
    "source": "src/source",
    "decode": "src/decode",
    "filter": "src/filter",
    "verdict": "src/freshness/verdict",
}
KILLED_MIN = 0.9
# Mutants that change nothing that anybody could see: (what cargo-mutants calls it, why).
EQUIVALENT = {
    "replace seed -> u64": "any seed of the pauses is as good as another",
    "replace ^ with | in seed": "any seed of the pauses is as good as another",
    "replace ^ with & in seed": "any seed of the pauses is as good as another",
    "replace & with | in seed": "any seed of the pauses is as good as another",
    "replace <= with < in route": "a table of one lane has lane 0, also by the hash of its key",
    "replace && with || in FileReader<R>::fill": "bytes move to the front of the buffer sooner",
    "replace > with >= in FileReader<R>::fill": "they move though they would fit, or by nothing",
    "replace Flow::has_batches -> bool with true": "nothing is handed on, which waits for nothing",
    # Found with a tool that also deletes statements and swaps methods, which cargo-mutants does not.
    "is_none_or for is_some_and in Accounting::certify": "the next line leaves the loop",
    "is_none_or for is_some_and in ClockOffset::observe": "an empty list is emptied",
    "is_none_or for is_some_and in Rate::advance": "no limit is lifted to none",
    "is_none_or for is_some_and in Pattern::ends_in_any": "no pattern is without parts",
    "accepted.is_empty() ignored in redrive": "the same file is written again",
    "no further permits in Dispatcher::hand_over": "the loop's next turn hands over the rest",
    "no scratch.clear() in partial::document": "the space is dropped at the end",
    "no early return in read_fraction": "no bytes make no fraction",
    "passed event queued in front in Decoder::query": "nothing else is queued then",
    "end of a status variable read in read_variables": "what is not understood ends it too",
    "no break behind a torn line in Log::replay": "there is no line behind it",
    "true for a closed file in Log::append": "a file that is not in place was seen before",
    "9 for 10 failures in Saving": "the pause has reached its bound by then",
    "no new group in Tracker::open_ack_group": "there always is one",
    "0 for NULL in known::read": "the columns are NOT NULL",
    "no last_table in Packer::first_slot": "it is a cache",
    "no unsaved delta in Saver::begin": "no other request is under way then",
    "no new Checksum in FileReader::advance": "the format description of the file begins it anew",
    "last for first in SetUp::query": "the answers have one row",
    "no full space in digit_text": "every number fits into 32 bytes",
    "same token again in part_matches": "the star there is taken up again",
}


def mutants(folder):
    """All mutants of a folder, without those of tests."""
    command = ["cargo", "mutants", "--list", "--json", "--file", f"{folder}/**/*.rs"]
    command += ["--exclude", "**/tests.rs", "--exclude", "**/tests/**", "--exclude", "**/model.rs"]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return sorted(mutant["name"] for mutant in found)


def chosen(names, name):
    """The sample, and of it this machine's share."""
    size = int(os.environ.get("MUTANTS_SAMPLE", "50"))
    if size:
        dice = random.Random(os.environ.get("MUTANTS_SEED", "1") + name)
        names = sorted(dice.sample(names, min(size, len(names))))
    k, n = map(int, os.environ.get("MUTANTS_SHARD", "0/1").split("/"))
    return names[k::n]


def run(mutants, output):
    """Tests mutants in a copy of the checkout; those that were caught before are left out."""
    command = ["cargo", "mutants", "--iterate", "--baseline", "skip", "--timeout", "300"]
    command += ["--build-timeout", "1800", "--output", str(output)]
    command += ["--re", "^(" + "|".join(map(re.escape, mutants)) + ")$", "--"]
    command += os.environ.get("MUTANTS_TESTS", "--lib").split()
    # Its exit code says that some survived; whatever else went wrong shows in what is missing below.
    subprocess.run(command, cwd=ROOT)


def listed(output, *names):
    """The mutants in these lists of cargo-mutants."""
    files = [output / "mutants.out" / f"{name}.txt" for name in names]
    return {line for file in files if file.exists() for line in file.read_text().splitlines()}


def main():
    passes = True
    for name in sys.argv[1:] or list(FOLDERS):
        output = ROOT / "target" / "mutants" / name
        output.mkdir(parents=True, exist_ok=True)
        sample = chosen(mutants(FOLDERS[name]), name)
        run(sample, output)
        killed = listed(output, "caught", "previously_caught", "timeout").intersection(sample)
        survived = listed(output, "missed").intersection(sample)
        excused = {mutant for mutant in survived if any(text in mutant for text in EQUIVALENT)}
        unviable = listed(output, "unviable").intersection(sample)
        untested = set(sample) - killed - survived - unviable
        survived -= excused
        print(f"{name}: {len(killed)} killed, {len(survived)} survived, {len(excused)} equivalent,", end=" ")
        print(f"{len(unviable)} did not compile, {len(untested)} not tested")
        for mutant in sorted(survived):
            print(f"  survived: {mutant}")
        passes = passes and not untested and len(killed) >= KILLED_MIN * (len(killed) + len(survived))
    sys.exit(0 if passes else 1)


if __name__ == "__main__":
    main()
