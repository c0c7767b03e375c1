"""Reads row events with python-mysql-replication; see ../README.md for how it is called.

Only row events are asked for, nothing is logged, and column names are cached: the fastest setting
that the library has. Each row is the dictionary of values that its API gives.
"""

import importlib.metadata
import json
import sys
import time

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent


def main() -> None:
    host, port, file, position, wanted, seconds = sys.argv[1:7]
    wanted, seconds, has_ages = int(wanted), float(seconds), sys.argv[7:] == ["ages"]
    stream = BinLogStreamReader(
        connection_settings={"host": host, "port": int(port), "user": "root", "passwd": ""},
        server_id=4_000_000_011,
        resume_stream=True,
        log_file=file,
        log_pos=int(position),
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        enable_logging=False,
        use_column_name_cache=True,
        blocking=True,
    )
    rows, until, ages_us = 0, None, []
    for event in stream:
        values = event.rows
        if until is None:
            until = time.monotonic() + seconds
            print("reading", flush=True)
        if has_ages:
            now_us = time.time_ns() // 1000
            due = (row["values"]["due_us"] for row in values)
            ages_us.extend(now_us - due_us for due_us in due if due_us)
            rows = len(ages_us)
        else:
            rows += len(values)
        if rows >= wanted or time.monotonic() >= until:
            break
    name = "python-mysql-replication " + importlib.metadata.version("mysql-replication")
    print(json.dumps({"reader": name, "rows": rows, "ages_us": ages_us}), flush=True)
    sys.stdin.read()


main()
