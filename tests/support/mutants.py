#!/usr/bin/env python3
"""Changes single points of the production code, and looks whether a test notices.

Usage: mutants.py [FOLDER...]; without one, each folder of FOLDERS. cargo-mutants lists the mutants. All of
them go into one copy of the checkout and one build, each behind a switch (mutant_switches.py), so that a
mutant costs no build. A first run of the tests tells which test reaches which mutant: only these run again
with the mutant on, and what no test reaches has survived. What is computed by the compiler (constants)
cannot be switched, and is left out.

  MUTANTS_SAMPLE   mutants of each folder, chosen by MUTANTS_SEED (default 50; 0: all of them)
  MUTANTS_SEED     default 1; several with commas: a sample for each
  MUTANTS_SHARD    k/n, from 0/n: every nth of the sample, to share the work between machines
  MUTANTS_TESTS    what must notice: targets of `cargo test` (default "--lib", the unit and property tests)

Resumable: what was killed in an earlier run is not run again (target/mutants/killed.txt, refused.json: remove
them after a change of the production code). Ends with 1 when less than 90 % of a folder's mutants are killed, the ones in
EQUIVALENT left out.
"""

import collections
import json
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import mutant_switches as switches

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "mutants"
TREE = OUT / "tree"
REFUSED = OUT / "refused.json"
BUILD = {**os.environ, "CARGO_TARGET_DIR": str(OUT / "build"), "CARGO_INCREMENTAL": "1"}
TARGETS = os.environ.get("MUTANTS_TESTS", "--lib").split()
SAMPLE = int(os.environ.get("MUTANTS_SAMPLE", "50"))
SEEDS = os.environ.get("MUTANTS_SEED", "1").split(",")
# A mutant that never ends: no test has ended for so many seconds of the processor's time, or of the clock's.
BUSY, SILENCE = 40, 900
MEMORY = 8 << 30
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
    "replace | with ^ in maria": "the two flags are different bits",
    "replace | with ^ in Entry::to_bytes": "the parts are different bits",
    "replace * with + in Packer::note_opening": "what is no longer current is left out sooner",
    "replace Snapshots::is_open_for -> bool with true": "the row is then told to no window, as none is of its table",
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


def mutants():
    """All mutants of each folder, without those of tests."""
    command = ["cargo", "mutants", "--list", "--json"]
    command += [f"--file={folder}/**/*.rs" for folder in FOLDERS.values()]
    command += ["--exclude", "**/tests.rs", "--exclude", "**/tests/**", "--exclude", "**/model.rs"]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return {
        name: {mutant["name"]: mutant for mutant in found if mutant["file"].startswith(f"{folder}/")}
        for name, folder in FOLDERS.items()
    }


class Tree:
    """A copy of the checkout, with the mutants in it, and the test programs that are built from it."""

    def __init__(self, found):
        self.found = sorted(found.values(), key=lambda mutant: mutant["name"])
        self.numbers = {mutant["name"]: number for number, mutant in enumerate(self.found, 1)}
        self.known = json.loads(REFUSED.read_text()) if REFUSED.exists() else {}
        # number -> why it is not behind a switch
        self.refused = {self.numbers[name]: why for name, why in self.known.items() if name in self.numbers}
        self.files = {}
        for mutant in self.found:
            self.files.setdefault(mutant["file"], []).append(mutant)
        self.texts = {}  # As they were when the run began, whatever is edited meanwhile.
        self.programs = {}

    def build(self):
        """Takes out what does not compile until the rest does."""
        self.copy()
        for attempt in range(20):
            errors = self.compile()
            if not errors:
                return
            blamed = self.blame(errors)
            print(f"build {attempt + 1}: {len(errors)} errors, {len(blamed)} mutants taken out", flush=True)
            if not blamed:
                sys.exit("the changed source does not compile: " + "".join(errors[0]["rendered"]))
            self.refused.update(blamed)
            self.known.update({self.found[at - 1]["name"]: why for at, why in self.refused.items()})
            REFUSED.write_text(json.dumps(self.known))
            self.copy()
        sys.exit("the changed source does not compile")

    def copy(self):
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        wanted = {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}
        for name in wanted:
            self.texts.setdefault(name, (ROOT / name).read_bytes())
            put(TREE / name, self.changed(name))
            (TREE / name).chmod((ROOT / name).stat().st_mode)
        put(TREE / f"src/{switches.MODULE}.rs", switches.SOURCE.encode())
        kept = wanted | {f"src/{switches.MODULE}.rs"}
        for path in TREE.rglob("*"):
            if path.is_file() and not path.is_symlink() and str(path.relative_to(TREE)) not in kept:
                path.unlink()

    def changed(self, name):
        text = self.texts[name]
        if name == "src/lib.rs":
            return text.replace(b"#![allow(", b"#![allow(warnings)]\n#![allow(", 1) + (
                f"mod {switches.MODULE};\n".encode()
            )
        if name not in self.files:
            return text
        file = switches.File(text.decode())
        for mutant in self.files[name]:
            number = self.numbers[mutant["name"]]
            if number not in self.refused and (refused := file.add(number, mutant)):
                self.refused[number] = refused
        return file.switched().encode()

    def compile(self):
        """The errors of a build; the test programs where there are none."""
        command = ["cargo", "test", "--no-run", "--offline", *TARGETS, "--message-format", "json"]
        run = subprocess.run(command, cwd=TREE, env=BUILD, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith(b"{")]
        errors = [m["message"] for m in messages if m["reason"] == "compiler-message"]
        errors = [error for error in errors if error["level"] == "error" and error["spans"]]
        if run.returncode and not errors:
            sys.exit(run.stderr.decode())
        artifacts = [m for m in messages if m["reason"] == "compiler-artifact" and m["executable"]]
        self.programs = {m["target"]["name"]: m["executable"] for m in artifacts if m["profile"]["test"]}
        return errors

    def blame(self, errors):
        found = {}
        for error in errors:
            for span in sorted(error["spans"], key=lambda span: not span["is_primary"]):
                path = TREE / span["file_name"]
                if span["file_name"] not in self.files:
                    continue
                data = path.read_bytes()
                if (error["code"] or {}).get("code") == "E0004":
                    arms = switches.deleted_arms(data.decode(), span["byte_start"])
                    found.update(dict.fromkeys(arms, "does not compile"))
                    break
                start, end = (len(data[: span[at]].decode()) for at in ("byte_start", "byte_end"))
                why, numbers = switches.blamed(data.decode(), start, end)
                if numbers:
                    found.update(dict.fromkeys(numbers, why))
                    break
        if not found:
            for span in (span for error in errors for span in error["spans"] if span["file_name"] in self.files):
                text = (TREE / span["file_name"]).read_text()
                bodies = switches.replaced_bodies(text, span["byte_start"])
                found.update(dict.fromkeys(bodies, "not behind a switch"))
        return found


def put(path, data):
    """Writes a file, if it is another: the compiler looks at its time."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Tests:
    """The test programs, and which test reaches which mutant."""

    def __init__(self, programs):
        self.programs = programs
        self.reached = collections.defaultdict(lambda: collections.defaultdict(set))
        self.names = {}
        self.seconds = {}
        for label, program in programs.items():
            self.watch(label, program)

    def watch(self, label, program):
        """Runs all tests of a program, unless that was done since it was built."""
        reached, told = OUT / f"reached-{label}.txt", OUT / f"tests-{label}.txt"
        if not told.exists() or told.stat().st_mtime < Path(program).stat().st_mtime:
            reached.unlink(missing_ok=True)
            # It tells the time of each test to those who may use what is not stable.
            variables = {"BINPULSE_MUTANTS_REACHED": str(reached), "RUSTC_BOOTSTRAP": "1"}
            command = [program, "-Zunstable-options", "--report-time"]
            run = subprocess.run(command, cwd=TREE, env=environment(variables), stdout=subprocess.PIPE)
            told.write_bytes(run.stdout)
        line = r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED) <([0-9.]+)s>"
        found = re.findall(line, told.read_text(), re.M)
        self.seconds.update({(label, name): float(seconds) for name, _, seconds in found})
        self.names[label] = {name for name, result, _ in found if result == "ok"}
        for line in reached.read_text().splitlines():
            number, thread = line.split("\t")
            self.reached[int(number)][label].add(thread)
        broken = sorted({name for name, *_ in found} - self.names[label])
        print(f"{label}: {len(found)} tests; without a mutant fail, and are left out: {broken}", flush=True)

    def kill(self, number, home):
        """The test that notices a mutant, the quick ones first; None if none does."""
        for label, threads in self.reached[number].items():
            names = self.names[label]
            near = {name for name in names if name.startswith(home)}
            # Behind a thread without a test's name may be any test, most likely one of its own folder.
            others = [near, names] if any("::" not in thread for thread in threads) else []
            done = set()
            for candidates in [threads & names, *others]:
                for group in self.by_time(label, candidates - done):
                    if noticed := self.fails(label, group, {"BINPULSE_MUTANT": str(number)}):
                        return noticed
                done |= candidates
        return None

    def by_time(self, label, names):
        """Tests in groups: the first takes a moment, each next one eight times as long."""
        groups, most, total = [set()], 0.2, 0.0
        for name in sorted(names, key=lambda name: self.seconds[label, name]):
            total += self.seconds[label, name]
            if total > most and groups[-1]:
                groups.append(set())
                most, total = most * 8, self.seconds[label, name]
            groups[-1].add(name)
        return [group for group in groups if group]

    def fails(self, label, names, variables):
        """The first of these tests that fails."""
        command = [self.programs[label], "--exact", *sorted(names)]
        process = subprocess.Popen(
            command,
            cwd=TREE,
            env=environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=limited,
        )
        try:
            return self.first_failure(process)
        finally:
            with_group(process)

    @staticmethod
    def first_failure(process):
        text, since, used = b"", time.monotonic(), 0.0
        while True:
            if select.select([process.stdout], [], [], 2)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                text += data
                failed = re.search(rb"^test (\S+)(?: - should panic)? \.\.\. FAILED", text, re.M)
                if failed:
                    return failed[1].decode()
                if not data:
                    return "abort" if process.wait() else None
                if b" ok\n" in data:
                    since, used = time.monotonic(), processor_time(process)
            if processor_time(process) - used > BUSY or time.monotonic() - since > SILENCE:
                return "no end"


def processor_time(process):
    """Seconds that a process has used, which tells a loop from a machine that does other things."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limited():
    """What a mutant may take: it may allocate without end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(12)


def with_group(process):
    """Ends a test program and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.stdout.close()
    process.wait()


def environment(variables):
    return {**os.environ, "CARGO_MANIFEST_DIR": str(TREE), "RUST_TEST_THREADS": "2", **variables}


def shuffled(names, name, seed):
    names = sorted(names)
    random.Random(seed + name).shuffle(names)
    return names


def chosen(names, name, seed, tree):
    """The sample of those that compile, and of it this machine's share."""
    names = [one for one in shuffled(names, name, seed) if one in tree.numbers]
    names = [one for one in names if tree.numbers[one] not in tree.refused]
    k, n = map(int, os.environ.get("MUTANTS_SHARD", "0/1").split("/"))
    return sorted(names[:SAMPLE] if SAMPLE else names)[k::n]


def measure(name, sample, tree, tests):
    """What became of each mutant of a sample: the test that killed it, or None."""
    home = FOLDERS[name].removeprefix("src/").replace("/", "::") + "::"
    record = OUT / "killed.txt"
    known = dict(line.split("\t") for line in record.read_text().splitlines()) if record.exists() else {}
    outcome = {}
    for mutant in sample:
        if mutant in known:
            outcome[mutant] = known[mutant]
            continue
        number = tree.numbers[mutant]
        noticed = tests.kill(number, home)
        outcome[mutant] = noticed
        if noticed:
            with record.open("a") as file:
                file.write(f"{mutant}\t{noticed}\n")
        if not noticed:
            reached = "" if tests.reached.get(number) else " (no test reaches it)"
            print(f"  survived: {mutant}{reached}", flush=True)
    return outcome


def main():
    names = sys.argv[1:] or list(FOLDERS)
    found = mutants()
    OUT.mkdir(parents=True, exist_ok=True)
    # Some of a sample do not compile: others then take their place.
    taken = {}
    for name in names:
        for seed in SEEDS:
            order = shuffled(found[name], name, seed)
            taken.update((one, found[name][one]) for one in (order[: SAMPLE * 3 // 2] if SAMPLE else order))
    tree = Tree(taken)
    tree.build()
    tests = Tests(tree.programs)
    rows = []
    for seed in SEEDS:
        for name in names:
            print(f"{name}, seed {seed}:", flush=True)
            outcome = measure(name, chosen(found[name], name, seed, tree), tree, tests)
            survived = [one for one, by in outcome.items() if not by]
            excused = [one for one in survived if any(text in one for text in EQUIVALENT)]
            killed = sum(by is not None for by in outcome.values())
            rows.append((name, len(found[name]), seed, killed, len(excused), len(survived) - len(excused)))
    print("\n| folder | mutants | seed | killed | equivalent | survived |\n|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    sys.exit(any(killed < KILLED_MIN * (killed + survived) for _, _, _, killed, _, survived in rows))


if __name__ == "__main__":
    main()
