// Pixels to a PNG file with its ICC profile, EXIF and XMP: what the page shows and saves. The browser does the colours.

import { concat, crc32, deflate } from "./bytes.js";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOUR_TYPE = { 1: 0, 2: 4, 3: 2, 4: 6 }; // by number of channels: grey, with alpha, RGB, with alpha
const PAETH = 4;

/** pixels: Uint8Array (height × width × channels). icc, exif, xmp: Uint8Array or undefined. Returns a Blob. */
export async function encodePng(pixels, width, height, channels, { icc, exif, xmp } = {}) {
  const text = (string) => Uint8Array.from(string, (char) => char.charCodeAt(0));
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, COLOUR_TYPE[channels]);
  const parts = [SIGNATURE, chunk("IHDR", new Uint8Array(head.buffer))];
  if (icc) parts.push(chunk("iCCP", concat([text("ICC Profile\0\0"), await deflate(icc)])));
  parts.push(chunk("IDAT", await deflate(filtered(pixels, width * channels, height, channels))));
  if (exif) parts.push(chunk("eXIf", exif));
  if (xmp) parts.push(chunk("iTXt", concat([text("XML:com.adobe.xmp\0\0\0\0\0"), xmp])));
  parts.push(chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}

function chunk(name, payload) {
  const out = new Uint8Array(payload.length + 12), view = new DataView(out.buffer); // prettier-ignore
  view.setUint32(0, payload.length);
  for (let i = 0; i < 4; i++) out[4 + i] = name.charCodeAt(i);
  out.set(payload, 8);
  view.setUint32(payload.length + 8, crc32(out.subarray(4, -4)));
  return out;
}

/** Rows with the Paeth filter, the best single one for photos. */
function filtered(pixels, stride, height, step) {
  const out = new Uint8Array((stride + 1) * height);
  for (let row = 0, at = 0, from = 0; row < height; row++) {
    out[at++] = PAETH;
    for (let i = 0; i < stride; i++, from++) {
      const left = i >= step ? pixels[from - step] : 0;
      const up = row ? pixels[from - stride] : 0;
      const corner = row && i >= step ? pixels[from - stride - step] : 0;
      const a = Math.abs(up - corner), b = Math.abs(left - corner), c = Math.abs(left + up - 2 * corner); // prettier-ignore
      out[at++] = pixels[from] - (a <= b && a <= c ? left : b <= c ? up : corner);
    }
  }
  return out;
}
