"""Rows a second: see clients/bench.py."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "src"))

from binpulse_client import decode, rows  # noqa: E402


def rate(work):
    """Rows a second of what takes a batch of rows."""
    work()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 2:
        count += work()
    return count / (time.perf_counter() - started)


def decoded(body):
    count = 0
    for row in rows(decode(body).value):
        present = sum(value is not None for image in (row.before, row.after) for value in image.values())
        count += present > 0
    return count


messages = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
rates = {form: rate(lambda form=form: decoded(messages[form])) for form in ("frame", "zstd", "json")}
documents = messages["debezium"]
rates["debezium"] = rate(lambda: sum("payload" in json.loads(text) or 1 for text in documents))
print(json.dumps(rates))
