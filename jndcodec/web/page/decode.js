// Bytes of a .jlc file to a PNG: the whole way, in the order that meets a bad file before memory or time are taken.

import { readVarint } from "./bytes.js";
import { ALPHA, facts, LOSSLESS, parse, Y, Z } from "./container.js";
import { FormatError, InputError, LimitError, ModelError, SymbolError } from "./errors.js";
import { readLossless, readMetadata, readPicture } from "./extras.js";
import { loadModel } from "./model.js";
import { addMetadata, encodePng } from "./png.js";
import { reconstruct } from "./reconstruct.js";
import { atRate, toIndex } from "./scale-network.js";
import { decodeY, decodeZ, symbolsCrc } from "./symbols.js";

export const MAX_PIXELS = 2 ** 25; // takes about 1.5 GB

const DETAIL_FROM = 7; // table index from which on detail is coded

/** The bytes at an address. InputError. */
export async function fetchFile(url) {
  const answer = await fetch(url).catch(() => null);
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop());
  if (!answer?.ok) throw new InputError(`${name}: cannot be fetched (${answer ? answer.status : "no connection"})`);
  return new Uint8Array(await answer.arrayBuffer());
}

/**
 * {png: Blob, facts}. onFacts is called as soon as the header is read, progress with the share done.
 * Every error is one of errors.js.
 */
export async function decode(bytes, { maxPixels = MAX_PIXELS, onFacts = () => {}, progress = () => {} } = {}) {
  const jlc = parse(bytes);
  const { width, height, sections } = jlc;
  const about = facts(jlc);
  onFacts(about);
  if (Math.ceil(width / 16) * Math.ceil(height / 16) * 256 > Math.max(maxPixels, 256)) {
    throw new LimitError(`${width} x ${height} is over this page's limit of ${maxPixels} pixels: decode it with jndcodec decode`);
  }
  if (!jlc.exact) throw new ModelError("this file is of a CompressAI model, which no page decodes: use jndcodec decode where it was made");
  const metadata = await readMetadata(sections);
  const times = new Clock();
  if (jlc.lossless) {
    const { png, rgb, alpha } = await readLossless(sections.get(LOSSLESS), width, height, about.alpha);
    times.stop("picture");
    const { pixels, channels } = png ? {} : combine(rgb, alpha, jlc.grey);
    const file = await (png ? addMetadata(png, metadata) : encodePng(pixels, width, height, channels, metadata));
    times.stop("PNG");
    return { png: file, facts: { ...about, seconds: times.seconds } };
  }
  const alpha = sections.has(ALPHA) ? await readPicture(sections.get(ALPHA), width, height, [0], "alpha channel") : null;
  const model = await loadModel(jlc.modelId, (share) => progress(0.2 * share));
  times.stop("model");
  const symbols = decodeSymbols(jlc, model);
  times.stop("exact stage");
  progress(0.3);
  const rgb = await reconstruct(model, jlc, symbols, (share) => progress(0.3 + 0.6 * share));
  times.stop("networks");
  const { pixels, channels } = combine(rgb, alpha, jlc.grey);
  const png = await encodePng(pixels, width, height, channels, metadata);
  times.stop("PNG");
  return { png, facts: { ...about, model: model.name, engine: model.engine, seconds: times.seconds } };
}

/** Seconds between stops. */
class Clock {
  seconds = {};
  #last = performance.now();

  stop(part) {
    const now = performance.now();
    this.seconds[part] = (now - this.#last) / 1000;
    this.#last = now;
  }
}

/** {z, y, index, channels}: all symbols, and the tables that they were coded with; y with the first channels of detail. SymbolError, FormatError. */
function decodeSymbols({ width, height, t, sections, symbolsCrc: expected }, model) {
  const { tables, tensors } = model;
  const rows = Math.ceil(height / 16), columns = Math.ceil(width / 16); // of y and detail // prettier-ignore
  const high = Math.ceil(rows / 4), wide = Math.ceil(columns / 4); // of z // prettier-ignore
  const [detail, start] = readVarint(sections.get(Y), 0, sections.get(Y).length);
  if (detail > model.config.detail) throw new FormatError("damaged .jlc file: more detail than its model has");
  const { m } = model.config, channels = m + detail; // prettier-ignore
  const indexZ = Uint8Array.from(atRate(tensors.get("scale_net.index_z"), t), toIndex);
  const z = decodeZ(sections.get(Z), high * wide * indexZ.length, indexZ, tables);
  const usual = atRate(tensors.get("scale_net.index_y"), t);
  const index = new Uint8Array(rows * columns * channels);
  model.scaleNetwork.run(z, high, wide, channels, (row, values) => {
    if (row >= rows) return;
    for (let i = 0, c = 0, to = row * columns * channels; i < columns * channels; i++, to++, c = c + 1 === channels ? 0 : c + 1) {
      const found = toIndex(values[i] + usual[c]);
      index[to] = c < m || found >= DETAIL_FROM ? found : 0;
    }
  });
  const y = decodeY(sections.get(Y).subarray(start), index, rows, columns * channels, tables);
  if (symbolsCrc(z, y, index) !== expected) {
    throw new SymbolError("the symbols differ from those that were encoded, though the file is whole; please report this with the file");
  }
  return { z, y, index, channels };
}

/** RGB and alpha (or null) as the channels of the PNG; grey is the mean of three. */
function combine(rgb, alpha, grey) {
  const channels = (grey ? 1 : 3) + (alpha ? 1 : 0);
  if (channels === 3) return { pixels: rgb, channels };
  const count = rgb.length / 3, pixels = new Uint8Array(count * channels); // prettier-ignore
  for (let i = 0, from = 0, to = 0; i < count; i++, from += 3) {
    if (grey) pixels[to++] = Math.floor((rgb[from] + rgb[from + 1] + rgb[from + 2] + 1) / 3);
    else for (let c = 0; c < 3; c++) pixels[to++] = rgb[from + c];
    if (alpha) pixels[to++] = alpha[i];
  }
  return { pixels, channels };
}
