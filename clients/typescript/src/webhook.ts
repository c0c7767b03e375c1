/** Requests of binpulse's relay, verified by Standard Webhooks, version 1. */

import { createHmac, timingSafeEqual } from "node:crypto";

import { base64 } from "./bytes.js";
import { WebhookError } from "./errors.js";

const TOLERANCE_SECONDS = 300;

/** Headers of a request: those of Node.js, of the Fetch API, or an object. */
export type Headers = { get(name: string): string | null } | Record<string, string | string[] | undefined>;

/** Verifies a request and returns its id, which is the same however often the same rows are sent: act once for
 * each. `body` is as received; one of `secrets` (`whsec_` and base64; during a rotation the new and the old one)
 * must have signed; `now` is in milliseconds since 1970. Throws a WebhookError. */
export function verifyWebhook(
  body: Uint8Array | string, headers: Headers, secrets: string[], now = Date.now(),
): string {
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) =>
    header(headers, `webhook-${name}`)) as [string, string, string];
  if (!/^[0-9]{1,15}$/.test(timestamp)) {
    throw new WebhookError("time", "the header webhook-timestamp is no number of seconds since 1970");
  }
  const apart = Math.abs(now / 1000 - Number(timestamp));
  if (apart > TOLERANCE_SECONDS) {
    throw new WebhookError("time", `the request was signed ${Math.round(apart)} s from now, at most ${TOLERANCE_SECONDS} s`);
  }
  for (const [number, secret] of secrets.entries()) {
    const expected = createHmac("sha256", key(secret, number)).update(`${id}.${timestamp}.`).update(body).digest();
    for (const signature of signatures.split(" ").slice(0, 16)) {
      const bytes = signature.startsWith("v1,") ? base64(signature.slice(3)) : undefined;
      if (bytes?.length === expected.length && timingSafeEqual(bytes, expected)) return id;
    }
  }
  throw new WebhookError("signature", "no signature fits any of the secrets");
}

function header(headers: Headers, name: string): string {
  let value: unknown;
  if (typeof headers.get === "function") value = headers.get(name);
  else {
    const found = Object.entries(headers).find(([key]) => key.toLowerCase() === name);
    value = found?.[1];
  }
  if (typeof value !== "string") throw new WebhookError("missing", `the header ${name} is missing`);
  return value;
}

function key(secret: string, number: number): Uint8Array {
  // With or without padding: both are in use.
  const text = secret.replace(/^whsec_/, "").replace(/=+$/, "");
  const bytes = base64(text.padEnd(Math.ceil(text.length / 4) * 4, "="));
  if (!bytes?.length) throw new WebhookError("secret", `secret ${number} of the receiver is not whsec_ and base64`);
  return bytes;
}
