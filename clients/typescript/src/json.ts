/** JSON whose numbers keep their digits, and whose members are there once. JavaScript's own reader makes a
 * double of every number. */

import { DecodeError } from "./errors.js";

/** A number, as it stands in the text. */
export class Digits {
  constructor(readonly text: string) {}
}

/** A value of JSON. */
export type Json = null | boolean | string | Digits | Json[] | Map<string, Json>;

const DEPTH_MAX = 200;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const WORD = /true|false|null/y;

/** The value in a text. Throws a DecodeError without anything of the text. */
export function parseJson(text: string): Json {
  const parser = new Parser(text);
  const value = parser.value(0);
  if (!parser.atEnd()) throw fault();
  return value;
}

const fault = (): DecodeError => new DecodeError("document", "the body is no JSON");

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Json {
    if (depth > DEPTH_MAX) throw new DecodeError("document", `JSON is nested deeper than ${DEPTH_MAX}`);
    this.take(SPACE);
    switch (this.text[this.at]) {
      case "{": return this.object(depth);
      case "[": return this.array(depth);
      case '"': return this.string();
      case "t": case "f": case "n": return JSON.parse(this.take(WORD)) as null | boolean;
      default: return new Digits(this.take(NUMBER));
    }
  }

  atEnd(): boolean {
    this.take(SPACE);
    return this.at === this.text.length;
  }

  private object(depth: number): Map<string, Json> {
    const members = new Map<string, Json>();
    this.list("}", () => {
      this.take(SPACE);
      const name = this.string();
      this.take(SPACE);
      if (this.text[this.at++] !== ":") throw fault();
      if (members.has(name)) throw new DecodeError("document", "an object has a member twice");
      members.set(name, this.value(depth + 1));
    });
    return members;
  }

  private array(depth: number): Json[] {
    const elements: Json[] = [];
    this.list("]", () => elements.push(this.value(depth + 1)));
    return elements;
  }

  /** What stands between brackets, with commas between. */
  private list(end: string, element: () => void): void {
    this.at++;
    this.take(SPACE);
    if (this.text[this.at] === end) {
      this.at++;
      return;
    }
    for (;;) {
      element();
      this.take(SPACE);
      const next = this.text[this.at++];
      if (next === end) return;
      if (next !== ",") throw fault();
    }
  }

  private string(): string {
    const start = this.at;
    if (this.text[start] !== '"') throw fault();
    let isPlain = true;
    let at = start + 1;
    for (let code = this.text.charCodeAt(at); code !== 0x22; code = this.text.charCodeAt(++at)) {
      if (!(code >= 0x20)) throw fault(); // a control character, or the end of the text
      if (code === 0x5c) {
        isPlain = false;
        at++;
      }
    }
    this.at = at + 1;
    if (isPlain) return this.text.slice(start + 1, at);
    try {
      const found = JSON.parse(this.text.slice(start, at + 1)) as string;
      if (/[\ud800-\udfff]/u.test(found)) throw fault(); // half of a character
      return found;
    } catch {
      throw fault();
    }
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) throw fault();
    this.at += found[0].length;
    return found[0];
  }
}

/** A value as text, its numbers with their digits. */
export function jsonText(value: Json): string {
  if (value instanceof Digits) return value.text;
  if (Array.isArray(value)) return `[${value.map(jsonText).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([name, inside]) => `${JSON.stringify(name)}: ${jsonText(inside)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
