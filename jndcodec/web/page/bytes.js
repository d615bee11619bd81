// Bytes: varints, CRC-32, and zlib streams with a limit on what they may inflate to.

import { FormatError } from "./errors.js";

const MAX_VARINT = 5; // bytes: 35 bits

/** LEB128 at `at`: [value, next position]. FormatError where it does not end before `end`. */
export function readVarint(data, at, end) {
  let value = 0;
  for (let i = 0, unit = 1; i < MAX_VARINT && at + i < end; i++, unit *= 128) {
    value += (data[at + i] & 0x7f) * unit; // not a shift: 35 bits are more than JavaScript shifts
    if (data[at + i] < 0x80) return [value, at + i + 1];
  }
  throw new FormatError("damaged .jlc file: a length does not end; get the file again");
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32 (zlib) of bytes; `crc` continues an earlier one. */
export function crc32(bytes, crc = 0) {
  let c = ~crc;
  for (let i = 0; i < bytes.length; i++) c = CRC_TABLE[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}

export const u32 = (data, at) => (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)) >>> 0;

export const u32be = (data, at) => (data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]) >>> 0;

/** The content of a zlib stream; null where it is damaged, cut short or larger than `limit` bytes. */
export async function inflate(bytes, limit) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return concat(parts);
      size += value.length;
      if (size > limit) {
        await reader.cancel();
        return null;
      }
      parts.push(value);
    }
  } catch {
    return null;
  }
}

/** A zlib stream of the bytes. */
export async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function concat(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
