/** Objects that messages point to (`sink.oversize = "claim-check"`). */

import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";

import type { Pointer } from "../src/index.js";

const s3 = new S3Client();

/** The text of an object. */
export async function fromS3({ bucket, key }: Pointer): Promise<Uint8Array> {
  const object = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  if (!object.Body) throw new Error(`the object ${key} is empty`);
  return object.Body.transformToByteArray();
}
