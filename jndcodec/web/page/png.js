// Pixels to a PNG file with its ICC profile, EXIF and XMP: what the page shows and saves. The browser does the colours.

import { concat, crc32, deflate } from "./bytes.js";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOUR_TYPE = { 1: 0, 2: 4, 3: 2, 4: 6 }; // by number of channels: grey, with alpha, RGB, with alpha
const PAETH = 4;
const FIRST_CHUNK = 33; // where it ends: signature and IHDR

/** pixels: Uint8Array (height × width × channels); metadata: {icc, exif, xmp}, each Uint8Array or undefined. A Blob. */
export async function encodePng(pixels, width, height, channels, metadata) {
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, COLOUR_TYPE[channels]);
  const parts = [SIGNATURE, chunk("IHDR", new Uint8Array(head.buffer)), ...(await chunks(metadata))];
  parts.push(chunk("IDAT", await deflate(filtered(pixels, width * channels, height, channels))));
  return asBlob([...parts, chunk("IEND", new Uint8Array(0))]);
}

/** A PNG file that has none yet, with metadata. */
export async function addMetadata(png, metadata) {
  return asBlob([png.subarray(0, FIRST_CHUNK), ...(await chunks(metadata)), png.subarray(FIRST_CHUNK)]);
}

const asBlob = (parts) => new Blob(parts, { type: "image/png" });

async function chunks({ icc, exif, xmp }) {
  const text = (string) => Uint8Array.from(string, (char) => char.charCodeAt(0));
  const found = [];
  if (icc) found.push(chunk("iCCP", concat([text("ICC Profile\0\0"), await deflate(icc)])));
  if (exif) found.push(chunk("eXIf", exif));
  if (xmp) found.push(chunk("iTXt", concat([text("XML:com.adobe.xmp\0\0\0\0\0"), xmp])));
  return found;
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
