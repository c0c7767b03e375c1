/** Keeps a copy of tables in a MySQL database, each row applied exactly once: see copy.ts.
 *
 *     QUEUE_URL=... MYSQL_URL=mysql://root@127.0.0.1:3306 node dist/examples/apply.js
 *
 * The visibility timeout of the queue is longer than the ledger's wait for a gap (300 s): messages that wait are kept
 * in memory. With ROWS it ends after so many rows. */

import { DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

import { type Content, Message } from "../src/index.js";
import { applied, db, freshness, ledger, seconds, take } from "./copy.js";
import { fromS3 } from "./s3.js";

const sqs = new SQSClient();
const QueueUrl = process.env["QUEUE_URL"];
const rowsMax = Number(process.env["ROWS"] ?? Infinity);
let waiting: { content: Content; ReceiptHandle: string | undefined }[] = [];

while (applied < rowsMax) {
  const received = await sqs.send(new ReceiveMessageCommand({
    QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: ["All"],
  }));
  for (const message of received.Messages ?? []) {
    const content = await Message.ofSqs(message).decodeWith(fromS3);
    waiting.push({ content, ReceiptHandle: message.ReceiptHandle });
  }
  for (let before = -1; before !== applied;) {
    before = applied;
    const left = [];
    for (const one of waiting) {
      if (await take(one.content)) {
        await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: one.ReceiptHandle }));
      } else left.push(one);
    }
    waiting = left;
  }
  for (const { name, gap } of ledger.gaps(seconds())) {
    throw new Error(`rows ${gap.first} to ${gap.last} of ${name.lane} are missing: replay them, or give them up`);
  }
}
console.log(JSON.stringify({ rows: applied, health: freshness.health() }));
await db.end();
