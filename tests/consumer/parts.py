"""Parts of snapshots that wait for their place: the sample of docs/consume/exactly-once.md.

A part stands in its lane before the row with the number `anchor`, behind all smaller ones. Parts of a lane
have numbers of their own, by which they are applied in their order. After a crash binpulse reads again
what it had not saved, with a higher `attempt`: the numbers then begin again at its `attempt_part`.
"""

import json

TABLES = """
CREATE TABLE IF NOT EXISTS parts (          -- parts that wait
    stream TEXT, epoch INTEGER, lane TEXT, attempt INTEGER, number INTEGER, anchor INTEGER, rows INTEGER,
    part TEXT, PRIMARY KEY (stream, epoch, lane, attempt, number));
CREATE TABLE IF NOT EXISTS part_lanes (     -- the part that is due in each lane
    stream TEXT, epoch INTEGER, lane TEXT, attempt INTEGER, next INTEGER, chunk TEXT,
    PRIMARY KEY (stream, epoch, lane));
CREATE TABLE IF NOT EXISTS chunk_keys (     -- keys that the chunk under way tells of
    stream TEXT, epoch INTEGER, lane TEXT, key TEXT, PRIMARY KEY (stream, epoch, lane, key));
"""

LANE = "stream = ? AND epoch = ? AND lane = ?"


class Parts:
    """What is known of the parts of all lanes. Each call is made inside of a transaction."""

    def __init__(self, db):
        self.db = db
        db.executescript(TABLES)

    def due(self, lane):
        """The attempt and number of the part that is due; None until the first is known."""
        found = self.db.execute(f"SELECT attempt, next FROM part_lanes WHERE {LANE}", lane).fetchone()
        return found or (None, None)

    def offer(self, lane, part):
        """Sets a part aside, unless it was applied, or read again since."""
        attempt, number = self.due(lane)
        if attempt is not None and (part["attempt"] < attempt or part["attempt"] == attempt and part["part"] < number):
            return
        values = (*lane, part["attempt"], part["part"], part["anchor"], len(part["rows"]), json.dumps(part))
        self.db.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def ready(self, lane, row_due):
        """The part that is to be applied before anything else; None if none is."""
        attempt, number = self.due(lane)
        later = f"SELECT part FROM parts WHERE {LANE} AND attempt > ? ORDER BY attempt, number"
        for text, in self.db.execute(later, (*lane, -1 if attempt is None else attempt)).fetchall():
            part = json.loads(text)
            begin = part["attempt_part"]
            # What is smaller is of an older attempt, and comes first; the first of all is 1.
            if part["part"] == 1 if attempt is None else begin <= number:
                self.begin(lane, part["attempt"], begin)
                return self.ready(lane, row_due)
        found = f"SELECT part FROM parts WHERE {LANE} AND attempt = ? AND number = ? AND anchor <= ?"
        held = self.db.execute(found, (*lane, attempt, number, row_due)).fetchone()
        return json.loads(held[0]) if held else None

    def begin(self, lane, attempt, number):
        """This part is due. What an older attempt would have brought is read again."""
        self.db.execute("INSERT OR REPLACE INTO part_lanes VALUES (?, ?, ?, ?, ?, NULL)", (*lane, attempt, number))
        self.db.execute(f"DELETE FROM parts WHERE {LANE} AND (attempt < ? OR attempt = ? AND number < ?)",
                        (*lane, attempt, attempt, number))
        self.db.execute(f"DELETE FROM chunk_keys WHERE {LANE}", lane)

    def applied(self, lane, part):
        """The part was applied. Returns the keys that its chunk tells of in this lane, if it was the chunk's
        last: what is not among them, and lies in the chunk's range, is gone."""
        chunk = f"{part['snapshot']} {part['chunk']}"
        known = self.db.execute(f"SELECT chunk FROM part_lanes WHERE {LANE}", lane).fetchone()[0]
        if known != chunk:
            self.db.execute(f"DELETE FROM chunk_keys WHERE {LANE}", lane)
        number = part["part"] + max(len(part["rows"]), part["numbers"], 1)
        self.db.execute(f"UPDATE part_lanes SET next = ?, chunk = ? WHERE {LANE}", (number, chunk, *lane))
        self.db.execute(f"DELETE FROM parts WHERE {LANE} AND attempt = ? AND number < ?", (*lane, part["attempt"], number))
        read = ([row["after"][name] for name in part["key"]] for row in part["rows"])
        keys = [*read, *([key[name] for name in part["key"]] for key in part["touched"])]
        self.db.executemany("INSERT OR IGNORE INTO chunk_keys VALUES (?, ?, ?, ?)",
                            ((*lane, json.dumps(key)) for key in keys))
        if not part["last_part"]:
            return None
        found = self.db.execute(f"SELECT key FROM chunk_keys WHERE {LANE}", lane).fetchall()
        self.db.execute(f"DELETE FROM chunk_keys WHERE {LANE}", lane)
        return [json.loads(key) for key, in found]

    def stand_before(self, lane, row):
        """Whether parts that stand before this row are still to come."""
        attempt, number = self.due(lane)
        if row["snapshot_next"] <= 1 or attempt is not None and attempt > row["snapshot_attempt"] > 0:
            return False
        return attempt is None or row["snapshot_attempt"] > attempt or row["snapshot_next"] > number

    def waiting(self, lane):
        """Attempt, number and anchor of the smallest part that waits; None if none does."""
        found = f"SELECT attempt, number, anchor FROM parts WHERE {LANE} ORDER BY attempt, number LIMIT 1"
        return self.db.execute(found, lane).fetchone()

    def rows(self):
        """Rows in all parts that wait."""
        return self.db.execute("SELECT COALESCE(SUM(rows), 0) FROM parts").fetchone()[0]
