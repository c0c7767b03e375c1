/** Reads a queue and prints its rows: `QUEUE_URL=... node dist/examples/sqs.js`. */

import { DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

import { Freshness, Message, rows } from "../src/index.js";
import { fromS3 } from "./s3.js";

const sqs = new SQSClient();
const QueueUrl = process.env["QUEUE_URL"];
const freshness = new Freshness();

for (;;) {
  const received = await sqs.send(new ReceiveMessageCommand({
    QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, MessageAttributeNames: ["All"],
  }));
  for (const message of received.Messages ?? []) {
    try {
      const content = await Message.ofSqs(message).decodeWith(fromS3);
      if (content.kind === "canary") freshness.observe(content.value);
      if (content.kind === "change") {
        for (const row of rows(content.value)) console.log(row.number, row.op, row.before, row.after);
      }
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
    } catch (error) {
      console.error(message.MessageId, error); // it stays in the queue, and becomes a dead letter in the end
    }
  }
  console.error(freshness.health());
}
