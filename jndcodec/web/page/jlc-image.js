// <jlc-image src="photo.jlc" alt="…">: a .jlc picture in any page. One script: <script type="module" src="jlc-image.js">.
//
// Attributes: src, alt, max-pixels. Events: load (detail: facts), error (detail: Error). While it decodes, the element
// has the picture's size and the attribute "busy"; its progress and its error are said in text. Style the picture by
// ::part(image) and the text by ::part(status).

import { decodeJlc } from "./client.js";

const STYLE = `
  :host { display: inline-block; max-width: 100%; position: relative; }
  :host([hidden]) { display: none; }
  img { display: block; max-width: 100%; }
  [part="status"]:not(:empty) { display: block; padding: 0.5em; font: 0.9rem system-ui, sans-serif; }
  :host([busy]) img { background: #8884; }
`;

export class JlcImage extends HTMLElement {
  static observedAttributes = ["src", "alt", "max-pixels"];

  #image = document.createElement("img");
  #status = document.createElement("span");
  #job = 0; // the latest; what an earlier one answers is dropped

  constructor() {
    super();
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.#image.part = "image";
    this.#image.alt = "";
    this.#status.part = "status";
    this.#status.setAttribute("role", "status");
    this.attachShadow({ mode: "open" }).append(style, this.#image, this.#status);
  }

  /** The picture as a PNG, once the event "load" was sent. */
  png = null;

  connectedCallback() {
    this.#show();
  }

  disconnectedCallback() {
    this.#job++;
    this.#forget();
  }

  attributeChangedCallback(name, before, now) {
    if (name === "alt") this.#image.alt = now ?? "";
    else if (this.isConnected && before !== now) this.#show();
  }

  async #show() {
    const job = ++this.#job, source = this.getAttribute("src"); // prettier-ignore
    const current = () => job === this.#job;
    this.#forget();
    if (!source) return;
    this.toggleAttribute("busy", true);
    try {
      const limit = this.getAttribute("max-pixels");
      const { png, facts } = await decodeJlc(source, {
        maxPixels: limit ? Number(limit) : undefined,
        onFacts: (facts) => current() && this.#reserve(facts),
        onProgress: (share) => current() && (this.#status.textContent = `${Math.round(100 * share)} %`),
      });
      if (!current()) return;
      this.png = png;
      this.#image.src = URL.createObjectURL(png);
      await this.#image.decode();
      if (!current()) return;
      this.#status.textContent = "";
      this.toggleAttribute("busy", false);
      this.dispatchEvent(new CustomEvent("load", { detail: facts }));
    } catch (error) {
      if (!current()) return;
      this.#forget();
      this.#status.textContent = `${this.getAttribute("alt") ?? ""} (${error.message})`.trim();
      this.dispatchEvent(new CustomEvent("error", { detail: error }));
    }
  }

  /** Take the picture's place on the page before it is there. */
  #reserve({ width, height }) {
    Object.assign(this.#image.style, { width: `${width}px`, aspectRatio: `${width} / ${height}` });
  }

  #forget() {
    if (this.#image.src) URL.revokeObjectURL(this.#image.src);
    this.#image.removeAttribute("src");
    this.#image.removeAttribute("style");
    this.toggleAttribute("busy", false);
    this.#status.textContent = "";
    this.png = null;
  }
}

customElements.define("jlc-image", JlcImage);
