/** What can go wrong. No text of an error shows a value of a row. */

import type { Pointer } from "./message.js";

/** The kind of fault of a message. */
export type DecodeReason =
  | "empty" | "base64" | "protobuf" | "version" | "codec" | "size" | "length" | "checksum" | "zstd" | "memory"
  | "document" | "inconsistent" | "object" | "elsewhere";

/** The message is not what the contract says. */
export class DecodeError extends Error {
  override readonly name: string = "DecodeError";

  constructor(readonly reason: DecodeReason, text: string, options?: ErrorOptions) {
    super(`${reason}: ${text}`, options);
  }
}

/** The content is in an object store: fetch the object of `pointer`, and decode it with `pointer.decode`. */
export class ElsewhereError extends DecodeError {
  override readonly name = "ElsewhereError";

  constructor(readonly pointer: Pointer) {
    super("elsewhere", `the content is the object ${pointer.key} of bucket ${pointer.bucket}: fetch it`);
  }
}

/** Another process has changed the lane: undo the transaction, and take the message again. */
export class ConflictError extends Error {
  override readonly name = "ConflictError";
}

/** The request is not to be believed. */
export class WebhookError extends Error {
  override readonly name = "WebhookError";

  constructor(readonly reason: "missing" | "time" | "secret" | "signature", text: string) {
    super(text);
  }
}
