#!/usr/bin/env python3
"""Stages the race between delivery and visibility for Debezium's incremental snapshot.

    make deps demo-deps && benches/peers/fetch.sh
    .deps/venv/bin/python benches/peers/race/race.py file
    .deps/venv/bin/python benches/peers/race/race.py source

A MySQL 9.7 with semi-synchronous replication and no replica (`AFTER_SYNC`) sends a commit to replicas
and does not make it visible. Then an incremental snapshot is asked for, through a file (`read.only`) or
the table of signals; then the commit becomes visible. Prints what the engine handed on, and whether a
copy made of it, in its order, equals the table. Exits 1 if not.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pymysql

HERE = Path(__file__).resolve().parent
DEPS = HERE.parents[2] / ".deps"
PEER = DEPS / "peers/debezium"
SETUP = (
    "CREATE DATABASE race",
    "CREATE TABLE race.race (id INT PRIMARY KEY, v VARCHAR(10))",
    "CREATE TABLE race.signals (id VARCHAR(64) PRIMARY KEY, type VARCHAR(32), data VARCHAR(2048))",
    "INSERT INTO race.race VALUES (1, 'old'), (2, 'old')",
    "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
    "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
    "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'",
)
SNAPSHOT = {"data-collections": ["race.race"], "type": "incremental"}


class Server:
    """A MySQL of the tests, in a folder of its own."""

    def __init__(self, folder: Path, port: int):
        servers = json.loads((DEPS / "manifest.json").read_text())["servers"]
        program = next(server["mysqld"] for server in servers if server["name"] == "mysql-9.7")
        common = [program, "--no-defaults", f"--datadir={folder}/data", "--user=root"]
        log = open(folder / "server.log", "w")
        subprocess.run([*common, "--initialize-insecure"], stdout=log, stderr=log, check=True)
        self.port = port
        self.process = subprocess.Popen(
            [*common, f"--port={port}", "--bind-address=127.0.0.1", "--server-id=1", "--log-bin=binlog",
             "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--binlog-row-metadata=FULL", "--mysqlx=OFF",
             f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--tmpdir={folder}"],
            stdout=log, stderr=log)

    def connect(self):
        for _ in range(300):
            try:
                return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)
            except pymysql.err.OperationalError:
                time.sleep(0.2)
        raise SystemExit("the server does not start")

    def execute(self, *statements):
        with self.connect() as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def begin(self, statement):
        """Runs a statement whose end nobody waits for."""
        thread = threading.Thread(target=self.execute, args=(statement,), daemon=True)
        thread.start()
        return thread


class Engine:
    """Debezium's embedded engine, and what it has printed."""

    def __init__(self, server: Server, mode: str, folder: Path):
        classes = folder / "classes"
        libraries = f"{PEER}/lib/*"
        subprocess.run(["javac", "-cp", libraries, "-d", classes, HERE / "Race.java"], check=True)
        command = ["java", "-Xmx512m", "-cp", f"{classes}:{libraries}", "Race", "127.0.0.1", str(server.port), mode]
        self.process = subprocess.Popen(
            [*command, str(folder / "signals")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(folder / "engine.log", "w"), text=True)
        self.lines = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())
            print(f"  {line.strip()}", flush=True)

    def wait(self, front: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(line.startswith(front) for line in self.lines):
                return True
            time.sleep(0.05)
        return False

    def copy(self) -> dict[int, str]:
        rows = [line.split(" ", 3) for line in self.lines if line.startswith("row ")]
        return {int(key): value for _, _, key, value in rows}


def stage(server: Server, mode: str, folder: Path) -> bool:
    server.execute(*SETUP)
    (folder / "signals").touch()
    engine = Engine(server, mode, folder)
    try:
        for number in range(60):
            server.execute(f"REPLACE INTO race.race VALUES (100, 'warm {number}')")
            if engine.wait("row u 100", 1):
                break
        # Given an update that was delivered and is not visible
        server.execute("SET GLOBAL rpl_semi_sync_source_enabled = ON")
        update = server.begin("UPDATE race.race SET v = 'new' WHERE id = 1")
        delivered = engine.wait("row u 1 new", 30)
        seen = server.execute("SELECT v FROM race.race WHERE id = 1")[0][0]
        print(f"delivered: {delivered}; a SELECT shows: {seen}")
        # When a snapshot is asked for, and the update then becomes visible
        if mode == "source":
            server.begin(f"INSERT INTO race.signals VALUES ('1', 'execute-snapshot', '{json.dumps(SNAPSHOT)}')")
        else:
            signal = {"id": "1", "type": "execute-snapshot", "data": SNAPSHOT}
            (folder / "signals").write_text(json.dumps(signal) + "\n")
        time.sleep(10)
        server.execute("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        update.join(20)
        print(f"read: {engine.wait('row r 2', 60)}")
        for number in range(3):
            server.execute(f"REPLACE INTO race.race VALUES (100, 'end {number}')")
        engine.wait("row u 100 end 2", 30)
        # Then the copy is the table, or is not
        table = dict(server.execute("SELECT id, v FROM race.race"))
        print(f"table: {table}\ncopy:  {engine.copy()}")
        return engine.copy() == table
    finally:
        engine.process.kill()


def main() -> int:
    mode = sys.argv[1] if len(sys.argv) > 1 else "file"
    missing = [name for name in ("java", "javac") if shutil.which(name) is None]
    if missing or not (PEER / "lib").is_dir():
        print(f"skipped: {', '.join(missing) or 'Debezium'} is not here; see benches/peers/fetch.sh")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), 20_000 + os.getpid() % 10_000)
        try:
            is_equal = stage(server, mode, Path(folder))
        finally:
            server.process.terminate()
            server.process.wait()
    print(f"{mode}: the copy {'equals' if is_equal else 'DIFFERS FROM'} the table")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
