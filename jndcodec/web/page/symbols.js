// Sections Z and Y to symbols, int16 in the order rows, columns, channels: excess, bands, and the CRC that proves them.

import { crc32, readVarint } from "./bytes.js";
import { FormatError } from "./errors.js";
import { decodeStream } from "./rans.js";

const BAND = 2 ** 22; // elements of y in a band at most, but for one row
const SYMBOL_LIMIT = 32767;

/** All symbols of z: `size` elements, indexes per channel. */
export function decodeZ(section, size, indexes, tables) {
  const excess = new Excess(section);
  const out = new Int16Array(size), channels = indexes.length; // prettier-ignore
  decodeStream(section.subarray(excess.end), tables, out, 0, size, (i) => indexes[i % channels], excess.add);
  excess.check();
  return out;
}

/** All symbols of y, `indexes` (rows × rowLength elements) of their tables; 0 where nothing is coded. */
export function decodeY(section, indexes, rows, rowLength, tables) {
  const excess = new Excess(section);
  const out = new Int16Array(indexes.length);
  const height = Math.max(1, Math.floor(BAND / rowLength));
  const tableOf = (i) => indexes[i];
  let at = excess.end;
  for (let row = 0; row < rows; row += height) {
    let length = section.length - at;
    if (row + height < rows) [length, at] = readVarint(section, at, section.length);
    const from = row * rowLength, to = Math.min(row + height, rows) * rowLength; // prettier-ignore
    decodeStream(section.subarray(at, at + length), tables, out, from, to, tableOf, excess.add);
    at += length;
  }
  excess.check();
  return out;
}

/** CRC-32 over z, then the coded elements of y, as little-endian int16 (as every machine with a browser holds them). */
export function symbolsCrc(z, y, indexes) {
  let coded = 0;
  for (let i = 0; i < indexes.length; i++) coded += indexes[i] > 0;
  const kept = new Int16Array(coded);
  for (let i = 0, n = 0; i < indexes.length; i++) if (indexes[i] > 0) kept[n++] = y[i];
  return crc32(new Uint8Array(kept.buffer), crc32(new Uint8Array(z.buffer)));
}

/** How far symbols lie beyond the ends of their tables: the block at the start of a section. */
class Excess {
  constructor(section) {
    const [length, start] = readVarint(section, 0, section.length);
    this.end = start + length;
    if (this.end > section.length) throw new FormatError("damaged .jlc file: what exceeds its tables is cut short");
    this.values = [];
    this.used = 0;
    for (let at = start, value; at < this.end; ) {
      [value, at] = readVarint(section, at, this.end);
      this.values.push(value);
    }
    this.add = this.values.length ? this.add.bind(this) : (symbol) => symbol;
  }

  add(symbol, isHighest) {
    if (this.used === this.values.length || this.values[this.used] > SYMBOL_LIMIT) this.fail();
    const value = symbol + (isHighest ? 1 : -1) * this.values[this.used++];
    if (Math.abs(value) > SYMBOL_LIMIT) throw new FormatError("damaged .jlc file: a symbol is too large");
    return value;
  }

  check() {
    if (this.used !== this.values.length) this.fail();
  }

  fail() {
    throw new FormatError("damaged .jlc file: what exceeds its tables does not fit its symbols");
  }
}
