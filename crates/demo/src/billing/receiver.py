"""A receiver of webhooks as a customer would write it: it charges once for each webhook id.

Requests are verified by the library of Standard Webhooks. In one transaction of its own database
the id is noted and the charges are made; an id that is there already charges nothing. It counts
each request, and now and then it fails: before it has charged, after it has, or by an answer that
comes too late. PORT, WEBHOOK_SECRET, DATABASE and SEED are environment variables.
"""

import json
import os
import random
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

# Of 1,000 requests.
FAIL_BEFORE, FAIL_AFTER, LATE = 5, 5, 1
LATE_SECONDS = 1.5

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
dice = random.Random(int(os.environ["SEED"]))
lock = threading.Lock()
database = sqlite3.connect(os.environ["DATABASE"], check_same_thread=False)
database.executescript("""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;
    CREATE TABLE IF NOT EXISTS requests (
        id TEXT PRIMARY KEY, times INTEGER NOT NULL, failed INTEGER NOT NULL, charged INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS charges (
        charge INTEGER PRIMARY KEY, times INTEGER NOT NULL, cents INTEGER NOT NULL
    );
""")


def charges_in(document):
    """Charge and cents of each new row: of binpulse's JSON, or of Debezium's."""
    if "data" in document:
        rows = [row for row in document["data"] if row["table"] == "charges"]
    else:
        rows = [document.get("payload", document)]
        rows = [row for row in rows if row.get("source", {}).get("table") == "charges"]
    return [(row["after"]["id"], row["after"]["cents"]) for row in rows if row.get("after")]


def charge(webhook_id, charges, fault):
    with lock, database:  # one transaction: the id, and what it is charged for
        database.execute(
            "INSERT INTO requests VALUES (?, 1, ?, 0) ON CONFLICT (id) DO UPDATE"
            " SET times = times + 1, failed = failed + excluded.failed",
            (webhook_id, int(fault is not None)),
        )
        if fault == "before":
            return
        is_new = database.execute(
            "UPDATE requests SET charged = 1 WHERE id = ? AND charged = 0", (webhook_id,)
        ).rowcount
        if is_new:
            database.executemany(
                "INSERT INTO charges VALUES (?, 1, ?) ON CONFLICT (charge) DO UPDATE"
                " SET times = times + 1, cents = cents + excluded.cents",
                charges,
            )


def counts():
    requests = "SELECT count(*), total(times), total(times > 1), total(failed) FROM requests"
    charges = "SELECT count(*), total(times), total(times > 1), total(cents) FROM charges"
    with lock:
        ids, times, again, failed = database.execute(requests).fetchone()
        charges, charged, twice, cents = database.execute(charges).fetchone()
    return {
        "ids": ids, "requests": int(times), "ids_again": int(again), "failed": int(failed),
        "charges": charges, "charged": int(charged), "twice": int(twice), "cents": int(cents),
    }


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            webhook.verify(body, dict(self.headers), json_parse=False)
        except WebhookVerificationError:
            return self.answer(401)
        with lock:
            die = dice.randrange(1000)
        fault = None
        if die < FAIL_BEFORE:
            fault = "before"
        elif die < FAIL_BEFORE + FAIL_AFTER:
            fault = "after"
        elif die < FAIL_BEFORE + FAIL_AFTER + LATE:
            fault = "late"
        charge(self.headers["webhook-id"], charges_in(json.loads(body)), fault)
        if fault == "late":
            time.sleep(LATE_SECONDS)
        self.answer(500 if fault in ("before", "after") else 204)

    def do_GET(self):
        self.answer(200, json.dumps(counts()).encode())

    def answer(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):  # who waited for an answer is gone
        pass


Server(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
