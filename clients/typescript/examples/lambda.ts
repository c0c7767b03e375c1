/** A function of AWS Lambda, whose event source mapping has `FunctionResponseTypes: ["ReportBatchItemFailures"]`. It keeps
 * a copy of tables, each row applied once: a message whose rows are early fails, and comes again. */

import { lambdaBatch, type LambdaEvent } from "../src/index.js";
import { take } from "./copy.js";
import { fromS3 } from "./s3.js";

export const handler = (event: LambdaEvent) =>
  lambdaBatch(event, async (message) => {
    if (!(await take(await message.decodeWith(fromS3)))) throw new Error("rows before these have not come");
  });
