"""Rows decoded in a second by one core in each language, beside that language's plain parse of the same rows in
Debezium's JSON: `python clients/bench.py`, after `make client-deps`. Prints a table for docs/consume/libraries.md.

The rows are 500 updates of 7 columns. Decoding looks at each value; the parse does not.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
MESSAGES = ROOT / "target/clients/bench.json"
# The forms, as the Rust benchmark calls them.
FORMS = {"frame": "frame, decode", "zstd": "frame with zstd", "json": "JSON, the same", "debezium": "Debezium"}
LANGUAGES = {
    "Python": [sys.executable, "-B", HERE / "python/bench.py"],
    "TypeScript": ["node", HERE / "typescript/dist/examples/bench.js"],
    "Go": [ROOT / "target/clients/bench"],
    "Java": ["java", "-cp", f"{HERE}/java/examples/target/classes:{HERE}/java/examples/target/dependency/*",
             "binpulse.examples.Bench"],
}


def rust():
    """What the benchmark of Rust measures; it writes the messages too."""
    MESSAGES.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "BINPULSE_BENCH_MESSAGES": str(MESSAGES)}
    command = ["cargo", "bench", "--locked", "-p", "binpulse-client", "--bench", "decode"]
    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    rates = {line[:44].strip(): int(rate) for line in printed.splitlines()
             for rate in re.findall(r" (\d+) rows/s", line)}
    return {form: next(rate for name, rate in rates.items() if name.startswith(begin)) for form, begin in FORMS.items()}


def main():
    found = {"Rust": rust()}
    for language, command in LANGUAGES.items():
        if shutil.which(str(command[0])):
            printed = subprocess.run([*command, MESSAGES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
            found[language] = json.loads(printed)
        else:
            print(f"{language}: SKIPPED, {command[0]} not found", file=sys.stderr)
    print("| language | frame | frame with zstd | JSON format | Debezium's JSON, parsed only | ratio |")
    print("|---|---|---|---|---|---|")
    for language, rates in found.items():
        cells = [f"{round(rates[form], -2):,.0f}" for form in FORMS]
        print(f"| {language} | {' | '.join(cells)} | {rates['zstd'] / rates['debezium']:.1f} |")


if __name__ == "__main__":
    main()
