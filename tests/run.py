#!/usr/bin/env python3
"""Runs the whole test suite, and says what took longest: `make test`.

Builds every test program, then runs them in two lines that share the processors. The live tests mostly wait, for
servers and for time to pass, so that they are a line of their own beside all the others. What a program prints is
shown when it ends. A program that fails does not stop the others.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CARGO = ["cargo", "test", "--locked", "--workspace"]
# The one that waits.
WAITING = "live"
# Heads the list of a program's longest tests, as tests/support/longest.rs prints it.
LONGEST = "took longest:"
SHOWN = 15


def build():
    """The test programs: name, path, and the folder that each runs in."""
    command = [*CARGO, "--no-run", "--message-format=json-render-diagnostics"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as cargo:
        messages = [json.loads(line) for line in cargo.stdout if line.startswith("{")]
    if cargo.returncode != 0:
        raise SystemExit(cargo.returncode)
    made = [message for message in messages
            if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]]
    return [(name_of(message), [message["executable"]], pathlib.Path(message["manifest_path"]).parent)
            for message in made]


def name_of(message):
    """`live`, or `binpulse (unit tests)`: libraries and programs may share a name with a test."""
    target = message["target"]
    return target["name"] if target["kind"] == ["test"] else f"{target['name']} (unit tests of the {target['kind'][0]})"


class Results:
    """What ended so far."""

    def __init__(self):
        self.lock = threading.Lock()
        self.programs = []
        self.tests = []
        self.failed = []

    def run(self, programs):
        for name, command, folder in programs:
            began = time.monotonic()
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.add(name, done.returncode, time.monotonic() - began, done.stdout.decode(errors="replace"))

    def add(self, name, code, seconds, output):
        with self.lock:
            how = "passed" if code == 0 else f"FAILED with status {code}"
            print(f"\n==== {name}: {how} in {seconds:.1f} s\n{output}", flush=True)
            self.programs.append((seconds, name))
            if code != 0:
                self.failed.append(name)
            listed = output.partition(f"\n{LONGEST}\n")[2]
            for line in listed.splitlines():
                taken, unit, test = (line.split(maxsplit=2) + ["", "", ""])[:3]
                if unit != "s":
                    break
                self.tests.append((float(taken), f"{name}: {test}"))

    def tell(self, took_build, took_tests):
        print(f"\n==== built in {took_build:.0f} s, tested in {took_tests:.0f} s; {LONGEST}")
        for title, entries in (("programs", self.programs), ("tests", self.tests)):
            print(f"{title}:")
            for seconds, name in sorted(entries, reverse=True)[:SHOWN]:
                print(f"{seconds:8.1f} s  {name}")
        for name in self.failed:
            print(f"FAILED: {name}")


def main():
    began = time.monotonic()
    programs = build()
    built = time.monotonic()
    waiting = [program for program in programs if program[0] == WAITING]
    others = [program for program in programs if program[0] != WAITING]
    others.append(("documentation", [*CARGO, "--doc"], ROOT))
    results = Results()
    beside = threading.Thread(target=results.run, args=(waiting,))
    beside.start()
    results.run(others)
    beside.join()
    results.tell(built - began, time.monotonic() - built)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
