"""Applies rows to a MySQL, making its tables from the schemas that come with the rows."""

import array
import hashlib
import json
import sys

import pymysql

from consumer import change_pb2

DUPLICATE_KEY = 1062

# Types that cannot be found again by their value.
NOT_COMPARABLE = {
    change_pb2.LOGICAL_TYPE_FLOAT,
    change_pb2.LOGICAL_TYPE_GEOMETRY,
    change_pb2.LOGICAL_TYPE_VECTOR,
}


def plain(text):
    """Text that pymysql's formatting leaves as it is."""
    return text.replace("%", "%%")


def quoted(name):
    return plain("`" + name.replace("`", "``") + "`")


def definition(column):
    """A column's definition, as far as the message tells."""
    text = plain(column.mysql_type)
    charset = column.charset and column.charset != "binary" and "character set" not in text.lower()
    if charset and column.logical_type in (
        change_pb2.LOGICAL_TYPE_TEXT, change_pb2.LOGICAL_TYPE_ENUM, change_pb2.LOGICAL_TYPE_SET,
    ):
        text += f" CHARACTER SET {column.charset}"
    return f"{quoted(column.name)} {text} {'NULL' if column.nullable else 'NOT NULL'}"


def parameter(column, value):
    """A placeholder, and what stands in it."""
    kind = value.WhichOneof("kind")
    if kind == "null":
        return "%s", [None]
    if kind == "vector":
        elements = array.array("f", value.vector.elements)
        if sys.byteorder == "big":
            elements.byteswap()
        return "%s", [elements.tobytes()]
    if kind == "malformed_text" and column.charset:
        return f"_{column.charset} X'{value.malformed_text.hex()}'", []
    if kind == "json":
        return "CAST(%s AS JSON)", [value.json]
    return "%s", [getattr(value, kind)]


def shown(column):
    """What is selected of a column to compare it: temporal values and decimals as text."""
    name = quoted(column.name)
    if column.logical_type in (
        change_pb2.LOGICAL_TYPE_DECIMAL, change_pb2.LOGICAL_TYPE_DATE, change_pb2.LOGICAL_TYPE_TIME,
        change_pb2.LOGICAL_TYPE_DATETIME, change_pb2.LOGICAL_TYPE_TIMESTAMP, change_pb2.LOGICAL_TYPE_JSON,
    ):
        return f"CAST({name} AS CHAR)"
    return f"{name} + 0" if column.logical_type == change_pb2.LOGICAL_TYPE_BIT else name


def value_of(column, cell):
    """A value of the copy as the contract has it."""
    kind = column.logical_type
    if cell is None:
        return change_pb2.Value(null=True)
    if kind == change_pb2.LOGICAL_TYPE_BIT or kind == change_pb2.LOGICAL_TYPE_INTEGER and column.unsigned:
        return change_pb2.Value(unsigned=cell)
    if kind in (change_pb2.LOGICAL_TYPE_INTEGER, change_pb2.LOGICAL_TYPE_YEAR):
        return change_pb2.Value(integer=cell)
    if kind == change_pb2.LOGICAL_TYPE_DOUBLE:
        return change_pb2.Value(double=cell)
    if kind == change_pb2.LOGICAL_TYPE_FLOAT:
        return change_pb2.Value(float=cell)
    if kind == change_pb2.LOGICAL_TYPE_JSON:
        return change_pb2.Value(json=cell)
    if isinstance(cell, bytes):
        return change_pb2.Value(bytes=cell)
    return change_pb2.Value(text=cell)


def key_of(part):
    """Ordinals of the columns of the key that the table is read by: a table without a primary key has
    another one."""
    return list(part.key_columns) or list(part.batch.table.primary_key)


class Tables:
    """The tables, and what was done to them."""

    def __init__(self, connection):
        self.connection = connection
        self.cursor = connection.cursor()
        # Zero dates, NO_AUTO_VALUE: a copy takes what the source has.
        self.cursor.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'")
        self.cursor.execute("SET SESSION foreign_key_checks = 0, unique_checks = 1")
        self.schemas = {}
        # Keys of tables without a primary key that were made for snapshots.
        self.keys = set()
        # Keys that the chunk under way has told of, by table and lane.
        self.chunks = {}
        self.report = {"gone": 0, "compared": 0, "differing": [], "inserts": 0, "updates": 0, "deletes": 0, "conflicts": 0, "not_found": 0, "omitted": 0}

    def commit(self):
        self.connection.commit()

    def apply(self, batch, row):
        schema = batch.table
        self.prepare(schema)
        table = f"{quoted(schema.database)}.{quoted(schema.table)}"
        if row.op == change_pb2.OP_INSERT:
            self.insert(schema, table, row.after)
        elif row.op == change_pb2.OP_UPDATE:
            self.update(schema, table, row)
        elif row.op == change_pb2.OP_DELETE:
            self.delete(schema, table, row)
        else:
            raise ValueError(f"operation {row.op}")

    def apply_part(self, part):
        """Rows of a snapshot: each stands in place of what is there. Behind the last part of a chunk what
        it does not tell of is gone."""
        schema = part.batch.table
        self.prepare(schema)
        self.prepare_key(schema, part)
        table = f"{quoted(schema.database)}.{quoted(schema.table)}"
        key = (schema.database, schema.table, part.batch.lane)
        chunk, told = self.chunks.get(key, (None, []))
        if chunk != (part.snapshot, part.chunk, part.attempt):
            chunk, told = (part.snapshot, part.chunk, part.attempt), []
            if not key_of(part) and not part.HasField("digest"):
                self.empty(part, table)
        for row in part.batch.rows:
            self.replace(schema, table, row.after)
            if not key_of(part):
                continue
            told.append([row.after.values[ordinal] for ordinal in key_of(part)])
        told += [list(image.values) for image in part.touched]
        self.chunks[key] = (chunk, told)
        if part.HasField("digest"):
            self.compare(part, schema, table, told)
            del self.chunks[key]
        if part.last_part:
            if key_of(part):
                self.delete_others(part, schema, table, told)
            del self.chunks[key]

    def empty(self, part, table):
        """Without a key the chunk is all rows of the table: they stand in place of all that are here. Only
        for tables of one lane."""
        if part.batch.lane_count > 1:
            raise ValueError(f"{table} has no key and several lanes")
        self.report["gone"] += self.cursor.execute(f"DELETE FROM {table}")

    def replace(self, schema, table, after):
        body, values = self.row(schema, table, after)
        self.cursor.execute(f"REPLACE {body}", values)

    def row(self, schema, table, after):
        """What stands behind INSERT or REPLACE, and its values."""
        names, places, values = [], [], []
        for column, value in self.present(schema, after):
            place, parameters = parameter(column, value)
            names.append(quoted(column.name))
            places.append(place)
            values += parameters
        return f"INTO {table} ({', '.join(names)}) VALUES ({', '.join(places)})", values

    def compare(self, part, schema, table, touched):
        """Compares the digest of a range with that of the copy's rows at the same place of the lane. Only
        for tables of one lane."""
        if part.batch.lane_count > 1:
            return
        columns = [schema.columns[ordinal] for ordinal in key_of(part)]
        where, values = self.within(part, columns)
        names = ", ".join(shown(column) for column in schema.columns)
        self.cursor.execute(f"SELECT {names} FROM {table} WHERE {where}", values)
        left_out = {change_pb2.Image(values=key).SerializeToString() for key in touched}
        rows = total = xor = 0
        for cells in self.cursor.fetchall():
            found = [value_of(column, cell) for column, cell in zip(schema.columns, cells)]
            key = change_pb2.Image(values=[found[ordinal] for ordinal in key_of(part)])
            if key.SerializeToString() in left_out:
                continue
            body = change_pb2.Image(values=found).SerializeToString()
            number = int.from_bytes(hashlib.sha256(body).digest()[:8], "little")
            rows, total, xor = rows + 1, (total + number) % 2**64, xor ^ number
        self.report["compared"] += 1
        if (rows, total, xor) != (part.digest.rows, part.digest.sum, part.digest.xor):
            bounds = [[getattr(value, value.WhichOneof("kind")) for value in image.values]
                      for image in (part.key_after, part.key_upto)]
            self.report["differing"].append({
                "table": f"{schema.database}.{schema.table}", "after": bounds[0], "upto": bounds[1],
                "rows": part.digest.rows, "rows_here": rows})

    def within(self, part, columns):
        """A condition for the part's range of keys, and its values."""
        where, values = [], []
        for sign, image in ((">", part.key_after), ("<=", part.key_upto)):
            if image.values:
                places = [parameter(column, value) for column, value in zip(columns, image.values)]
                names = ", ".join(quoted(column.name) for column in columns)
                where.append(f"({names}) {sign} ({', '.join(place for place, _ in places)})")
                values += [value for _, parameters in places for value in parameters]
        return " AND ".join(where) or "TRUE", values

    def delete_others(self, part, schema, table, told):
        """Deletes the rows of the part's range whose keys are not among these. Only for tables of one lane:
        this copy does not know which lane a row belongs to."""
        if part.batch.lane_count > 1:
            return
        columns = [schema.columns[ordinal] for ordinal in key_of(part)]
        where, values = self.within(part, columns)
        names = ", ".join(quoted(column.name) for column in columns)
        query = f"SELECT {names} FROM {table} WHERE {where}"
        self.cursor.execute(query, values)
        here = set(self.cursor.fetchall())
        for key in told:
            places = [parameter(column, value) for column, value in zip(columns, key)]
            found = " AND ".join(f"{quoted(column.name)} <=> {place}" for column, (place, _) in zip(columns, places))
            self.cursor.execute(
                f"SELECT {names} FROM {table} WHERE {found}", [value for _, parameters in places for value in parameters])
            here.difference_update(self.cursor.fetchall())
        for key in here:
            found = " AND ".join(f"{quoted(column.name)} <=> %s" for column in columns)
            self.cursor.execute(f"DELETE FROM {table} WHERE {found}", key)
            self.report["gone"] += 1

    def insert(self, schema, table, after):
        body, values = self.row(schema, table, after)
        try:
            self.cursor.execute(f"INSERT {body}", values)
        except pymysql.err.IntegrityError as error:
            if error.args[0] != DUPLICATE_KEY:
                raise
            # Lanes of one table may run ahead of one another.
            self.report["conflicts"] += 1
            self.cursor.execute(f"REPLACE {body}", values)
        self.report["inserts"] += 1

    def update(self, schema, table, row):
        sets, values = [], []
        for column, value in self.present(schema, row.after):
            if value.WhichOneof("kind") == "json_diff":
                expression, parameters = json_diff(quoted(column.name), json.loads(value.json_diff))
            else:
                expression, parameters = parameter(column, value)
            sets.append(f"{quoted(column.name)} = {expression}")
            values += parameters
        where, found_by = self.where(schema, row)
        if sets:
            found = self.one(f"UPDATE {table} SET {', '.join(sets)} WHERE {where} LIMIT 1", values + found_by)
            if not found and len(sets) == len(schema.columns):
                # A row that no snapshot has brought yet, or will: its newest state is this one.
                self.replace(schema, table, row.after)
        self.report["updates"] += 1

    def one(self, sql, values):
        """Runs what must meet one row; the connection counts rows found, not rows changed."""
        found = self.cursor.execute(sql, values) > 0
        self.report["not_found"] += not found
        return found

    def delete(self, schema, table, row):
        where, values = self.where(schema, row)
        self.one(f"DELETE FROM {table} WHERE {where} LIMIT 1", values)
        self.report["deletes"] += 1

    def where(self, schema, row):
        """Finds the row: by its primary key, or by all that can be compared."""
        before = list(zip(schema.columns, row.before.values))
        chosen = [before[ordinal] for ordinal in schema.primary_key] or [
            (column, value) for column, value in before
            if value.WhichOneof("kind") not in (None, "omitted") and column.logical_type not in NOT_COMPARABLE
        ]
        parts, values = [], []
        for column, value in chosen:
            place, parameters = parameter(column, value)
            parts.append(f"{quoted(column.name)} <=> {place}")
            values += parameters
        return " AND ".join(parts), values

    def present(self, schema, image):
        for column, value in zip(schema.columns, image.values):
            kind = value.WhichOneof("kind")
            if kind == "omitted":
                self.report["omitted"] += 1
            elif kind is not None:
                yield column, value

    def prepare(self, schema):
        """Makes the table, or alters it to the schema that the row was written with."""
        key = (schema.database, schema.table)
        known = self.schemas.get(key)
        if known is not None and known.fingerprint == schema.fingerprint:
            return
        table = f"{quoted(schema.database)}.{quoted(schema.table)}"
        if known is None:
            self.cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(schema.database)}", ())
            parts = [definition(column) for column in schema.columns]
            if schema.primary_key:
                names = ", ".join(quoted(schema.columns[ordinal].name) for ordinal in schema.primary_key)
                parts.append(f"PRIMARY KEY ({names})")
            self.cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(parts)})", ())
        else:
            self.alter(table, known, schema)
        self.schemas[key] = schema

    def prepare_key(self, schema, part):
        """Rows of a snapshot replace others by the key that the table is read by."""
        key = (schema.database, schema.table, tuple(part.key_columns))
        if not part.key_columns or key in self.keys:
            return
        names = ", ".join(quoted(schema.columns[ordinal].name) for ordinal in part.key_columns)
        table = f"{quoted(schema.database)}.{quoted(schema.table)}"
        self.cursor.execute(f"ALTER TABLE {table} ADD UNIQUE KEY ({names})", ())
        self.keys.add(key)

    def alter(self, table, old, new):
        before = {column.name: column for column in old.columns}
        after = {column.name for column in new.columns}
        steps = [f"DROP COLUMN {quoted(name)}" for name in before if name not in after]
        place = "FIRST"
        for column in new.columns:
            if column.name not in before:
                steps.append(f"ADD COLUMN {definition(column)} {place}")
            elif definition(before[column.name]) != definition(column):
                steps.append(f"MODIFY COLUMN {definition(column)} {place}")
            place = f"AFTER {quoted(column.name)}"
        if steps:
            self.cursor.execute(f"ALTER TABLE {table} {', '.join(steps)}", ())


def json_diff(expression, steps):
    """The column with a partial update applied, as SQL."""
    values = []
    for step in steps:
        path = step["path"]
        if step["op"] == "remove":
            expression = f"JSON_REMOVE({expression}, %s)"
            values.append(path)
            continue
        function = {"replace": "JSON_REPLACE", "insert": "JSON_INSERT"}[step["op"]]
        if step["op"] == "insert" and path.endswith("]"):
            function = "JSON_ARRAY_INSERT"
        expression = f"{function}({expression}, %s, CAST(%s AS JSON))"
        values += [path, json.dumps(step["value"])]
    return expression, values
