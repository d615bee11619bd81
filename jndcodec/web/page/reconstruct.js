// From symbols to pixels: the four steps of context that find the means of y, then the synthesis, window by window.
// Planes are {data, channels, rows, columns}, channel by channel, as the networks read them.

import { cut, paste, planes, spans } from "./tiling.js";

const T_MAX = 65535;
const CELL = 4, STRIDE = 16; // elements of y on a side of one of z, pixels on a side of one of y // prettier-ignore
const ORDER = ["0123", "3210", "2301", "1032"]; // step, channel quarter → position in 2×2: 2 · row + column
const H_S_HALO = 1, CONTEXT_HALO = 1; // reach of the networks // prettier-ignore
const STRIP = 32768; // elements of y per channel that the hyper networks read at once
const WINDOW = 64; // elements of y on a side of what the synthesis reads at once

/** The exponential of a table of K anchors × channels, linear between the anchors: Float32Array(channels). */
function gains(model, t, name) {
  const { shape: [anchors, channels], data } = model.tensors.get(name); // prettier-ignore
  const position = (t / T_MAX) * (anchors - 1), left = Math.min(Math.floor(position), anchors - 2); // prettier-ignore
  return Float32Array.from({ length: channels }, (_, c) => {
    const low = data[left * channels + c], high = data[(left + 1) * channels + c]; // prettier-ignore
    return Math.exp(low + (high - low) * (position - left));
  });
}

/** RGB, Uint8ClampedArray (height × width × 3). symbols: {z, y, index, channels} in the order rows, columns, channels. */
export async function reconstruct(model, { width, height, t }, symbols, progress) {
  const rows = Math.ceil(height / STRIDE), columns = Math.ceil(width / STRIDE); // prettier-ignore
  const { m } = model.config;
  const shift = model.tensors.get("recon_shift").data;
  const sigma = gains(model, t, "sigma");
  const gain = gains(model, t, "gain");
  /** A symbol's value, inside of it: small symbols overstate. */
  const value = (at) => symbols.y[at] - Math.sign(symbols.y[at]) * shift[symbols.index[at]];

  const { features, mean } = await hyper(model, symbols.z, rows, columns);
  const y = planes(m, rows, columns);
  for (let step = 0; step < ORDER.length; step++) {
    if (step > 0) await contextStep(model, step, y, features, mean, sigma);
    for (let c = 0; c < m; c++) {
      const position = +ORDER[step][Math.floor((4 * c) / m)];
      for (let row = position >> 1; row < rows; row += 2) {
        for (let column = position & 1; column < columns; column += 2) {
          const at = (c * rows + row) * columns + column;
          y.data[at] = value((row * columns + column) * symbols.channels + c) + mean.data[at] * sigma[c];
        }
      }
    }
    progress((0.3 * (step + 1)) / ORDER.length);
  }
  for (let i = 0, size = rows * columns; i < y.data.length; i++) y.data[i] *= gain[Math.floor(i / size)];
  const detailAt = (at, c) => value(at + m + c) * gain[m + c];
  return synthesise(model, { width, height, t }, y, detailAt, symbols.channels, progress);
}

/** h_s in strips: features and first means, cut to the size of y. */
async function hyper(model, z, rows, columns) {
  const { cz, d, m } = model.config;
  const high = Math.ceil(rows / CELL), wide = Math.ceil(columns / CELL); // prettier-ignore
  const all = planes(cz, high, wide);
  for (let i = 0; i < z.length; i++) all.data[(i % cz) * high * wide + Math.floor(i / cz)] = z[i];
  const features = planes(2 * d, rows, columns), mean = planes(m, rows, columns); // prettier-ignore
  const column = { start: 0, stop: columns, low: 0, high: wide };
  for (const { start, stop, low, high: to } of spans(high, Math.max(1, Math.floor(STRIP / (wide * CELL * CELL))), H_S_HALO)) {
    const out = await model.run("hyper", { z_hat: cut(all, { low, high: to }, column) });
    const row = { start: start * CELL, stop: Math.min(stop * CELL, rows), low: low * CELL };
    paste(out.features, features, row, column);
    paste(out.mean, mean, row, column);
  }
  return { features, mean };
}

/** One later step: new means from what the earlier ones made of y (zeros elsewhere), in units of σ. */
async function contextStep(model, step, y, features, mean, sigma) {
  const column = { start: 0, stop: y.columns, low: 0, high: y.columns };
  for (const row of spans(y.rows, Math.max(1, Math.floor(STRIP / y.columns)), CONTEXT_HALO)) {
    const units = cut(y, row, column), size = units.rows * units.columns; // prettier-ignore
    for (let i = 0; i < units.data.length; i++) {
      units.data[i] = Math.min(Math.max(units.data[i] / sigma[Math.floor(i / size)], -8), 8);
    }
    const inputs = { y_units: units, features: cut(features, row, column) };
    paste((await model.run(`context_${step}`, inputs)).mean, mean, row, column);
  }
}

/**
 * g_s, detail and the inverse DCT in windows, to 8 bits. detailAt(at, c): detail c of the element that begins at `at` of
 * the symbols, which have as many `channels`: those of y, then the first of detail.
 */
async function synthesise(model, { width, height, t }, y, detailAt, channels, progress) {
  const { c8, detail: all, m } = model.config;
  const gain = { data: gains(model, t, "gain_s"), channels: c8, rows: 1, columns: 1 };
  const rgb = new Uint8ClampedArray(width * height * 3); // rounds and limits what is written into it
  const high = spans(y.rows, WINDOW, model.halo), wide = spans(y.columns, WINDOW, model.halo); // prettier-ignore
  let done = 0;
  for (const row of high) {
    for (const column of wide) {
      const detail = planes(all, row.high - row.low, column.high - column.low);
      for (let c = 0, to = 0; c < channels - m; c++) {
        for (let r = row.low; r < row.high; r++) {
          for (let k = column.low; k < column.high; k++) detail.data[to++] = detailAt((r * y.columns + k) * channels, c);
        }
      }
      const { x_hat: x } = await model.run("synthesis", { y: cut(y, row, column), gain, detail });
      const bottom = Math.min(row.stop * STRIDE, height), right = Math.min(column.stop * STRIDE, width); // prettier-ignore
      for (let c = 0; c < 3; c++) {
        for (let r = row.start * STRIDE; r < bottom; r++) {
          let from = (c * x.rows + r - row.low * STRIDE) * x.columns + (column.start - column.low) * STRIDE;
          let to = (r * width + column.start * STRIDE) * 3 + c;
          for (let k = column.start * STRIDE; k < right; k++, to += 3) rgb[to] = 255 * x.data[from++];
        }
      }
      progress(0.3 + (0.7 * ++done) / (high.length * wide.length));
    }
  }
  return rgb;
}
