"""Reads row events with python-mysql-replication and counts their rows.

usage: python.py HOST PORT ROWS

Only row events are asked for, nothing is logged, and column names are cached: the fastest setting
that the library has. Each row is the dictionary of values that its API gives.
"""

import sys

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent


def main() -> None:
    host, port, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    stream = BinLogStreamReader(
        connection_settings={"host": host, "port": port, "user": "root", "passwd": ""},
        server_id=4_000_000_011,
        resume_stream=True,
        log_file="binlog.000001",
        log_pos=4,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        enable_logging=False,
        use_column_name_cache=True,
        blocking=True,
    )
    rows = 0
    for event in stream:
        rows += len(event.rows)
        if rows >= wanted:
            break
    print(rows)
    stream.close()


main()
