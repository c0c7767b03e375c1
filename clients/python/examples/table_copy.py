"""A copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
transaction of the rows. The tables are there already, with the columns of the source's."""

import os
import struct
import time

import pymysql
from binpulse_client import ABSENT, Decision, Freshness, JsonDiff, Ledger, MalformedText, Omitted, SqlStore, rows


class Copy:
    def __init__(self):
        self.db = pymysql.connect(
            host=os.environ.get("MYSQL_HOST", "127.0.0.1"), port=int(os.environ.get("MYSQL_PORT", "3306")), user="root",
            charset="utf8mb4", autocommit=False, binary_prefix=True,
            init_command="SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0")
        with self.db.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS binpulse_consumer")
            self.db.select_db("binpulse_consumer")
            cursor.execute(SqlStore.TABLE + " COLLATE utf8mb4_bin")
        self.store = SqlStore(self.db, placeholder="%s")
        self.ledger, self.freshness, self.applied = Ledger(self.store), Freshness(), 0

    def take(self, content):
        """Takes a message; whether it is done with: else rows before it have not come."""
        if content.kind == "canary":
            self.freshness.observe(content.value)
            self.ledger.watermark(content.value, time.monotonic())
        elif content.kind == "suppressed":
            self.ledger.suppressed(content.value, time.monotonic(), self._save)
        elif content.kind == "change":
            batch = content.value
            due = list(rows(batch))

            def run(change):
                try:
                    with self.db.cursor() as cursor:
                        for row in due[change.skip:change.skip + change.take]:
                            apply(cursor, batch.table, row)
                    self._save(change)
                except BaseException:
                    self.db.rollback()
                    raise
                self.applied += change.take

            return self.ledger.take(batch, time.monotonic(), run) is not Decision.WAIT
        return True

    def _save(self, change):
        self.store.save(change)
        self.db.commit()


def bound(value):
    """A value as MySQL takes it."""
    if value is ABSENT or isinstance(value, (Omitted, JsonDiff, MalformedText)):
        raise ValueError("a value that this copy can't have: read the row from the source")
    if isinstance(value, list):
        return struct.pack(f"<{len(value)}f", *value)
    for plain in (str, bytes, int):  # the driver knows no classes made of these
        if isinstance(value, plain):
            return plain(value)
    return value


def quoted(name):
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def apply(cursor, table, row):
    """Applies one row."""
    name = f"{quoted(table.database)}.{quoted(table.table)}"
    key = [table.columns[at].name for at in table.primary_key]
    before, after = ([bound(image[column]) for column in key] if image else None for image in (row.before, row.after))
    if before and before != after:
        where = " AND ".join(f"{quoted(column)} = %s" for column in key)
        cursor.execute(f"DELETE FROM {name} WHERE {where}", before)
    if after:
        values = {column: bound(value) for column, value in row.after.items() if value is not ABSENT}
        columns = ", ".join(map(quoted, values))
        places = ", ".join(["%s"] * len(values))
        updates = ", ".join(f"{quoted(column)} = VALUES({quoted(column)})" for column in values)
        cursor.execute(
            f"INSERT INTO {name} ({columns}) VALUES ({places}) ON DUPLICATE KEY UPDATE {updates}", [*values.values()])
