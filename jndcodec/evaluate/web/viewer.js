"use strict";
// The flicker viewer. Data: a list of pictures, each with its original and, per codec and rate, the decoded pixels.
// A codec at a rate is compared with the base: the original, or another codec at the bytes nearest to that rate.
(() => {
  const at = (id) => document.getElementById(id);

  const theme = at("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const setTheme = (isDark) => {
    document.documentElement.style.colorScheme = isDark ? "dark" : "light";
    theme.textContent = isDark ? "Light page" : "Dark page";
    theme.onclick = () => setTheme(!isDark);
  };
  setTheme(dark);

  const pictures = JSON.parse(at("viewer-data").textContent);
  if (!pictures.length) return;

  const stage = at("stage"), canvas = at("canvas");
  const state = { picture: 0, codec: 0, rate: 0, base: -1, shown: "original", side: false, x: 0.5, y: 0.5 };
  const bitmaps = new Map(); // data URL -> promise of an image
  let pair = null; // the loaded images {original (the base), decoded}, panes, and, once asked for, {difference}
  let timer = null;

  const picture = () => pictures[state.picture];
  const codec = () => picture().codecs[state.codec];
  const rate = () => codec().rates[state.rate];

  // The rate of a codec whose bytes are nearest to these.
  function nearest(rates, bytes) {
    const gaps = rates.map((r) => Math.abs(Math.log(r.bytes / bytes)));
    return rates[gaps.indexOf(Math.min(...gaps))];
  }

  const based = () => state.base < 0 ? null : nearest(picture().codecs[state.base].rates, rate().bytes);
  const baseName = () => state.base < 0 ? "Original" : picture().codecs[state.base].label;

  function load(url) {
    if (!bitmaps.has(url)) {
      const image = new Image();
      image.src = url;
      bitmaps.set(url, image.decode().then(() => image));
    }
    return bitmaps.get(url);
  }

  function options(select, names, chosen) {
    select.replaceChildren(...names.map((name, i) => new Option(name, i, false, i === chosen)));
  }

  function kilobytes(bytes) {
    return bytes < 1000 ? `${bytes} bytes` : `${(bytes / 1000).toFixed(bytes < 100000 ? 2 : 1)} kB`;
  }

  // Fill the choices, keep the rate near the one before, and load both pictures.
  async function choose(bytes) {
    if (bytes !== undefined) state.rate = codec().rates.indexOf(nearest(codec().rates, bytes));
    options(at("picture"), pictures.map((p) => p.name), state.picture);
    options(at("codec"), picture().codecs.map((c) => c.label), state.codec);
    options(at("base"), ["Original", ...picture().codecs.map((c) => c.label)], state.base + 1);
    at("show-original").textContent = baseName();
    options(at("rate"), codec().rates.map((r) => `${r.bpp.toFixed(2)} bpp, ${kilobytes(r.bytes)}`), state.rate);
    const facts = at("facts"), bold = document.createElement("b");
    bold.textContent = `${rate().bytes.toLocaleString("en")} bytes`;
    const rest = [`${rate().bpp.toFixed(3)} bpp`, `about ${rate().jnd.toFixed(2)} JND`];
    rest.push(...rate().metrics.map(([name, value]) => `${name} ${value}`));
    if (picture().note) rest.push(picture().note);
    if (based()) rest.push(`against ${baseName()} at ${based().bytes.toLocaleString("en")} bytes`);
    facts.replaceChildren(bold, ` · ${rest.join(" · ")}`);
    const wanted = rate(), base = based(), side = state.side;
    const named = [["Original", null, picture().original]];
    for (const c of picture().codecs) {
      const r = nearest(c.rates, wanted.bytes);
      named.push([c.label, r.bytes, r.src]);
    }
    const [original, decoded, ...shown] = await Promise.all(
      [base ? base.src : picture().original, wanted.src, ...(side ? named.map((n) => n[2]) : [])].map(load),
    );
    if (wanted !== rate() || base !== based() || side !== state.side) return; // chosen again meanwhile
    pair = { original, decoded, panes: shown.map((image, i) => ({ image, name: named[i][0], bytes: named[i][1] })) };
    stage.dataset.ready = `${state.picture}/${state.codec}/${state.rate}`;
    stage.dataset.against = `${state.base}/${side}`;
    draw();
  }

  function difference() {
    const gain = Number(at("gain").value);
    if (pair.difference && pair.gain === gain) return pair.difference;
    const { width, height } = picture();
    const pixels = (image) => {
      const plane = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      plane.drawImage(image, 0, 0);
      return plane.getImageData(0, 0, width, height);
    };
    const a = pixels(pair.original), b = pixels(pair.decoded);
    for (let i = 0; i < a.data.length; i++) {
      if (i % 4 !== 3) a.data[i] = Math.min(255, gain * Math.abs(a.data[i] - b.data[i]));
    }
    const made = new OffscreenCanvas(width, height);
    made.getContext("2d").putImageData(a, 0, 0);
    pair.difference = made;
    pair.gain = gain;
    return made;
  }

  function draw() {
    if (!pair) return;
    const scale = Number(at("zoom").value), ratio = devicePixelRatio || 1;
    const { width, height } = picture();
    const tall = Math.round(Math.min(height * scale, Math.max(innerHeight * 0.75, 240) * ratio));
    stage.style.height = `${tall / ratio}px`;
    const room = Math.round(stage.clientWidth * ratio); // after the height, which may bring a scroll bar
    if (canvas.width !== room || canvas.height !== tall) [canvas.width, canvas.height] = [room, tall];
    const offset = (space, size, centre) =>
      size * scale <= space
        ? Math.floor((space - size * scale) / 2)
        : Math.min(0, Math.max(space - size * scale, Math.floor(space / 2) - Math.round(centre * size * scale)));
    const pen = canvas.getContext("2d", { alpha: false });
    pen.imageSmoothingEnabled = false;
    pen.fillStyle = "#777";
    pen.fillRect(0, 0, room, tall);
    at("badge").hidden = state.side;
    const panes = state.side && pair.panes.length
      ? pair.panes : [{ image: state.shown === "difference" ? difference() : pair[state.shown] }];
    const wide = Math.floor(room / panes.length);
    panes.forEach(({ image, name, bytes }, i) => {
      pen.save();
      pen.beginPath();
      pen.rect(i * wide, 0, wide - (i + 1 < panes.length ? ratio : 0), tall);
      pen.clip();
      pen.translate(i * wide, 0);
      pen.drawImage(image, offset(wide, width, state.x), offset(tall, height, state.y), width * scale, height * scale);
      if (name) label(pen, bytes === null ? name : `${name}, ${kilobytes(bytes)}`, wide, ratio);
      pen.restore();
    });
  }

  function label(pen, text, wide, ratio) {
    pen.font = `${13 * ratio}px system-ui, sans-serif`;
    const length = Math.min(wide, pen.measureText(text).width + 12 * ratio);
    pen.fillStyle = "#000b";
    pen.fillRect(0, 0, length, 22 * ratio);
    pen.fillStyle = "#fff";
    pen.fillText(text, 6 * ratio, 16 * ratio, wide - 12 * ratio);
  }

  function show(what, aloud = true) {
    state.shown = what;
    const names = { original: baseName(), decoded: codec().label, difference: `Difference × ${at("gain").value}` };
    for (const name of Object.keys(names)) at(`show-${name}`).setAttribute("aria-pressed", String(name === what));
    at("badge").textContent = names[what];
    if (aloud) {
      const spoken = what === "decoded" ? `${names[what]}, ${kilobytes(rate().bytes)}` : names[what];
      canvas.setAttribute("aria-label", `${picture().name}: ${spoken}`);
      at("status").textContent = `Showing: ${spoken}`;
    }
    draw();
  }

  const toggle = (aloud) => show(state.shown === "original" ? "decoded" : "original", aloud);

  function flicker(on) {
    clearInterval(timer);
    timer = on ? setInterval(() => toggle(false), 1000 / Number(at("speed").value)) : null;
    at("flicker").setAttribute("aria-pressed", String(on));
    at("status").textContent = on ? `Flickering, ${at("speed").value} changes a second` : "Flicker stopped";
  }

  function sideBySide(on) {
    if (on && timer) flicker(false);
    state.side = on;
    at("side").setAttribute("aria-pressed", String(on));
    choose().then(() => {
      show(state.shown, !on);
      if (!on) return;
      const all = pair.panes.map((p) => p.bytes === null ? p.name : `${p.name}, ${kilobytes(p.bytes)}`).join("; ");
      canvas.setAttribute("aria-label", `${picture().name}, side by side: ${all}`);
      at("status").textContent = `Side by side: ${all}`;
    });
  }

  function zoom(step) {
    const select = at("zoom");
    select.selectedIndex = Math.min(select.length - 1, Math.max(0, select.selectedIndex + step));
    draw();
  }

  function move(dx, dy) { // in device pixels of the canvas
    const scale = Number(at("zoom").value);
    const keep = (centre, delta, size, space) => {
      const half = Math.min(0.5, space / 2 / (size * scale));
      return Math.min(1 - half, Math.max(half, centre + delta / (size * scale)));
    };
    state.x = keep(state.x, dx, picture().width, canvas.width);
    state.y = keep(state.y, dy, picture().height, canvas.height);
    draw();
  }

  function chooseRate(step) {
    state.rate = Math.min(codec().rates.length - 1, Math.max(0, state.rate + step));
    choose().then(() => show(state.shown));
  }

  function chooseCodec(index) {
    const bytes = rate().bytes;
    state.codec = index;
    choose(bytes).then(() => show(state.shown));
  }

  at("picture").onchange = (event) => {
    const bytes = rate().bytes;
    Object.assign(state, { picture: Number(event.target.value), x: 0.5, y: 0.5 });
    choose(bytes).then(() => show(state.shown));
  };
  at("codec").onchange = (event) => chooseCodec(Number(event.target.value));
  at("rate").onchange = (event) => chooseRate(Number(event.target.value) - state.rate);
  at("base").onchange = (event) => {
    state.base = Number(event.target.value) - 1;
    choose().then(() => show(state.shown));
  };
  at("side").onclick = () => sideBySide(!state.side);
  for (const what of ["original", "decoded", "difference"]) {
    at(`show-${what}`).onclick = () => { if (timer) flicker(false); if (state.side) sideBySide(false); show(what); };
  }
  at("flicker").onclick = () => flicker(!timer);
  at("speed").onchange = () => { if (timer) flicker(true); };
  at("zoom").onchange = draw;
  at("gain").onchange = () => show(state.shown);

  const keys = {
    " ": () => toggle(true),
    f: () => flicker(!timer),
    d: () => show(state.shown === "difference" ? "decoded" : "difference"),
    s: () => sideBySide(!state.side),
    "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1),
    "[": () => chooseRate(-1), "]": () => chooseRate(1),
    c: () => chooseCodec((state.codec + 1) % picture().codecs.length),
    ArrowLeft: () => move(-64, 0), ArrowRight: () => move(64, 0),
    ArrowUp: () => move(0, -64), ArrowDown: () => move(0, 64),
  };
  stage.addEventListener("keydown", (event) => {
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });

  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 5) return;
    move(-dx * devicePixelRatio, -dy * devicePixelRatio);
    drag = { x: event.clientX, y: event.clientY, moved: true };
  });
  stage.addEventListener("pointerup", () => { if (drag && !drag.moved) toggle(true); drag = null; });
  stage.addEventListener("pointercancel", () => { drag = null; });
  addEventListener("resize", draw);

  at("zoom").value = String(Math.min(16, 2 ** Math.round(Math.log2(Math.max(1, devicePixelRatio)))));
  // begin near one JND
  const gaps = codec().rates.map((r) => Math.abs(r.jnd - 1));
  state.rate = gaps.indexOf(Math.min(...gaps));
  choose().then(() => show("original"));
})();
