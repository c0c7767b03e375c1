/** Reads the messages of binpulse: from the body of a message to rows, and what is needed to apply each row once
 * and to know that none is missing. See README.md. */

export * from "./errors.js";
export * from "./freshness.js";
export { CONTENT_BYTES_MAX, FORMAT_VERSION, OBJECT_BYTES_MAX } from "./frame.js";
export * from "./lane.js";
export * from "./ledger.js";
export * from "./message.js";
export * from "./once.js";
export * from "./rows.js";
export * from "./stores.js";
export * from "./webhook.js";
export * as change from "./gen/binpulse/v1/change_pb.js";
export * as pulse from "./gen/binpulse/v1/pulse_pb.js";
