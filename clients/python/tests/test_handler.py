"""The example of a Lambda handler answers as the conformance suite says. BINPULSE_TEST_MYSQL (host:port) names a server."""

import json
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent / "examples")]

try:
    import boto3  # noqa: F401
    import pymysql
except ImportError:
    pymysql = None


class Handler(unittest.TestCase):
    @unittest.skipUnless(pymysql and "BINPULSE_TEST_MYSQL" in os.environ, "no MySQL: set BINPULSE_TEST_MYSQL")
    def test_the_handler_tells_which_messages_failed(self):
        host, port = os.environ["BINPULSE_TEST_MYSQL"].split(":")
        os.environ.update(MYSQL_HOST=host, MYSQL_PORT=port, AWS_DEFAULT_REGION="eu-west-1")
        db = pymysql.connect(host=host, port=int(port), user="root", autocommit=True)
        self.addCleanup(db.close)
        for case in json.loads((HERE.parents[2] / "conformance/handler.json").read_text(encoding="utf-8")):
            with db.cursor() as cursor:
                for statement in case["statements"]:
                    cursor.execute(statement)
                sys.modules.pop("handler", None)
                import handler
                self.addCleanup(handler.copy.db.close)
                for step in case["steps"]:
                    wanted = {"batchItemFailures": [{"itemIdentifier": id} for id in step["failures"]]}
                    self.assertEqual(handler.handler(step["event"], None), wanted)
                cursor.execute(case["select"])
                self.assertEqual([list(row) for row in cursor.fetchall()], case["rows"])


if __name__ == "__main__":
    unittest.main()
