// Small outputs as they are best read: tables, JSON, text. Each is made of text nodes only.
import { h } from "./dom.js";

export const SHOWN_BYTES_MAX = 200_000;
const ROWS_MAX = 200;

/** The rows of a CSV file: quoted fields may hold commas, quotes (twice) and ends of lines. */
export function rows(text) {
  const found = [];
  let row = [], field = "", quoted = false;
  const endField = () => { row.push(field); field = ""; };
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[at + 1] === '"') { field += char; at++; }
      else quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === ",") endField();
    else if (char === "\n") { endField(); found.push(row); row = []; }
    else if (char !== "\r") field += char;
  }
  if (field || row.length) { endField(); found.push(row); }
  return found;
}

function table(text) {
  const all = rows(text);
  const [head = [], ...body] = all;
  const isNumber = (text) => text !== "" && Number.isFinite(Number(text));
  const numbers = head.map((_, at) => body.every((row) => isNumber(row[at])));
  const cells = (name, row) => row.map((cell, at) => h(name, { class: numbers[at] && "number" }, cell));
  return h("div", { class: "csv", tabindex: 0 },
    h("table", {},
      h("thead", {}, h("tr", {}, cells("th", head))),
      h("tbody", {}, body.slice(0, ROWS_MAX).map((row) =>
        h("tr", {}, cells("td", row))))),
    body.length > ROWS_MAX
      ? h("p", { class: "muted small" }, `and ${body.length - ROWS_MAX} more rows`)
      : null);
}

function json(text) {
  let shown = text;
  try {
    // A list of numbers is one line.
    shown = JSON.stringify(JSON.parse(text), null, 2).replace(
      /\[\n\s+([-+.\deE]+(?:,\n\s+[-+.\deE]+)*)\n\s+\]/g,
      (_, inner) => `[${inner.replace(/\s+/g, " ")}]`,
    );
  } catch {
    // It says that it is JSON and is not: as it is, then.
  }
  return h("pre", { class: "log", tabindex: 0 }, shown);
}

/** An element that shows an output, or null if it is of no kind that can be shown. */
export function viewer(output, text) {
  const ending = output.name.split(".").at(-1).toLowerCase();
  if (output.type === "csv" || ending === "csv") return table(text);
  if (output.type === "json" || ending === "json") return json(text);
  if (output.type === "text" || ["txt", "log", "fasta", "aln", "md"].includes(ending)) {
    return h("pre", { class: "log", tabindex: 0 }, text);
  }
  return null;
}
