// The container of docs/FORMAT.md: bytes of a .jlc file to its header and sections, everything checked.

import { crc32, readVarint, u32 } from "./bytes.js";
import { FormatError, VersionError } from "./errors.js";

export const Z = 1, Y = 2, ALPHA = 3, LOSSLESS = 4, ICC = 0x80, EXIF = 0x81, XMP = 0x82; // prettier-ignore
const NAMES = {
  [Z]: "z", [Y]: "y", [ALPHA]: "alpha", [LOSSLESS]: "lossless", [ICC]: "icc", [EXIF]: "exif", [XMP]: "xmp", // prettier-ignore
};
const OPTIONAL = 0x80; // section types from here up may be skipped
const GREY = 1, FLOAT_ENTROPY = 2, LOSSLESS_FILE = 4; // flags // prettier-ignore
const MAGIC = [0x8a, 0x4a, 0x4c, 0x43];
const VERSION = 1;
const MAX_SIDE = 1 << 20;
const FIXED = 6; // magic, version, flags
const ID = 8; // model id
const CRC = 4;

export const VP8L_ALPHA = 0x10; // in the fifth byte of a VP8L header

const CUT = "damaged .jlc file: cut short; get the file again";

/**
 * {width, height, grey, lossless, exact, sections: Map(type → bytes), bytes, modelId, t, symbolsCrc}; a lossless file
 * has none of the last three. FormatError, VersionError.
 */
export function parse(data) {
  if (data.length === 0) throw new FormatError("empty file, not a .jlc file; get the file again");
  if (MAGIC.some((byte, i) => data[i] !== byte)) {
    throw new FormatError("not a .jlc file: it does not start with the .jlc signature");
  }
  if (data.length > 4 && data[4] !== VERSION) {
    throw new VersionError(`this file has format version ${data[4]}, this page reads version ${VERSION}: a newer one is needed`);
  }
  if (data.length < FIXED + 2 + CRC) throw new FormatError(CUT);
  if (crc32(data.subarray(0, -CRC)) !== u32(data, data.length - CRC)) {
    throw new FormatError("damaged .jlc file: its checksum is wrong (cut short or changed); get the file again");
  }
  const flags = data[5];
  if (flags & ~(GREY | FLOAT_ENTROPY | LOSSLESS_FILE)) {
    throw new VersionError(`this file uses features (flags 0x${flags.toString(16)}) that this page does not know`);
  }
  const jlc = {
    grey: (flags & GREY) !== 0,
    exact: (flags & FLOAT_ENTROPY) === 0,
    lossless: (flags & LOSSLESS_FILE) !== 0,
    bytes: data.length,
  };
  const end = data.length - CRC * (jlc.lossless ? 1 : 2);
  let at = FIXED;
  if (!jlc.lossless) {
    jlc.modelId = hex(data.subarray(at, at + ID));
    at += ID;
  }
  [jlc.width, at] = readVarint(data, at, end);
  [jlc.height, at] = readVarint(data, at, end);
  if (!(jlc.width > 0 && jlc.width <= MAX_SIDE && jlc.height > 0 && jlc.height <= MAX_SIDE)) {
    throw new FormatError(`damaged .jlc file: impossible size ${jlc.width} x ${jlc.height}`);
  }
  if (!jlc.lossless) {
    if (at + 2 > end) throw new FormatError(CUT);
    jlc.t = data[at] | (data[at + 1] << 8);
    jlc.symbolsCrc = u32(data, end);
    at += 2;
  }
  jlc.sections = parseSections(data, at, end);
  for (const kind of jlc.lossless ? [LOSSLESS] : [Z, Y]) {
    if (!jlc.sections.has(kind)) throw new FormatError(`damaged .jlc file: section ${NAMES[kind].toUpperCase()} is missing`);
  }
  return jlc;
}

function parseSections(data, at, end) {
  const sections = new Map();
  while (at < end) {
    const kind = data[at];
    let length;
    [length, at] = readVarint(data, at + 1, end);
    if (length > end - at) throw new FormatError("damaged .jlc file: a section is longer than the file");
    const name = `section 0x${kind.toString(16)}`;
    if (sections.has(kind)) throw new FormatError(`damaged .jlc file: ${name} stands twice`);
    if (kind < OPTIONAL && !(kind in NAMES)) {
      throw new VersionError(`this file needs a feature (${name}) unknown to this page: a newer one is needed`);
    }
    sections.set(kind, data.subarray(at, at + length));
    at += length;
  }
  return sections;
}

/** What `jndcodec info` says, ready to show. */
export function facts(jlc) {
  const sections = {};
  for (const [kind, payload] of jlc.sections) {
    sections[NAMES[kind] ?? `unknown 0x${kind.toString(16)}`] = payload.length;
  }
  const inside = Object.values(sections).reduce((sum, size) => sum + size, 0);
  return {
    width: jlc.width,
    height: jlc.height,
    grey: jlc.grey,
    lossless: jlc.lossless,
    alpha: jlc.lossless ? losslessAlpha(jlc.sections.get(LOSSLESS)) : jlc.sections.has(ALPHA),
    icc: jlc.sections.has(ICC),
    bytes: jlc.bytes,
    bpp: (8 * jlc.bytes) / (jlc.width * jlc.height),
    quality: jlc.exact && !jlc.lossless ? jlc.t / 655.35 : null,
    modelId: jlc.modelId,
    exact: jlc.exact,
    symbolsCrc: jlc.symbolsCrc?.toString(16).padStart(8, "0"),
    sections,
    overhead: jlc.bytes - inside,
  };
}

/** Whether a LOSSLESS section has alpha, by its own header: VP8L, or a PNG of type RGBA. */
function losslessAlpha(bytes) {
  return bytes[0] === 0x89 ? bytes[25] === 6 : (bytes[4] & VP8L_ALPHA) !== 0;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
