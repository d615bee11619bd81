// The container of docs/FORMAT.md: bytes of a .jlc file to its header and sections, everything checked.

import { crc32, readVarint, u32 } from "./bytes.js";
import { FormatError, VersionError } from "./errors.js";

export const Z = 1, Y = 2, ALPHA = 3, ICC = 0x80, EXIF = 0x81, XMP = 0x82; // prettier-ignore
const NAMES = { [Z]: "z", [Y]: "y", [ALPHA]: "alpha", [ICC]: "icc", [EXIF]: "exif", [XMP]: "xmp" };
const OPTIONAL = 0x80; // section types from here up may be skipped
const GREY = 1, FLOAT_ENTROPY = 2; // prettier-ignore
const MAGIC = [0x8a, 0x4a, 0x4c, 0x43];
const VERSION = 1;
const MAX_SIDE = 1 << 20;
const FIXED = 14; // magic, version, flags, model id
const CRCS = 8;

const CUT = "damaged .jlc file: cut short; get the file again";

/** {modelId, width, height, t, grey, exact, symbolsCrc, sections: Map(type → bytes), bytes}. FormatError, VersionError. */
export function parse(data) {
  if (data.length === 0) throw new FormatError("empty file, not a .jlc file; get the file again");
  if (MAGIC.some((byte, i) => data[i] !== byte)) {
    throw new FormatError("not a .jlc file: it does not start with the .jlc signature");
  }
  if (data.length > 4 && data[4] !== VERSION) {
    throw new VersionError(`this file has format version ${data[4]}, this page reads version ${VERSION}: a newer one is needed`);
  }
  if (data.length < FIXED + 2 + 2 + CRCS) throw new FormatError(CUT);
  if (crc32(data.subarray(0, -4)) !== u32(data, data.length - 4)) {
    throw new FormatError("damaged .jlc file: its checksum is wrong (cut short or changed); get the file again");
  }
  const flags = data[5];
  if (flags & ~(GREY | FLOAT_ENTROPY)) {
    throw new VersionError(`this file uses features (flags 0x${flags.toString(16)}) that this page does not know`);
  }
  const end = data.length - CRCS;
  let width, height, at;
  [width, at] = readVarint(data, FIXED, end);
  [height, at] = readVarint(data, at, end);
  if (!(width > 0 && width <= MAX_SIDE && height > 0 && height <= MAX_SIDE)) {
    throw new FormatError(`damaged .jlc file: impossible size ${width} x ${height}`);
  }
  if (at + 2 > end) throw new FormatError(CUT);
  return {
    modelId: hex(data.subarray(6, FIXED)),
    width,
    height,
    t: data[at] | (data[at + 1] << 8),
    grey: (flags & GREY) !== 0,
    exact: (flags & FLOAT_ENTROPY) === 0,
    symbolsCrc: u32(data, end),
    sections: parseSections(data, at + 2, end),
    bytes: data.length,
  };
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
  for (const kind of [Z, Y]) {
    if (!sections.has(kind)) throw new FormatError(`damaged .jlc file: section ${NAMES[kind].toUpperCase()} is missing`);
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
    alpha: jlc.sections.has(ALPHA),
    icc: jlc.sections.has(ICC),
    bytes: jlc.bytes,
    bpp: (8 * jlc.bytes) / (jlc.width * jlc.height),
    quality: jlc.exact ? jlc.t / 655.35 : null,
    modelId: jlc.modelId,
    exact: jlc.exact,
    symbolsCrc: jlc.symbolsCrc.toString(16).padStart(8, "0"),
    sections,
    overhead: jlc.bytes - inside,
  };
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
