"""Ledgers over their stores: what is applied once, whatever fails. BINPULSE_TEST_REDIS=host:port tests Redis too."""

import os
import pathlib
import socket
import sqlite3
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "src"))

import binpulse_client as binpulse  # noqa: E402
from binpulse_client import contract  # noqa: E402

SKIP, WAIT = binpulse.Decision.SKIP, binpulse.Decision.WAIT


def batch(first, count=1):
    source = contract.Source(stream="shop", epoch=1)
    return contract.ChangeBatch(source=source, lane="shop.t#0", sequence_first=first,
                                rows=[contract.Row() for _ in range(count)])


class Redis:
    """As much of a client as the stores need."""

    def __init__(self):
        host, port = os.environ["BINPULSE_TEST_REDIS"].split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._file = self._socket.makefile("rb")
        self.execute_command("FLUSHALL")

    def execute_command(self, *words):
        words = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
        self._socket.sendall(b"".join(parts))
        kind, rest = (line := self._file.readline())[:1], line[1:].strip()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        return int(rest) if kind == b":" else rest

    def close(self):
        self._file.close()
        self._socket.close()


class Stores(unittest.TestCase):
    def history(self, store, save):
        """What each store must do; `save` is called with a change and the numbers that it applies."""
        applied, is_broken = [], False

        def take(ledger, first, count=1):
            def apply(change):
                numbers = range(first + change.skip, first + change.skip + change.take)
                save(change, numbers, is_broken)
                applied.extend(numbers)
            return ledger.take(batch(first, count), 0, apply)

        one = binpulse.Ledger(store)
        self.assertIs(take(one, 1, 3), SKIP)
        is_broken = True
        self.assertRaises(ZeroDivisionError, take, one, 4)
        is_broken = False
        held = contract.Suppressed(source=batch(1).source, lane="shop.t#0", sequence_first=4, count=3)
        one.suppressed(held, 0)
        self.assertIs(take(one, 7, 2), SKIP)
        self.assertIs(take(one, 10), WAIT)
        # A new process; rows that were suppressed come after all, packed with others.
        two = binpulse.Ledger(store)
        self.assertIs(take(two, 1, 5), SKIP)
        self.assertIs(take(two, 3, 7), SKIP)
        self.assertEqual(applied, [1, 2, 3, 7, 8, 4, 5, 6, 9])
        # The first process did not notice.
        self.assertRaises(Exception, take, one, 9)
        self.assertIs(take(one, 9), SKIP)
        self.assertIs(take(one, 10), SKIP)
        self.assertEqual(applied, [1, 2, 3, 7, 8, 4, 5, 6, 9, 10])
        return applied

    def test_numbers_in_the_transaction_of_a_database(self):
        db = sqlite3.connect(":memory:")
        db.execute(binpulse.SqlStore.TABLE)
        db.execute("CREATE TABLE copy (number INTEGER)")
        store = binpulse.SqlStore(db)

        def save(change, numbers, is_broken):
            with db:
                db.executemany("INSERT INTO copy VALUES (?)", [(number,) for number in numbers])
                store.save(change)
                if is_broken:
                    raise ZeroDivisionError
        applied = self.history(store, save)
        self.assertEqual([number for number, in db.execute("SELECT number FROM copy ORDER BY rowid")], applied)

    @unittest.skipUnless("BINPULSE_TEST_REDIS" in os.environ, "no Redis: set BINPULSE_TEST_REDIS")
    def test_numbers_and_effects_in_redis(self):
        redis = Redis()
        self.addCleanup(redis.close)
        store = binpulse.RedisStore(redis)

        def save(change, numbers, is_broken):
            if is_broken:
                raise ZeroDivisionError
            store.save(change)
        self.history(store, save)

        once, done = binpulse.Once(binpulse.RedisOnceStore(redis)), []
        with self.assertRaises(ZeroDivisionError):
            once.run("id", lambda: 1 / 0)
        self.assertIs(once.run("id", lambda: done.append(1)), binpulse.Outcome.RAN)
        self.assertIs(once.run("id", lambda: done.append(2)), binpulse.Outcome.DONE)
        once.store.claim("other", "fence", 60)
        self.assertIs(once.run("other", lambda: done.append(3)), binpulse.Outcome.TAKEN)
        once.store.release("other", "another fence")
        self.assertIs(once.run("other", lambda: done.append(4)), binpulse.Outcome.TAKEN)
        once.store.release("other", "fence")
        late = once.run("other", lambda: redis.execute_command("DEL", "binpulse:once:other"))
        self.assertIs(late, binpulse.Outcome.LATE)
        self.assertEqual(done, [1])


if __name__ == "__main__":
    unittest.main()
