// What stands beside the colours: metadata (zlib streams) and pictures within the file (PNG or WebP).

import { inflate, u32be } from "./bytes.js";
import { EXIF, ICC, VP8L_ALPHA, XMP } from "./container.js";
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

/**
 * Some channels (numbers of RGBA) of a PNG or WebP file whose size must be the picture's: Uint8Array (pixels × channels).
 * FormatError, `what` names it.
 */
export async function readPicture(bytes, width, height, channels, what) {
  const size = pngSize(bytes) ?? webpSize(bytes); // before the browser takes memory for it
  try {
    if (size[0] === width && size[1] === height) {
      const rgba = (await rawPixels(bytes)) ?? (await drawnPixels(bytes, width, height));
      const out = new Uint8Array((rgba.length / 4) * channels.length);
      for (let from = 0, to = 0; from < rgba.length; from += 4) for (const c of channels) out[to++] = rgba[from + c];
      return out;
    }
  } catch {} // neither of the two formats, or damaged
  throw new FormatError(`damaged .jlc file: its ${what} cannot be decoded; get the file again`);
}

const OPTIONS = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

/** RGBA as the browser decoded it; null where it has no ImageDecoder, or one that gives other formats. */
async function rawPixels(bytes) {
  if (!globalThis.ImageDecoder) return null;
  const decoder = new ImageDecoder({ data: bytes, type: pngSize(bytes) ? "image/png" : "image/webp", ...OPTIONS });
  const { image } = await decoder.decode();
  const order = image.format; // copied as it is: what converts it would divide by alpha
  const pixels = new Uint8Array(image.allocationSize());
  await image.copyTo(pixels);
  image.close();
  decoder.close();
  if (/^BGR[AX]$/.test(order)) for (let i = 0; i < pixels.length; i += 4) [pixels[i], pixels[i + 2]] = [pixels[i + 2], pixels[i]];
  return /^(BGR|RGB)[AX]$/.test(order) ? pixels : null;
}

/** Where a browser has no ImageDecoder: a canvas multiplies colours with alpha, so those under little alpha are rounded. */
async function drawnPixels(bytes, width, height) {
  const bitmap = await createImageBitmap(new Blob([bytes]), OPTIONS);
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pen.getImageData(0, 0, width, height).data;
}

/** A LOSSLESS section: {rgb, alpha or null}, or {png} where it is a PNG file, which stays as it is. */
export async function readLossless(payload, width, height, alpha) {
  const what = "lossless picture";
  const size = pngSize(payload);
  if (!size) {
    // alpha as it is, then the colours as if there were none: else they would come multiplied with it
    const file = asWebp(payload);
    const read = (channels) => readPicture(file, width, height, channels, what);
    const hidden = alpha ? await read([3]) : null;
    file[HEAD + 4] &= ~VP8L_ALPHA;
    return { rgb: await read([0, 1, 2]), alpha: hidden };
  }
  if (size[0] === width && size[1] === height) return { png: payload };
  throw new FormatError(`damaged .jlc file: its ${what} cannot be decoded; get the file again`);
}

const HEAD = 20; // bytes of a WebP file before its bitstream

/** A VP8L bitstream as a WebP file. */
function asWebp(payload) {
  const out = new Uint8Array(HEAD + payload.length + (payload.length % 2)), view = new DataView(out.buffer); // prettier-ignore
  [..."RIFF    WEBPVP8L"].forEach((char, i) => (out[i] = char.charCodeAt(0)));
  view.setUint32(4, out.length - 8, true);
  view.setUint32(16, payload.length, true);
  out.set(payload, HEAD);
  return out;
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
