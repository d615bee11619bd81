// The page's side of the Worker: decodeJlc(source) gives a PNG.

let worker;
let count = 0;
const waiting = new Map();

function start() {
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, kind, ...rest } }) => {
    const { resolve, reject, onFacts, onProgress } = waiting.get(id);
    if (kind === "facts") return onFacts(rest.facts);
    if (kind === "progress") return onProgress(rest.share);
    waiting.delete(id);
    if (kind === "done") resolve(rest);
    else reject(Object.assign(new Error(rest.message), { name: rest.name }));
  };
  worker.onerror = () => {
    for (const { reject } of waiting.values()) reject(new Error("the decoder did not start: reload the page"));
    waiting.clear();
    worker = undefined;
  };
}

/**
 * source: an address, relative to the page, or an ArrayBuffer. Resolves to {png: Blob, facts}; rejects with an Error
 * whose name is that of errors.js. Files are decoded one after the other.
 */
export function decodeJlc(source, { maxPixels, onFacts = () => {}, onProgress = () => {} } = {}) {
  if (!worker) start();
  return new Promise((resolve, reject) => {
    const id = count++;
    waiting.set(id, { resolve, reject, onFacts, onProgress });
    worker.postMessage({ id, source: typeof source === "string" ? new URL(source, document.baseURI).href : source, maxPixels });
  });
}
