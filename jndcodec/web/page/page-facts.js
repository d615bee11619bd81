// What a file's header says, as a list and a table.

const find = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

/** facts: of container.js, with model, engine and seconds once the picture is decoded. */
export function showFacts(facts) {
  const kind = (facts.grey ? "grey" : "RGB") + (facts.alpha ? " with alpha" : "") + (facts.icc ? ", ICC profile" : "");
  const rows = {
    Picture: `${facts.width} × ${facts.height}, ${kind}`,
    Size: `${number(facts.bytes)} bytes, ${facts.bpp.toFixed(3)} bits per pixel`,
  };
  if (facts.lossless) rows.Quality = "lossless: exact, without a model";
  else {
    rows.Quality = facts.quality === null ? "the one of its model" : `${facts.quality.toFixed(1)} of 100`;
    rows.Model = facts.model ? `${facts.model} (${facts.modelId})` : facts.modelId;
    rows.Symbols = `CRC-32 ${facts.symbolsCrc}${facts.seconds ? ", right" : ""}`;
  }
  if (facts.seconds) {
    rows.Time = Object.entries(facts.seconds).map(([part, value]) => `${part} ${value.toFixed(2)} s`).join(", "); // prettier-ignore
  }
  find("facts").replaceChildren(...Object.entries(rows).flatMap(([name, text]) => [cell("dt", name), cell("dd", text)]));
  const sections = { ...facts.sections, "header and checksums": facts.overhead };
  find("sections").hidden = false;
  find("sections").tBodies[0].replaceChildren(
    ...Object.entries(sections).map(([name, bytes]) => {
      const row = document.createElement("tr"), head = cell("th", name); // prettier-ignore
      head.scope = "row";
      row.append(head, cell("td", number(bytes)), cell("td", `${((100 * bytes) / facts.bytes).toFixed(1)} %`));
      return row;
    }),
  );
}

function cell(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}
