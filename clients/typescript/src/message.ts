/** A message, in whichever form it comes, to what it holds. */

import { createHash } from "node:crypto";

import * as document from "./document.js";
import { DecodeError, ElsewhereError } from "./errors.js";
import { CONTENT_BYTES_MAX, elementBytesMax, OBJECT_BYTES_MAX, openFrame } from "./frame.js";
import {
  type ChangeBatch, Op, type SchemaChange, type SnapshotMark, type SnapshotPart, type Suppressed,
  type TransactionEnd,
} from "./gen/binpulse/v1/change_pb.js";
import type { Canary, Heartbeat } from "./gen/binpulse/v1/pulse_pb.js";
import { type Json, parseJson } from "./json.js";

/** What a message holds. `unknown` is of a newer binpulse: count it, and acknowledge it. */
export type Content =
  | { kind: "change"; value: ChangeBatch }
  | { kind: "canary"; value: Canary }
  | { kind: "snapshot_part"; value: SnapshotPart }
  | { kind: "snapshot_mark"; value: SnapshotMark }
  | { kind: "heartbeat"; value: Heartbeat }
  | { kind: "schema"; value: SchemaChange }
  | { kind: "suppressed"; value: Suppressed }
  | { kind: "transaction"; value: TransactionEnd }
  | { kind: "unknown" };

/** Attributes of a message, by name. */
export type Attributes = Readonly<Record<string, string>>;

/** Gives the text of the object that a pointer names. */
export type Fetch = (pointer: Pointer) => Promise<string | Uint8Array>;

/** Where the content of a message lies. The object is not the consumer's to delete. */
export class Pointer {
  constructor(
    readonly bucket: string,
    readonly key: string,
    /** Length of the object in bytes, where the message tells it: look at it before fetching. */
    readonly sizeBytes?: bigint,
    readonly sha256?: Uint8Array,
  ) {}

  /** What the message holds that pointed here; `object` is the object's text. */
  decode(object: string | Uint8Array, bytesMax = OBJECT_BYTES_MAX): Content {
    const bytes = Buffer.from(object as Uint8Array);
    if (this.sizeBytes !== undefined && BigInt(bytes.length) !== this.sizeBytes) {
      throw new DecodeError("object", `the object has ${bytes.length} bytes, expected ${this.sizeBytes}`);
    }
    if (this.sha256 && !createHash("sha256").update(bytes).digest().equals(this.sha256)) {
      throw new DecodeError("object", "the object has another SHA-256 than the stated one");
    }
    try {
      return new Message(bytes.toString()).decode(bytesMax);
    } catch (error) {
      if (error instanceof ElsewhereError) {
        throw new DecodeError("object", "the object is a pointer to another object");
      }
      throw error;
    }
  }
}

/** A message without what SNS put around it: its body as published, and its attributes. */
export class Message {
  constructor(readonly body: string, readonly attributes: Attributes = {}) {}

  /** A message as a queue gives it. Where the body is SNS's envelope, body and attributes are those in it;
   * attributes that came beside it take precedence. */
  static received(body: string, attributes: Attributes = {}): Message {
    if (body.startsWith("{")) {
      const outer = parseJson(body);
      const inner = outer instanceof Map && outer.get("Type") === "Notification" ? outer.get("Message") : undefined;
      if (outer instanceof Map && typeof inner === "string") {
        return new Message(inner, { ...textsOf(outer.get("MessageAttributes")), ...attributes });
      }
    }
    return new Message(body, attributes);
  }

  /** A message of the AWS SDK's ReceiveMessage; ask it for `MessageAttributeNames: ["All"]`. */
  static ofSqs(message: {
    Body?: string | undefined;
    MessageAttributes?: Record<string, { StringValue?: string | undefined }> | undefined;
  }): Message {
    return Message.received(message.Body ?? "", texts(message.MessageAttributes, "StringValue"));
  }

  /** The attribute `kind`. */
  get kind(): string | undefined {
    return this.attributes["kind"];
  }

  /** The attribute `replay`, percent-encoded: for whom the rows are published again. */
  get replay(): string | undefined {
    return this.attributes["replay"];
  }

  /** What it holds. Throws a DecodeError: an ElsewhereError where that is in an object store. */
  decode(bytesMax = CONTENT_BYTES_MAX): Content {
    if (this.body === "") throw new DecodeError("empty", "the body is empty");
    if (this.body.startsWith("[")) throw new ElsewhereError(this.pointer());
    if (this.body.startsWith("{")) {
      const cellsMax = Math.floor(elementBytesMax(bytesMax) / 100);
      return consistent(document.content(parseJson(this.body), cellsMax));
    }
    const { content } = openFrame(this.body, bytesMax);
    switch (content.case) {
      case "batch": return consistent({ kind: "change", value: content.value });
      case "snapshotPart": return consistent({ kind: "snapshot_part", value: content.value });
      case "canary": return consistent({ kind: "canary", value: content.value });
      case "suppressed": return consistent({ kind: "suppressed", value: content.value });
      case "snapshotMark": return { kind: "snapshot_mark", value: content.value };
      case "heartbeat": return { kind: "heartbeat", value: content.value };
      case "schemaChange": return { kind: "schema", value: content.value };
      case "transactionEnd": return { kind: "transaction", value: content.value };
      case "claimCheck": {
        const { bucket, key, sizeBytes, sha256 } = content.value;
        const hash = sha256.length > 0 ? sha256 : undefined;
        throw new ElsewhereError(new Pointer(bucket, key, sizeBytes || undefined, hash));
      }
      default: return { kind: "unknown" };
    }
  }

  /** What it holds; where that is in an object store, `fetch` is asked for the object. */
  async decodeWith(fetch: Fetch): Promise<Content> {
    try {
      return this.decode();
    } catch (error) {
      if (!(error instanceof ElsewhereError)) throw error;
      return error.pointer.decode(await fetch(error.pointer));
    }
  }

  /** `["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": .., "s3Key": ..}]`. The class has
   * had other packages: only its name counts. */
  private pointer(): Pointer {
    const form = parseJson(this.body) as Json[];
    const [name, place] = form;
    const bucket = place instanceof Map ? place.get("s3BucketName") : undefined;
    const key = place instanceof Map ? place.get("s3Key") : undefined;
    const isPointer = form.length === 2 && typeof name === "string" && name.split(".").at(-1) === "PayloadS3Pointer";
    if (!isPointer || typeof bucket !== "string" || typeof key !== "string") {
      throw new DecodeError("document", "an array that is no pointer to an object");
    }
    const size = this.attributes["ExtendedPayloadSize"] ?? this.attributes["SQSLargePayloadSize"] ?? "";
    return new Pointer(bucket, key, /^[0-9]{1,19}$/.test(size) ? BigInt(size) : undefined);
  }
}

/** What a body holds: raw, or in SNS's envelope. Throws a DecodeError, an ElsewhereError for a pointer. */
export function decode(body: string): Content {
  return Message.received(body).decode();
}

/** An event of AWS Lambda, from SQS or SNS: as much of it as is read. */
export interface LambdaEvent {
  Records: LambdaRecord[];
}

/** A record of such an event. */
export interface LambdaRecord {
  messageId?: string;
  body?: string;
  messageAttributes?: Record<string, { stringValue?: string | undefined }>;
  Sns?: { MessageId: string; Message: string; MessageAttributes?: Record<string, { Value: string }> };
}

/** The message in a record; it throws a DecodeError only for its own record. */
export function lambdaMessage(record: LambdaRecord): Message {
  if (record.Sns) return new Message(record.Sns.Message, texts(record.Sns.MessageAttributes, "Value"));
  return Message.received(record.body ?? "", texts(record.messageAttributes, "stringValue"));
}

/** Gives each message of an event to `take`, one after the other, and answers with those that failed: what a
 * Lambda function returns whose event source mapping has `ReportBatchItemFailures`. `failed` is told why. */
export async function lambdaBatch(
  event: LambdaEvent,
  take: (message: Message) => Promise<void>,
  failed: (id: string, error: unknown) => void = console.error,
): Promise<{ batchItemFailures: { itemIdentifier: string }[] }> {
  const batchItemFailures = [];
  for (const record of event.Records) {
    try {
      await take(lambdaMessage(record));
    } catch (error) {
      const id = record.messageId ?? record.Sns?.MessageId ?? "";
      failed(id, error);
      batchItemFailures.push({ itemIdentifier: id });
    }
  }
  return { batchItemFailures };
}

function texts<Name extends string>(
  attributes: Record<string, { [name in Name]?: string | undefined }> | undefined, text: Name,
): Record<string, string> {
  const found = Object.entries(attributes ?? {}).map(([name, value]) => [name, value[text]] as const);
  return Object.fromEntries(found.filter((pair): pair is [string, string] => typeof pair[1] === "string"));
}

function textsOf(attributes: Json | undefined): Record<string, string> {
  const found = attributes instanceof Map ? [...attributes] : [];
  const pairs = found.map(([name, form]) => [name, form instanceof Map ? form.get("Value") : undefined] as const);
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => typeof pair[1] === "string"));
}

function inconsistent(text: string): DecodeError {
  return new DecodeError("inconsistent", text);
}

/** Refuses what contradicts itself, so that those who read it need not look. */
function consistent(content: Content): Content {
  if (content.kind === "change") {
    if (content.value.rows.length === 0) throw inconsistent("a batch without rows");
    checkBatch(content.value, true);
  } else if (content.kind === "canary" && content.value.batch) {
    checkBatch(content.value.batch, true);
  } else if (content.kind === "snapshot_part") {
    const { batch, anchor, keyColumns } = content.value;
    if (!batch || !anchor) throw inconsistent("a part without its batch or its anchor");
    checkBatch(batch, false);
    checkOrdinals(keyColumns, batch);
  } else if (content.kind === "suppressed") {
    checkNumbers(content.value.sequenceFirst, content.value.count);
  }
  return content;
}

/** For each operation, whether a row has the images before and after. */
const IMAGES: Readonly<Record<number, readonly [boolean, boolean]>> = {
  [Op.INSERT]: [false, true],
  [Op.UPDATE]: [true, true],
  [Op.DELETE]: [true, false],
  [Op.READ]: [false, true],
};

function checkBatch(batch: ChangeBatch, hasTransactions: boolean): void {
  const { source, table, rows, transactions, files } = batch;
  if (!source || !table) throw inconsistent("a batch without its source or its table");
  checkOrdinals(table.primaryKey, batch);
  if (hasTransactions) checkNumbers(batch.sequenceFirst, BigInt(rows.length));
  if (transactions.some((transaction) => transaction.file >= files.length)) {
    throw inconsistent("a transaction of a file that is not there");
  }
  for (const { op, transaction, before, after } of rows) {
    if (hasTransactions && transaction >= transactions.length) {
      throw inconsistent("a row of a transaction that is not there");
    }
    const images = IMAGES[op];
    if (images && (images[0] !== !!before || images[1] !== !!after)) {
      throw inconsistent("a row with other images than its op has");
    }
    if (Math.max(before?.values.length ?? 0, after?.values.length ?? 0) > table.columns.length) {
      throw inconsistent("a row with more values than columns");
    }
  }
}

function checkOrdinals(ordinals: number[], batch: ChangeBatch): void {
  const columns = batch.table?.columns.length ?? 0;
  if (ordinals.some((ordinal) => ordinal >= columns)) throw inconsistent("a key of a column that is not there");
}

function checkNumbers(first: bigint, count: bigint): void {
  if (first === 0n || first + count > 2n ** 64n - 1n) throw inconsistent("numbers that are none");
}
