// The exact stage: z to the table index of every element of y. All values are integers, and doubles add integers below
// 2^53 without rounding: same numbers as the 64-bit integers of docs/FORMAT.md, in any order.

import { ModelError } from "./errors.js";
import { spans } from "./tiling.js";

const HALF = 128, UNIT = 256; // 8 fractional bits // prettier-ignore
const LIMIT = 32767;
const LAST_TABLE = 63;
const T_MAX = 65535;
const REACH = 1; // of the network beyond an element of z
const STRIP = 256; // elements of z per channel that it reads at once

/** A table of K anchors × C integers at rate t of 65535: Float64Array(C). */
export function atRate({ shape: [anchors, channels], data }, t) {
  const position = t * (anchors - 1);
  const left = Math.min(Math.floor(position / T_MAX), anchors - 2);
  const fraction = position - T_MAX * left;
  return Float64Array.from({ length: channels }, (_, c) => {
    const low = data[left * channels + c], high = data[(left + 1) * channels + c]; // prettier-ignore
    return Math.floor((low * (T_MAX - fraction) + high * fraction + (T_MAX - 1) / 2) / T_MAX);
  });
}

/** Table index of a value with 8 fractional bits. */
export const toIndex = (value) => Math.min(Math.max(Math.floor((value + HALF) / UNIT), 0), LAST_TABLE);

export class ScaleNetwork {
  /** From the tensors `scale_net.*`. ModelError where its sums could leave what doubles hold exactly. */
  constructor(tensors) {
    const form = tensors.get("scale_net.form");
    this.layers = Array.from({ length: form.shape[0] }, (_, n) => {
      const [shift, upsample, relu] = form.data.subarray(3 * n, 3 * n + 3);
      return new Layer(tensors.get(`scale_net.${n}.weight`), tensors.get(`scale_net.${n}.bias`).data, shift, upsample, relu);
    });
  }

  /**
   * z (rows × columns × cz, int16) to the first `count` channels of the network's output, strip by strip:
   * answer(row, values) gets the 4 · columns × count values of each of the 4 · rows rows.
   */
  run(z, rows, columns, count, answer) {
    const cz = z.length / rows / columns, width = 4 * columns * count; // prettier-ignore
    const last = this.layers.at(-1);
    for (const { start, stop, low, high } of spans(rows, Math.max(1, Math.floor(STRIP / columns)), REACH)) {
      const part = z.subarray(low * columns * cz, high * columns * cz);
      let x = { data: Float64Array.from(part, (value) => clamp(value * UNIT, -LIMIT)), rows: high - low, columns };
      for (const layer of this.layers) x = layer.run(x, layer === last ? count : layer.outputs);
      for (let row = 4 * start; row < 4 * stop; row++) {
        answer(row, x.data.subarray((row - 4 * low) * width, (row - 4 * low + 1) * width));
      }
    }
  }
}

const clamp = (value, low) => (value < low ? low : value > LIMIT ? LIMIT : value);

/** A convolution of integers, 1×1 or 3×3, with what follows it: shift, clamp, 2×2 upsampling. */
class Layer {
  constructor({ shape: [outputs, inputs, kernel], data }, bias, shift, upsample, relu) {
    Object.assign(this, { outputs, inputs, kernel, bias, shift, upsample, relu });
    this.length = kernel * kernel * inputs; // of what one output reads: taps, each with all inputs
    this.weight = new Float64Array(outputs * this.length);
    let largest = 0;
    for (let o = 0; o < outputs; o++) {
      let sum = Math.abs(bias[o]) + 2 ** shift;
      for (let i = 0; i < inputs; i++) {
        for (let tap = 0; tap < kernel * kernel; tap++) {
          const value = data[(o * inputs + i) * kernel * kernel + tap];
          this.weight[o * this.length + tap * inputs + i] = value;
          sum += Math.abs(value) * LIMIT;
        }
      }
      largest = Math.max(largest, sum);
    }
    if (largest >= 2 ** 53) throw new ModelError("the model's scale network has sums that doubles do not hold exactly");
  }

  /** The first `outputs` channels of the result. */
  run({ data, rows, columns }, outputs) {
    const grow = this.upsample ? 2 : 1;
    const channels = outputs / (grow * grow), wide = columns * grow; // prettier-ignore
    const out = new Float64Array(rows * columns * outputs);
    const scale = 2 ** -this.shift, half = 2 ** (this.shift - 1), low = this.relu ? 0 : -LIMIT; // prettier-ignore
    const taken = new Float64Array(2 * this.length); // what two neighbouring positions read
    const sums = new Float64Array(2 * (outputs + 3)); // the last four may reach beyond
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column += 2) {
        const count = Math.min(2, columns - column);
        for (let p = 0; p < count; p++) this.take(data, rows, columns, row, column + p, taken.subarray(p * this.length));
        this.products(taken, sums, outputs);
        for (let p = 0; p < count; p++) {
          for (let o = 0; o < outputs; o++) {
            const value = clamp(Math.floor((sums[p * (outputs + 3) + o] + half) * scale), low);
            // channel 4c + 2 dy + dx goes to the position (dy, dx) of channel c
            const at = grow === 1
              ? (row * columns + column + p) * channels + o
              : ((2 * row + ((o >> 1) & 1)) * wide + 2 * (column + p) + (o & 1)) * channels + (o >> 2); // prettier-ignore
            out[at] = value;
          }
        }
      }
    }
    return { data: out, rows: rows * grow, columns: wide };
  }

  /** Copy what one position reads, zeros outside. */
  take(data, rows, columns, row, column, into) {
    const { kernel, inputs } = this, margin = kernel >> 1; // prettier-ignore
    let at = 0;
    for (let dy = -margin; dy <= margin; dy++) {
      for (let dx = -margin; dx <= margin; dx++, at += inputs) {
        const y = row + dy, x = column + dx; // prettier-ignore
        if (y < 0 || y >= rows || x < 0 || x >= columns) into.fill(0, at, at + inputs);
        else into.set(data.subarray((y * columns + x) * inputs, (y * columns + x + 1) * inputs), at);
      }
    }
  }

  /** Biases plus products for two positions, four outputs at a time: eight sums stay in registers. */
  products(taken, sums, outputs) {
    const { weight, bias, length } = this, second = outputs + 3; // prettier-ignore
    for (let o = 0; o < outputs; o += 4) {
      const w0 = o * length, w1 = w0 + length, w2 = w1 + length, w3 = w2 + length; // prettier-ignore
      let a0 = bias[o], a1 = bias[o + 1], a2 = bias[o + 2], a3 = bias[o + 3]; // prettier-ignore
      let b0 = a0, b1 = a1, b2 = a2, b3 = a3; // prettier-ignore
      for (let i = 0; i < length; i++) {
        const x = taken[i], y = taken[length + i]; // prettier-ignore
        const p = weight[w0 + i], q = weight[w1 + i], r = weight[w2 + i], s = weight[w3 + i]; // prettier-ignore
        a0 += p * x; a1 += q * x; a2 += r * x; a3 += s * x; // prettier-ignore
        b0 += p * y; b1 += q * y; b2 += r * y; b3 += s * y; // prettier-ignore
      }
      sums[o] = a0; sums[o + 1] = a1; sums[o + 2] = a2; sums[o + 3] = a3; // prettier-ignore
      sums[second + o] = b0; sums[second + o + 1] = b1; sums[second + o + 2] = b2; sums[second + o + 3] = b3; // prettier-ignore
    }
  }
}
