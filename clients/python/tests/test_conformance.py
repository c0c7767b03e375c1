"""The conformance suite: `python -m unittest discover -s tests`, with src on the path.

With BINPULSE_TEST_REGENERATE=1 the descriptors of the contract are written again (needs grpcio-tools).
"""

import base64
import json
import math
import os
import pathlib
import struct
import sys
import tempfile
import tomllib
import unittest
from decimal import Decimal

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent / "src"))

import binpulse_client as binpulse  # noqa: E402
from binpulse_client import contract  # noqa: E402


def cases(name):
    return json.loads((ROOT / "conformance" / f"{name}.json").read_text(encoding="utf-8"))


def encoded(data):
    return base64.b64encode(data).decode()


def number(value):
    """A float as the suite has it, to compare: the text is parsed."""
    return "NaN" if math.isnan(value) else value


def floats(shown):
    """The suite's texts of floats become numbers."""
    if isinstance(shown, dict):
        return {name: number(float(value)) if name == "double" and isinstance(value, str)
                else single(float(value)) if name == "float" and isinstance(value, str)
                else [single(float(element)) for element in value] if name == "vector" and isinstance(value, list)
                else floats(value) for name, value in shown.items()}
    if isinstance(shown, list):
        return [floats(value) for value in shown]
    return shown


def single(value):
    """The FLOAT that is nearest."""
    return number(struct.unpack("f", struct.pack("f", value))[0])


def cell(column, value):
    kind = contract.LogicalType.Name(column.logical_type).removeprefix("LOGICAL_TYPE_").lower()
    if value is binpulse.ABSENT:
        return {"absent": True}
    if value is None:
        return {"null": True}
    match value:
        case binpulse.Omitted():
            return {"omitted": {"size_bytes": str(value.size_bytes), "sha256": value.sha256.hex()}}
        case binpulse.MalformedText():
            return {"malformed_text": encoded(value)}
        case binpulse.Geometry():
            return {"geometry": encoded(value)}
        case bytes():
            return {"bytes": encoded(value)}
        case binpulse.JsonDiff():
            return {"json_diff": value.value}
        case binpulse.Json():
            return {"json": value.value}
        case binpulse.EnumIndex():
            return {"enum_index": str(int(value))}
        case binpulse.SetMask():
            return {"set_mask": str(int(value))}
        case Decimal():
            return {"decimal": value}
        case str():
            return {kind: str(value)}
        case list():
            return {"vector": [number(element) for element in value]}
        case float():
            return {kind: number(value)}
        case int():
            name = "unsigned" if kind == "integer" and column.unsigned else kind
            return {name: str(value)}
    raise AssertionError(f"a value of type {type(value)}")


def image(columns, values):
    return values and {column.name: cell(column, values[column.name]) for column in columns}


def check_rows(test, name, batch, wanted):
    columns = batch.table.columns
    shown = []
    for row in binpulse.rows(batch):
        one = {"op": row.op, "before": image(columns, row.before), "after": image(columns, row.after)}
        if row.transaction is not None:
            of = row.transaction
            one |= {
                "number": str(row.number), "gtid": of.gtid, "committed_at_us": str(row.committed_at_us),
                "number_in_transaction": str(row.number_in_transaction), "server_id": str(of.server_id),
                "original_committed_at_us": str(row.committed_at_us + of.original_committed_at_delta_us),
                "position": {"file": batch.files[of.file], "offset": str(of.offset)},
            }
        shown.append(one)
    test.assertEqual(shown, parsed(floats(wanted["rows"])), name)
    test.assertEqual(batch.lane, wanted["lane"], name)
    test.assertEqual([columns[at].name for at in batch.table.primary_key], wanted["primary_key"], name)
    test.assertEqual(str(batch.source.epoch), wanted["source"]["epoch"], name)
    test.assertEqual(f"{batch.table.fingerprint:016x}", wanted["fingerprint"], name)


def parsed(shown):
    """JSON as documents and decimals as numbers: their texts may differ in spaces and escapes."""
    if isinstance(shown, dict):
        return {name: json.loads(value, parse_float=Decimal) if name in ("json", "json_diff") and isinstance(value, str)
                else Decimal(value) if name == "decimal" and isinstance(value, str)
                else parsed(value) for name, value in shown.items()}
    if isinstance(shown, list):
        return [parsed(value) for value in shown]
    return shown


def check_content(test, name, content, wanted):
    test.assertEqual(content.kind, wanted["kind"], name)
    value = content.value
    if content.kind == "change":
        check_rows(test, name, value, wanted)
        test.assertEqual(str(value.snapshot_next), wanted["snapshot_next"], name)
        test.assertEqual(str(value.snapshot_attempt), wanted["snapshot_attempt"], name)
    elif content.kind == "canary":
        check_rows(test, name, value.batch, wanted["batch"])
        test.assertEqual((str(value.number), value.path), (wanted["number"], wanted["path"]), name)
        test.assertEqual(str(value.written_at_us), wanted["written_at_us"], name)
        if wanted["watermark"]:
            lanes = [{"lane": mark.lane, "sequence_next": str(mark.sequence_next), "epoch": str(mark.epoch)}
                     for mark in value.watermark.lanes]
            test.assertEqual(lanes, wanted["watermark"]["lanes"], name)
            proof = value.watermark.certificate
            test.assertEqual(str(proof.proven_at_us), wanted["watermark"]["certificate"]["proven_at_us"], name)
        else:
            test.assertFalse(value.HasField("watermark"), name)
    elif content.kind == "snapshot_part":
        check_rows(test, name, value.batch, wanted["batch"])
        columns = {column.name: column for column in value.batch.table.columns}

        def key(form):
            found = binpulse.key_of(value, form)
            return {name: cell(columns[name], found[name]) for name in found}

        test.assertEqual(key(value.key_upto), wanted["key_upto"], name)
        test.assertEqual(key(value.key_after) if value.HasField("key_after") else None, wanted["key_after"], name)
        test.assertEqual([key(one) for one in value.touched], wanted["touched"], name)
        for member in ("part", "chunk", "attempt", "attempt_part", "rows_in_chunk", "rows_superseded"):
            test.assertEqual(str(getattr(value, member)), wanted[member], name)
        test.assertEqual(str(value.anchor.sequence_next), wanted["anchor"]["sequence_next"], name)
        if wanted["digest"]:
            test.assertEqual(f"{value.digest.sum:016x}", wanted["digest"]["sum"], name)
    elif content.kind == "schema":
        test.assertEqual((value.statement, value.database, value.gtid, str(value.committed_at_us)),
                         tuple(wanted[one] for one in ("statement", "database", "gtid", "committed_at_us")), name)
    elif content.kind == "suppressed":
        test.assertEqual((str(value.sequence_first), str(value.count)), (wanted["sequence_first"], wanted["count"]))
    elif content.kind == "snapshot_mark":
        phase = contract.SnapshotPhase.Name(value.phase).removeprefix("SNAPSHOT_PHASE_").lower()
        test.assertEqual((phase, str(value.rows), value.reason),
                         tuple(wanted[one] for one in ("phase", "rows", "reason")), name)


class Conformance(unittest.TestCase):
    maxDiff = 2000

    def test_messages_mean_what_their_cases_say_in_each_form(self):
        count = 0
        for case in cases("messages"):
            for form in case["messages"]:
                message = binpulse.Message.received(form["body"], form["attributes"])
                name = f"{case['name']} as {form['form']}"
                check_content(self, name, message.decode(), case["content"])
                count += 1
        self.assertGreater(count, 50)

    def test_whatever_is_put_around_a_message_comes_off(self):
        contents = {case["name"]: case["content"] for case in cases("messages")}
        for case in cases("envelopes"):
            if "event" in case:
                messages = [message for _, message in binpulse.lambda_records(case["event"])]
            else:
                given = case["attributes"] if "objects" in case else {}
                messages = [binpulse.Message.received(case["body"], given)]
            for message in messages:
                self.assertEqual(message.attributes, case["attributes"], case["name"])
                content = message.decode_with(lambda place: case["objects"][f"{place.bucket}/{place.key}"])
                check_content(self, case["name"], content, contents[case["case"]])

    def test_hostile_bodies_are_refused_for_their_reason(self):
        for case in cases("hostile"):
            with self.subTest(case["name"]):
                with self.assertRaises(binpulse.DecodeError) as caught:
                    binpulse.decode(case["body"])
                self.assertEqual(caught.exception.reason, case["reason"])

    def test_lanes_decide_as_the_histories_say(self):
        for case in cases("ledger"):
            lane = binpulse.Lane(case["next"] and int(case["next"]))
            for at, step in enumerate(case["steps"]):
                name, now = f"{case['name']}, step {at}", step["at"]
                if rows := step.get("rows"):
                    first, count = int(rows["first"]), int(rows["count"])
                    offer = lane.offer(first, count, now)
                    self.assertEqual(offer.decision.value, step["decision"], name)
                    if offer.take:
                        self.assertEqual(str(offer.skip), step["skip"], name)
                        self.assertEqual(str(offer.take), step.get("take", str(count - offer.skip)), name)
                        lane.applied(first + offer.skip, offer.take, now)
                elif "watermark" in step:
                    lane.watermark(int(step["watermark"]), now)
                elif absent := step.get("absent"):
                    lane.absent(int(absent["first"]), int(absent["last"]), now)
                elif held := step.get("suppressed"):
                    lane.suppressed(int(held["first"]), int(held["last"]), now)
                gap = lane.missing(now)
                shown = gap and {"first": str(gap.first), "last": str(gap.last), "proven": gap.proven}
                self.assertEqual(shown, step["gap"], name)
                self.assertEqual(lane.next and str(lane.next), step["next"], name)

    def test_webhooks_are_believed_only_where_a_secret_signed_them(self):
        for case in cases("webhooks"):
            try:
                id = binpulse.verify_webhook(case["body"].encode(), case["headers"], case["secrets"], case["now"])
                self.assertEqual(id, case["headers"]["webhook-id"])
                verdict = "good"
            except binpulse.WebhookError as error:
                verdict = error.reason
            self.assertEqual(verdict, case["verdict"], case["name"])

    def test_the_descriptors_are_those_of_the_contract(self):
        try:
            from grpc_tools import protoc
        except ImportError:
            self.skipTest("grpcio-tools is not installed")
        kept = HERE.parent / "src/binpulse_client/contract.binpb"
        files = [f"binpulse/v1/{name}.proto" for name in ("change", "pulse", "frame")]
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / "made"
            failed = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={made}", *files])
            self.assertFalse(failed)
            if "BINPULSE_TEST_REGENERATE" in os.environ:
                kept.write_bytes(made.read_bytes())
            self.assertEqual(kept.read_bytes(), made.read_bytes(), "set BINPULSE_TEST_REGENERATE=1")


class Others(unittest.TestCase):
    def test_the_package_has_all_its_files(self):
        project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
        named = project["tool"]["setuptools"]["package-data"]["binpulse_client"]
        package = HERE.parent / "src/binpulse_client"
        self.assertEqual(named, sorted(file.name for file in package.glob("*.*") if file.suffix != ".py"))

    def test_values_that_python_has(self):
        for text, kind, wanted in [
            ("2026-11-20", "date", "2026-11-20"), ("0000-00-00", "date", "None"),
            ("-838:59:59.000001", "time", "-35 days, 1:00:00.999999"),
            ("2026-11-20 20:12:00.123", "datetime", "2026-11-20 20:12:00.123000"),
            ("2026-11-20 20:12:00", "timestamp", "2026-11-20 20:12:00+00:00"),
        ]:
            value = binpulse.TimeText(text, kind)
            self.assertEqual((str(value), str(value.value)), (text, wanted))

    def test_a_decimal_has_digits_and_a_point_only(self):
        table = contract.TableSchema(columns=[contract.Column(
            name="total", logical_type=contract.LogicalType.Value("LOGICAL_TYPE_DECIMAL"))])
        for text in ("1e999999999", "NaN", "", "1_0", "٣"):
            row = contract.Row(op=1, after=contract.Image(values=[contract.Value(text=text)]))
            with self.assertRaises(binpulse.DecodeError, msg=text):
                list(binpulse.rows(contract.ChangeBatch(table=table, rows=[row])))

    def test_only_a_young_canary_tells_the_verdict(self):
        freshness = binpulse.Freshness()
        self.assertEqual(freshness.health(now=100).state, "unknown")
        proof = contract.QuietCertificate(proven_at_us=95_000_000)
        mark = contract.Watermark(verdict="quiet", certificate=proof)
        freshness.observe(contract.Canary(written_at_us=100_000_000, watermark=mark))
        freshness.observe(contract.Canary(written_at_us=90_000_000))
        self.assertEqual(freshness.health(now=160), binpulse.Health("fresh", 60.0, "quiet"))
        self.assertEqual(freshness.health(now=161), binpulse.Health("stale", 61.0))
        self.assertEqual(freshness.quiet_until_us(), 95_000_000)

    def test_a_batch_of_lambda_tells_which_messages_failed(self):
        event = {"Records": [{"messageId": "a", "body": ""}, {"messageId": "b", "body": "{"},
                             {"messageId": "c", "body": "x"}]}

        def take(message):
            if message.body == "x":
                raise ValueError
        answer = binpulse.lambda_batch(event, take)
        self.assertEqual(answer, {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "c"}]})

    def test_an_effect_takes_place_once_and_again_only_after_a_failure(self):
        once, done = binpulse.Once(binpulse.MemoryStore()), []
        with self.assertRaises(ZeroDivisionError):
            once.run("id", lambda: 1 / 0)
        self.assertIs(once.run("id", lambda: done.append(1)), binpulse.Outcome.RAN)
        self.assertIs(once.run("id", lambda: done.append(2)), binpulse.Outcome.DONE)
        once.store.claim("other", "fence", 60)
        self.assertIs(once.run("other", lambda: done.append(3)), binpulse.Outcome.TAKEN)
        self.assertEqual(done, [1])
        slow = binpulse.Once(binpulse.MemoryStore(), lease=0)
        self.assertIs(slow.run("id", lambda: slow.run("id", lambda: None)), binpulse.Outcome.LATE)


if __name__ == "__main__":
    unittest.main()
