// Windows with a halo as wide as a network's reach: inside, a window gives what the whole picture would.

/** Cut `total` into even windows of at most `limit`: [{start, stop, low, high}], low … high is what each reads. */
export function spans(total, limit, halo) {
  const count = Math.ceil(total / limit), size = Math.ceil(total / count); // prettier-ignore
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => {
    const start = i * size, stop = Math.min(start + size, total); // prettier-ignore
    return { start, stop, low: Math.max(0, start - halo), high: Math.min(total, stop + halo) };
  });
}

/** A part of planes {data, channels, rows, columns}: rows and columns as spans, all channels, their `low … high`. */
export function cut({ data, channels, rows, columns }, row, column) {
  const high = row.high - row.low, wide = column.high - column.low; // prettier-ignore
  const out = new Float32Array(channels * high * wide);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = row.low; y < row.high; y++, to += wide) {
      const from = (c * rows + y) * columns;
      out.set(data.subarray(from + column.low, from + column.high), to);
    }
  }
  return { data: out, channels, rows: high, columns: wide };
}

/** Write the inside of a window's result into planes of the whole. */
export function paste(part, whole, row, column) {
  const wide = column.stop - column.start;
  for (let c = 0; c < whole.channels; c++) {
    for (let y = row.start; y < row.stop; y++) {
      const from = (c * part.rows + y - row.low) * part.columns + column.start - column.low;
      whole.data.set(part.data.subarray(from, from + wide), (c * whole.rows + y) * whole.columns + column.start);
    }
  }
}

export const planes = (channels, rows, columns) => ({
  data: new Float32Array(channels * rows * columns), channels, rows, columns, // prettier-ignore
});
