/** A function of AWS Lambda, whose event source mapping has `FunctionResponseTypes: ["ReportBatchItemFailures"]`.
 * With a ledger each row takes effect once, also when messages come twice or in another order: see apply.ts. */

import { lambdaBatch, type LambdaEvent, rows } from "../src/index.js";
import { fromS3 } from "./s3.js";

export const handler = (event: LambdaEvent) =>
  lambdaBatch(event, async (message) => {
    const content = await message.decodeWith(fromS3);
    if (content.kind !== "change") return;
    const table = content.value.table?.table;
    for (const row of rows(content.value)) console.log(table, row.number, row.op, row.after ?? row.before);
  });
