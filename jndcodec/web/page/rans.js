// Probability tables and the rANS decoder: a 64-bit state in two halves of 32 bits, every product exact in a double.

const BUCKET_BITS = 6; // slots that share an entry of the search table
const BUCKETS = 1 << (16 - BUCKET_BITS);

/** The tables of a weights file: tensors `tables.cdf`, `.size`, `.offset` of docs/FORMAT.md. */
export class Tables {
  constructor(cdf, size, offset) {
    this.cdf = cdf;
    this.offset = offset;
    this.start = new Int32Array(size.length); // where each table's frequencies begin in cdf
    for (let i = 1; i < size.length; i++) this.start[i] = this.start[i - 1] + size[i - 1];
    this.high = offset.map((low, i) => low + size[i] - 3); // largest symbol; the smallest is the offset
    this.bucket = new Uint16Array(size.length * BUCKETS); // first symbol that may hold a bucket's slots
    for (let i = 0; i < size.length; i++) {
      for (let b = 0, k = 0; b < BUCKETS; b++) {
        while (cdf[this.start[i] + k + 1] <= b << BUCKET_BITS) k++;
        this.bucket[i * BUCKETS + b] = k;
      }
    }
  }
}

/**
 * Decode one stream into `out` from element `from` up to `to`; `tableOf(i)` gives the table index of an element, and
 * elements with index 0 stay 0. `beyond(symbol, table)` is asked for symbols at an end of their table.
 */
export function decodeStream(stream, tables, out, from, to, tableOf, beyond) {
  const { cdf, start, offset, high: highest, bucket } = tables;
  const words = new Uint32Array(Math.max(2, Math.ceil(stream.length / 4))); // missing bytes read as 0
  new Uint8Array(words.buffer).set(stream);
  let low = words[0], high = words[1], next = 2; // prettier-ignore
  for (let i = from; i < to; i++) {
    const table = tableOf(i);
    if (table === 0) continue;
    const slot = low & 0xffff, base = start[table]; // prettier-ignore
    let k = bucket[table * BUCKETS + (slot >>> BUCKET_BITS)];
    while (cdf[base + k + 1] <= slot) k++;
    const first = cdf[base + k], frequency = cdf[base + k + 1] - first; // prettier-ignore
    // state = frequency * (state >> 16) + slot - first; below, what is multiplied has 32 and 16 bits
    const product = frequency * (((low >>> 16) | (high << 16)) >>> 0) + slot - first;
    high = (frequency * (high >>> 16) + Math.floor(product / 4294967296)) >>> 0;
    low = product >>> 0;
    if (high === 0 && low < 0x80000000) {
      high = low;
      low = next < words.length ? words[next++] : 0;
    }
    const symbol = offset[table] + k;
    out[i] = symbol === offset[table] || symbol === highest[table] ? beyond(symbol, symbol === highest[table]) : symbol;
  }
}
