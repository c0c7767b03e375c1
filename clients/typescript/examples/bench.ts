/** Rows a second: see clients/bench.py. */

import { readFileSync } from "node:fs";

import { decode, rows } from "../src/index.js";

/** Rows a second of what takes a batch of rows. */
function rate(work: () => number): number {
  for (let warm = 0; warm < 20; warm++) work();
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < 2000) count += work();
  return (count / (performance.now() - started)) * 1000;
}

function decoded(body: string): number {
  const content = decode(body);
  if (content.kind !== "change") throw new Error(content.kind);
  let count = 0;
  for (const row of rows(content.value)) {
    let present = 0;
    for (const image of [row.before, row.after]) for (const name in image) if (image[name] !== null) present++;
    if (present > 0) count++;
  }
  return count;
}

const messages = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Record<string, string> & { debezium: unknown };
const documents = messages.debezium as string[];
console.log(JSON.stringify({
  frame: rate(() => decoded(messages["frame"]!)),
  zstd: rate(() => decoded(messages["zstd"]!)),
  json: rate(() => decoded(messages["json"]!)),
  debezium: rate(() => documents.filter((text) => typeof JSON.parse(text) === "object").length),
}));
