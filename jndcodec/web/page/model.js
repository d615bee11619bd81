// The models that the page has: found by the id in a file, fetched once and kept, ready to run.

import { inflate } from "./bytes.js";
import { InputError, ModelError } from "./errors.js";
import { Tables } from "./rans.js";
import { readTensors } from "./safetensors.js";
import { ScaleNetwork } from "./scale-network.js";

const CACHE = "jlc-models";
const here = (name) => new URL(name, import.meta.url).href;
const MAX_THREADS = 8; // beyond that they wait for one another

let manifest, runtime; // prettier-ignore
const models = new Map(); // id → Promise of a Model

/** The model with this id. ModelError where the page does not have it; `progress` is called with the share fetched. */
export async function loadModel(id, progress) {
  manifest ??= await fetchBytes("models.json", { cache: "no-cache" }).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
  const about = manifest.models[id];
  if (!about) {
    const there = Object.values(manifest.models).map(({ name }) => name).join(", ") || "none"; // prettier-ignore
    throw new ModelError(`this file needs the model ${id}, which this page does not have (it has: ${there}); decode the file with jndcodec decode --weights`);
  }
  if (!models.has(id)) models.set(id, Model.load(about, progress));
  return models.get(id).catch((error) => {
    models.delete(id); // another try may go better
    throw error;
  });
}

class Model {
  static async load(about, progress) {
    runtime ??= startRuntime();
    const model = Object.assign(new Model(), about, { sessions: {} });
    const total = Object.values(about.files).reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    for (const [part, { name, bytes }] of Object.entries(about.files)) {
      const packed = await inflate(await fetchCached(name), bytes);
      if (packed?.length !== bytes) throw new ModelError(`${name}: damaged, or not of this page: make the page anew with jndcodec web`);
      const data = unpacked(packed);
      if (part === "tensors") model.tensors = readTensors(data);
      else model.sessions[part] = await (await runtime).session(data);
      progress((done += bytes) / total);
    }
    model.engine = (await runtime).name;
    const tables = ["cdf", "size", "offset"].map((part) => model.tensors.get(`tables.${part}`).data);
    model.tables = new Tables(...tables);
    model.scaleNetwork = new ScaleNetwork(model.tensors);
    return model;
  }

  /** Run one graph. inputs: name → {data, channels, rows, columns}; the same for its outputs. */
  async run(part, inputs) {
    const { Tensor } = (await runtime).ort;
    const feeds = {};
    for (const [name, { data, channels, rows, columns }] of Object.entries(inputs)) {
      feeds[name] = new Tensor("float32", data, [1, channels, rows, columns]);
    }
    const results = {};
    for (const [name, { data, dims }] of Object.entries(await this.sessions[part].run(feeds))) {
      results[name] = { data, channels: dims[1], rows: dims[2], columns: dims[3] };
    }
    return results;
  }
}

/** The bytes of a file, of which those at even places stand first, then the others. */
function unpacked(packed) {
  const out = new Uint8Array(packed.length), half = Math.ceil(packed.length / 2); // prettier-ignore
  for (let i = 0; i < packed.length; i++) out[i] = packed[i & 1 ? half + (i >> 1) : i >> 1];
  return out;
}

/** ONNX Runtime Web: WebGPU where the browser has it, else WebAssembly. */
async function startRuntime() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const gpu = adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter); // that is a slow imitation
  const ort = await import(gpu ? "./runtime/ort.webgpu.bundle.min.mjs" : "./runtime/ort.wasm.bundle.min.mjs");
  ort.env.wasm.wasmPaths = { wasm: here(`runtime/ort-wasm-simd-threaded${gpu ? ".asyncify" : ""}.wasm`) };
  ort.env.logLevel = "error";
  // Threads share memory, which browsers allow pages that are isolated from others (docs/WEB.md).
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1;
  ort.env.wasm.numThreads = threads;
  const executionProviders = gpu ? ["webgpu", "wasm"] : ["wasm"];
  const session = (data) => ort.InferenceSession.create(data, { executionProviders });
  return { ort, session, name: gpu ? "WebGPU" : `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}` };
}

/** A file whose name says its content: fetched once, then kept by the browser. */
async function fetchCached(name) {
  if (!globalThis.caches) return fetchBytes(name); // pages that are not secure have no such store
  const store = await caches.open(CACHE);
  const kept = await store.match(here(name));
  if (kept) return new Uint8Array(await kept.arrayBuffer());
  const bytes = await fetchBytes(name);
  await store.put(here(name), new Response(bytes)).catch(() => {}); // full: the next visit fetches again
  return bytes;
}

async function fetchBytes(name, options) {
  const answer = await fetch(here(name), options).catch(() => null);
  if (!answer?.ok) throw new InputError(`${name}: cannot be fetched (${answer ? answer.status : "no connection"}); reload the page`);
  return new Uint8Array(await answer.arrayBuffer());
}
