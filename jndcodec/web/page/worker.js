// The Worker: decodes one file after the other, so that the page stays alive. Messages: client.js.

import { decode, fetchFile } from "./decode.js";
import { JlcError } from "./errors.js";

let last = Promise.resolve();

onmessage = ({ data }) => {
  last = last.then(() => work(data));
};

async function work({ id, source, maxPixels }) {
  try {
    const bytes = typeof source === "string" ? await fetchFile(source) : new Uint8Array(source);
    const result = await decode(bytes, {
      maxPixels,
      onFacts: (facts) => postMessage({ id, kind: "facts", facts }),
      progress: (share) => postMessage({ id, kind: "progress", share }),
    });
    postMessage({ id, kind: "done", ...result });
  } catch (error) {
    const known = error instanceof JlcError;
    const message = known ? error.message : `cannot be decoded here: ${error.message ?? error}`; // memory, most likely
    postMessage({ id, kind: "error", name: known ? error.name : "Error", message });
  }
}
