// Tensors of a safetensors file as {shape, data}, with numbers that are exact in JavaScript.

import { ModelError } from "./errors.js";

const READ = {
  F32: (buffer) => new Float32Array(buffer),
  I64: (buffer) => {
    const words = new Int32Array(buffer); // low word, then high: all values here are far below 2^53
    return Float64Array.from({ length: words.length / 2 }, (_, i) => words[2 * i + 1] * 2 ** 32 + (words[2 * i] >>> 0));
  },
  I32: (buffer) => new Int32Array(buffer),
  I16: (buffer) => new Int16Array(buffer),
  U8: (buffer) => new Uint8Array(buffer),
};

/** Map of name → {shape, data}; ModelError where the file is damaged. */
export function readTensors(bytes) {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const start = 8 + view.getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    const tensors = new Map();
    for (const [name, about] of Object.entries(head)) {
      if (name === "__metadata__") continue;
      const { dtype, shape, data_offsets: [from, to] } = about; // prettier-ignore
      tensors.set(name, { shape, data: READ[dtype](bytes.slice(start + from, start + to).buffer) });
    }
    return tensors;
  } catch {
    throw new ModelError("the model's file is damaged: reload the page, or make it anew with jndcodec web");
  }
}
