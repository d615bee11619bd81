// What stands beside the colours: metadata (zlib streams) and pictures within the file (PNG or WebP).

import { inflate, u32be } from "./bytes.js";
import { EXIF, ICC, XMP } from "./container.js";
import { FormatError } from "./errors.js";

const MAX_METADATA = 2 ** 26; // bytes that a section may inflate to

/** {icc, exif, xmp}, those that are there. */
export async function readMetadata(sections) {
  const found = {};
  for (const [kind, name] of [[ICC, "icc"], [EXIF, "exif"], [XMP, "xmp"]]) { // prettier-ignore
    if (!sections.has(kind)) continue;
    found[name] = await inflate(sections.get(kind), MAX_METADATA);
    if (!found[name]) throw new FormatError(`damaged .jlc file: its ${name.toUpperCase()} data cannot be inflated`);
  }
  return found;
}

/** RGBA of a PNG or WebP section whose size must be the picture's; FormatError, `what` names it. Opaque ones are exact. */
export async function readPicture(bytes, width, height, what) {
  const size = pngSize(bytes) ?? webpSize(bytes); // before the browser takes memory for it
  try {
    if (size[0] === width && size[1] === height) {
      const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
      const bitmap = await createImageBitmap(new Blob([bytes]), options);
      const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      pen.drawImage(bitmap, 0, 0);
      bitmap.close();
      return pen.getImageData(0, 0, width, height).data;
    }
  } catch {} // neither of the two formats, or damaged
  throw new FormatError(`damaged .jlc file: its ${what} cannot be decoded; get the file again`);
}

const ascii = (bytes, at, count) => String.fromCharCode(...bytes.subarray(at, at + count));
const u24 = (bytes, at) => bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);

function pngSize(bytes) {
  return ascii(bytes, 1, 3) === "PNG" && ascii(bytes, 12, 4) === "IHDR" ? [u32be(bytes, 16), u32be(bytes, 20)] : null;
}

/** Of a lossless WebP file, simple or extended. */
function webpSize(bytes) {
  if (ascii(bytes, 8, 4) !== "WEBP") return null;
  if (ascii(bytes, 12, 4) === "VP8X") return [u24(bytes, 24) + 1, u24(bytes, 27) + 1];
  if (ascii(bytes, 12, 4) !== "VP8L") return null;
  return [((bytes[21] | (bytes[22] << 8)) & 0x3fff) + 1, (((bytes[22] >> 6) | (bytes[23] << 2) | (bytes[24] << 10)) & 0x3fff) + 1];
}
