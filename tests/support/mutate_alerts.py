#!/usr/bin/env python3
"""Mutates each rule of the alerts, and says which mutants their promtool tests let survive.

A rule whose mutants survive is a rule that could be wrong without anybody noticing. Mutants that
cannot differ from the rule are listed in alerts/tests/equivalent.txt, each with its reason; one
that survives and is not listed fails the run, and so does an entry that no mutant needs.

    mutate_alerts.py [--promtool PATH] [--only PART_OF_A_NAME]

Each mutant costs one call of promtool or two: on the tests whose title names the alert (for a
recording rule, one of the alerts that are made of it) and, if it survives these, on the tests of
silence. Needs Python 3.11 and promtool, nothing else; writes only below a temporary folder.
"""

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "alerts"
RULES = Path("rules/binpulse.rules.yml")
TESTS = (ALERTS / "tests" / "alerts.yml", ALERTS / "tests" / "edges.yml")
QUIET = ALERTS / "tests" / "quiet.yml"
EQUIVALENT = ALERTS / "tests" / "equivalent.txt"

# What a comparison becomes.
FLIPPED = {">": "<", "<": ">", "==": "!=", "!=": "==", ">=": "<", "<=": ">"}
COMPARISON = re.compile(r"(?<![=!<>~])(==|!=|>=|<=|>|<)(?![=~\"])")
NUMBER = re.compile(r"(?<![\w.:\[\"])\d+(?:\.\d+)?(?![\w.\]])")
RANGE = re.compile(r"\[(\d+)([smh])(:\d+[smh])?\]")
DURATION = re.compile(r"(\d+)([smh])")
SET_OPERATOR = re.compile(r"\b(and|unless|or)\b(?:\s+on\s*\([^)]*\))?")
MATCHER = re.compile(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule of the file: where its text stands, and what it is about."""

    name: str
    is_alert: bool
    start: int
    end: int

    def text(self, rules: str) -> str:
        return rules[self.start : self.end]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A rule changed in one place."""

    rule: Rule
    what: str
    text: str

    def key(self) -> str:
        return f"{self.rule.name}: {self.what}"


def main() -> int:
    arguments = parse_arguments()
    rules = (ALERTS / RULES).read_text()
    parsed = list(find_rules(rules))
    mutants = [m for rule in parsed for m in mutate(rule, rules) if arguments.only in rule.name]
    excused = read_equivalent()
    started = time.monotonic()
    survivors = []
    with tempfile.TemporaryDirectory(prefix="binpulse-mutants-") as folder:
        bench = Bench(arguments.promtool, Path(folder), rules, parsed)
        bench.must_pass()
        for mutant in mutants:
            if bench.survives(mutant):
                survivors.append(mutant.key())
    return report(mutants, survivors, excused, arguments.only, time.monotonic() - started)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutates the alert rules and runs their tests.")
    parser.add_argument("--promtool", type=Path, default=None)
    parser.add_argument("--only", default="", help="only rules with this in their name")
    arguments = parser.parse_args()
    if arguments.promtool is None:
        manifest = json.loads((ROOT / ".deps" / "manifest.json").read_text())
        arguments.promtool = Path(manifest["tools"]["promtool"])
    return arguments


def report(
    mutants: list[Mutant], survivors: list[str], excused: dict[str, str], only: str, took: float
) -> int:
    wanted = {key for key in excused if only in key.split(":", 1)[0]} if only else set(excused)
    unexcused = [key for key in survivors if key not in excused]
    unneeded = sorted(wanted - set(survivors))
    killed = len(mutants) - len(survivors)
    print(
        f"{len(mutants)} mutants of {len({m.rule for m in mutants})} rules in {took:.0f} s: "
        f"{killed} killed, {len(survivors) - len(unexcused)} equivalent, {len(unexcused)} survive"
    )
    for key in unexcused:
        print(f"survives: {key}")
    for key in unneeded:
        print(f"listed as equivalent, but killed or not made: {key}")
    return 1 if unexcused or unneeded else 0


def read_equivalent() -> dict[str, str]:
    """Mutants that cannot be told from their rule, each with the reason."""
    entries = {}
    for line in EQUIVALENT.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            key, separator, reason = line.partition(" -- ")
            if not separator or not reason.strip():
                raise SystemExit(f"{EQUIVALENT.name}: no reason in: {line}")
            entries[key.strip()] = reason.strip()
    return entries


def find_rules(rules: str) -> Iterator[Rule]:
    """The rules, each from its dash to the next rule, group or comment between them."""
    starts = list(re.finditer(r"^      - (alert|record): (\S+)$", rules, re.MULTILINE))
    ends = [m.start() for m in re.finditer(r"^(?:      - |      # |  - |  # )", rules, re.MULTILINE)]
    for match in starts:
        end = next((end for end in ends if end > match.start()), len(rules))
        yield Rule(match[2], match[1] == "alert", match.start(), end)


def mutate(rule: Rule, rules: str) -> Iterator[Mutant]:
    """Every mutant of a rule, each made once."""
    text = rule.text(rules)
    seen = {text}
    for what, changed in [*mutate_expression(text), *mutate_for(text)]:
        if changed not in seen:
            seen.add(changed)
            yield Mutant(rule, what, changed)


def mutate_for(text: str) -> Iterator[tuple[str, str]]:
    match = re.search(r"^        for: (\d+)([smh])\n", text, re.MULTILINE)
    if match is None:
        return
    yield "for removed", text[: match.start()] + text[match.end() :]
    for factor in (0.5, 2):
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] * factor
        line = f"        for: {seconds:.0f}s\n"
        yield f"for x{factor}", text[: match.start()] + line + text[match.end() :]


def mutate_expression(text: str) -> Iterator[tuple[str, str]]:
    match = re.search(r"^        expr:(.*?)(?=^        \w+:|\Z)", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise SystemExit(f"a rule without an expression:\n{text}")
    expression = " ".join(match[1].replace(">-", " ", 1).split())
    head, tail = text[: match.start()], text[match.end() :]
    for what, changed in mutate_promql(expression):
        yield what, f"{head}        expr: >-\n          {changed}\n{tail}"


def mutate_promql(expression: str) -> Iterator[tuple[str, str]]:
    bare = blank_quotes(expression)
    yield from flip_comparisons(expression, bare)
    yield from scale_numbers(expression, bare)
    yield from scale_ranges(expression, bare)
    yield from drop_matchers(expression)
    yield from drop_operands(expression, bare)


def blank_quotes(expression: str) -> str:
    """The same text with what is in braces or quotes made blank: operators in there are none."""
    blank = re.sub(r"\{[^}]*\}", lambda m: " " * len(m[0]), expression)
    return re.sub(r"\"[^\"]*\"", lambda m: " " * len(m[0]), blank)


def replace(text: str, span: tuple[int, int], by: str) -> str:
    return text[: span[0]] + by + text[span[1] :]


def numbered(matches: list[re.Match[str]]) -> Iterator[tuple[str, re.Match[str]]]:
    """Each match with ` (n)` behind it where there are several: keys must differ."""
    for index, match in enumerate(matches, 1):
        yield (f" ({index})" if len(matches) > 1 else ""), match


def flip_comparisons(expression: str, bare: str) -> Iterator[tuple[str, str]]:
    for place, match in numbered(list(COMPARISON.finditer(bare))):
        flipped = FLIPPED[match[1]]
        yield f"{match[1]} to {flipped}{place}", replace(expression, match.span(), flipped)
        if match[1] in (">", "<"):
            yield f"{match[1]} to {match[1]}={place}", replace(
                expression, match.span(), match[1] + "="
            )


def scale_numbers(expression: str, bare: str) -> Iterator[tuple[str, str]]:
    for place, match in numbered(list(NUMBER.finditer(bare))):
        for factor in (0.5, 2):
            # Nothing is twice nothing: there the next whole number stands for larger.
            number = float(match[0]) * factor if float(match[0]) else factor
            yield f"{match[0]} to {number:g}{place}", replace(
                expression, match.span(), f"{number:g}"
            )


def scale_ranges(expression: str, bare: str) -> Iterator[tuple[str, str]]:
    for place, match in numbered(list(RANGE.finditer(bare))):
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
        for factor in (0.5, 2):
            yield f"{match[0]} x{factor}{place}", replace(
                expression, match.span(), f"[{seconds * factor:.0f}s{match[3] or ''}]"
            )


def drop_matchers(expression: str) -> Iterator[tuple[str, str]]:
    """Drops each label matcher, and each alternative of those with several."""
    for place, match in numbered(list(MATCHER.finditer(expression))):
        end = match.end()
        while end < len(expression) and expression[end] in ", ":
            end += 1
        start = match.start()
        if expression[end : end + 1] == "}":
            # The last of several leaves the comma before it behind.
            start = len(expression[:start].rstrip(" ,"))
        yield f"{match[0]} dropped{place}", replace(expression, (start, end), "")
        alternatives = match[3].split("|")
        for alternative in alternatives if len(alternatives) > 1 else []:
            rest = "|".join(other for other in alternatives if other != alternative)
            kept = f'{match[1]}{match[2]}"{rest}"'
            yield f"{match[1]}{match[2]} without {alternative}{place}", replace(
                expression, match.span(), kept
            )


def drop_operands(expression: str, bare: str) -> Iterator[tuple[str, str]]:
    """Drops either side of each `and`, `unless` and `or` that stands in no parentheses."""
    operators = [m for m in SET_OPERATOR.finditer(bare) if depth(bare, m.start()) == 0]
    for place, match in numbered(operators):
        left = max((m.end() for m in operators if m.end() <= match.start()), default=0)
        right = min(
            (m.start() for m in operators if m.start() >= match.end()), default=len(expression)
        )
        yield f"{match[1]} without its right{place}", replace(
            expression, (match.start(), right), ""
        )
        yield f"{match[1]} without its left{place}", replace(expression, (left, match.end()), " ")


def depth(text: str, at: int) -> int:
    return text.count("(", 0, at) - text.count(")", 0, at)


class Bench:
    """Runs tests against mutants, in a folder of its own."""

    def __init__(self, promtool: Path, folder: Path, rules: str, parsed: list[Rule]) -> None:
        self.promtool = promtool
        self.folder = folder
        self.rules = rules
        self.parsed = parsed
        files = [split_tests(path.read_text()) for path in TESTS]
        # Both evaluate alike.
        self.head = files[0][0]
        self.blocks = [block for _, blocks in files for block in blocks]
        (folder / "rules").mkdir()
        (folder / "tests").mkdir()
        (folder / "tests" / "quiet.yml").write_text(QUIET.read_text())

    def must_pass(self) -> None:
        """Nothing follows from mutants of rules that fail as they are."""
        (self.folder / RULES).write_text(self.rules)
        blocks = "".join(text for _, text in self.blocks)
        (self.folder / "tests" / "all.yml").write_text(self.head + blocks)
        for name in ("all.yml", "quiet.yml"):
            if not self.passes(name):
                raise SystemExit(f"the rules do not pass {name} as they are")

    def survives(self, mutant: Mutant) -> bool:
        text = self.rules
        text = text[: mutant.rule.start] + mutant.text + text[mutant.rule.end :]
        (self.folder / RULES).write_text(text)
        blocks = "".join(self.concerning(mutant.rule))
        if not blocks:
            return self.passes("quiet.yml")
        (self.folder / "tests" / "few.yml").write_text(self.head + blocks)
        return self.passes("few.yml") and self.passes("quiet.yml")

    def passes(self, name: str) -> bool:
        command = [str(self.promtool), "test", "rules", name]
        found = subprocess.run(
            command, cwd=self.folder / "tests", capture_output=True, timeout=120, check=False
        )
        if b"parse error" in found.stdout + found.stderr:
            # What no Prometheus would load proves nothing of the tests.
            raise SystemExit(f"not a rule: {(self.folder / RULES).read_text()}\n{found.stderr!r}")
        return found.returncode == 0

    def concerning(self, rule: Rule) -> list[str]:
        """Tests whose title names the alert, or one that is made of the recorded series."""
        names = {rule.name}
        while True:
            users = {
                other.name
                for other in self.parsed
                if any(":" in name and name in other.text(self.rules) for name in names)
            }
            if users <= names:
                break
            names |= users
        return [block for title, block in self.blocks if title in names]


def split_tests(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What stands above the tests, and each test with the alert that its title begins with."""
    titles = list(re.finditer(r"^  # ([\w:]*\w): .*$", text, re.MULTILINE))
    ends = [match.start() for match in titles[1:]] + [len(text)]
    blocks = [(m[1], text[m.start() : end].rstrip() + "\n\n") for m, end in zip(titles, ends)]
    return text[: titles[0].start()], blocks


if __name__ == "__main__":
    sys.exit(main())
