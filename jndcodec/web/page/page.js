// The viewer: a file dropped, opened or named in the address (?src=photo.jlc, any number) is decoded and shown.

import { decodeJlc } from "./client.js";
import { showFacts } from "./page-facts.js";

const find = (id) => document.getElementById(id);
const stage = find("stage"), picture = find("picture"), status = find("status"), save = find("save"); // prettier-ignore
const STEPS = [0.125, 0.25, 0.5, 1, 2, 4, 8, 16];
let zoom = null; // screen pixels per pixel of the picture; null: fit the window
let job = 0;

async function show(source, name) {
  const mine = ++job;
  const current = () => mine === job;
  forget();
  status.textContent = `${name}: decoding …`;
  find("progress").hidden = false;
  try {
    const { png, facts } = await decodeJlc(source, {
      onFacts: (about) => current() && showFacts(about),
      onProgress: (share) => current() && (find("progress").value = share),
    });
    if (!current()) return;
    picture.src = save.href = URL.createObjectURL(png);
    picture.alt = name;
    save.download = name.replace(/(\.png)?(\.jlc)?$/i, ".png");
    save.setAttribute("aria-disabled", "false");
    await picture.decode();
    picture.hidden = false;
    setZoom(zoom);
    showFacts(facts);
    const seconds = Object.values(facts.seconds).reduce((sum, part) => sum + part, 0);
    status.textContent = `${name}: decoded in ${seconds.toFixed(1)} s${facts.engine ? ` (${facts.engine})` : ""}`;
    stage.dataset.ready = name;
  } catch (error) {
    if (!current()) return;
    status.textContent = `${name}: ${error.message}`;
    status.classList.add("error");
    stage.dataset.ready = error.name;
  }
  find("progress").hidden = true;
}

function forget() {
  if (picture.src) URL.revokeObjectURL(picture.src);
  for (const element of [picture, find("hint"), find("sections")]) element.hidden = true;
  picture.removeAttribute("src");
  save.removeAttribute("href");
  save.setAttribute("aria-disabled", "true");
  status.classList.remove("error");
  find("facts").replaceChildren();
  find("progress").value = 0;
  delete stage.dataset.ready;
}

/** factor: screen pixels per pixel, or null to fit. The middle of what is seen stays there. */
function setZoom(factor) {
  const middle = (at, size, whole) => (at + size / 2) / Math.max(whole, 1);
  const x = middle(stage.scrollLeft, stage.clientWidth, stage.scrollWidth);
  const y = middle(stage.scrollTop, stage.clientHeight, stage.scrollHeight);
  zoom = factor;
  picture.classList.toggle("fit", factor === null);
  picture.classList.toggle("pixels", factor > 1);
  picture.style.width = factor === null ? "" : `${(picture.naturalWidth * factor) / devicePixelRatio}px`;
  find("zoom").value = factor === null ? "fit" : `${100 * factor} %`;
  find("fit").setAttribute("aria-pressed", factor === null);
  find("original").setAttribute("aria-pressed", factor === 1);
  stage.scrollTo(x * stage.scrollWidth - stage.clientWidth / 2, y * stage.scrollHeight - stage.clientHeight / 2);
}

function step(direction) {
  const now = zoom ?? (picture.clientWidth * devicePixelRatio) / picture.naturalWidth;
  const steps = direction > 0 ? STEPS : STEPS.toReversed();
  const next = steps.find((factor) => direction * (factor - now) > 1e-6);
  if (next && !picture.hidden) setZoom(next);
}

find("fit").onclick = () => setZoom(null);
find("original").onclick = () => setZoom(1);
find("larger").onclick = () => step(1);
find("smaller").onclick = () => step(-1);
document.onkeydown = ({ key, ctrlKey, metaKey, altKey }) => {
  if (ctrlKey || metaKey || altKey) return;
  const action = { f: "fit", 1: "original", "+": "larger", "=": "larger", "-": "smaller" }[key.toLowerCase()];
  if (action && !picture.hidden) find(action).click();
};

async function open(file) {
  if (file) show(await file.arrayBuffer(), file.name);
}
find("file").onchange = ({ target }) => open(target.files[0]);
document.ondragover = (event) => {
  event.preventDefault();
  stage.classList.add("over");
};
document.ondragleave = () => stage.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  open(event.dataTransfer.files[0]);
};

const sources = new URLSearchParams(location.search).getAll("src");
const nameOf = (source) => decodeURIComponent(source.split("/").pop());
find("files").append(...sources.map((source, i) => new Option(nameOf(source), i)));
find("files").onchange = ({ target }) => show(sources[target.value], nameOf(sources[target.value]));
find("chooser").hidden = sources.length < 2;
if (sources.length) show(sources[0], nameOf(sources[0]));
