// Elements made of text and attributes. Nothing that a znode holds ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function tag(text, kind = "") {
  return h("span", { class: `tag ${kind}` }, text);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]).flat());
}

export function tile(name, value, unit, extra = "") {
  return h("dl", { class: "card tile" }, h("dt", {}, name), h("dd", { class: extra }, String(value), unit ? h("small", {}, unit) : null));
}

export function crown() {
  return s("svg", { class: "crown", viewBox: "0 0 18 15", role: "img", "aria-label": "leads" },
    s("path", { d: "M1 3l4 4 4-6 4 6 4-4-1.6 9.5a1 1 0 0 1-1 .9H3.6a1 1 0 0 1-1-.9z" }));
}

let fading = 0;

export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { place.textContent = ""; }, 4000);
}

/** A question with its own form. Resolves to true when it was answered, false when it was left. */
export function question(title, body, { action, sure = false, ready = () => true }) {
  const dialog = document.getElementById("dialog");
  return new Promise((resolve) => {
    const go = h("button", { type: "submit", class: sure ? "sure" : "primary" }, action);
    const form = h("form", { method: "dialog", class: "stack" },
      h("h2", { id: "dialog-title" }, title), ...body,
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"), go));
    const check = () => { go.disabled = !ready(); };
    form.addEventListener("input", check);
    form.addEventListener("submit", () => { dialog.returnValue = "yes"; });
    dialog.replaceChildren(form);
    check();
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    form.addEventListener("submit", (event) => { event.preventDefault(); dialog.close("yes"); });
    dialog.showModal();
    form.querySelector("input, textarea, select, .actions button")?.focus();
  });
}

export function number(value, digits = 0) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function size(bytes) {
  if (bytes === undefined || bytes === null) return ["–", ""];
  if (bytes < 1024) return [number(bytes), "B"];
  if (bytes < 1024 ** 2) return [number(bytes / 1024, 1), "KiB"];
  if (bytes < 1024 ** 3) return [number(bytes / 1024 ** 2, 1), "MiB"];
  return [number(bytes / 1024 ** 3, 2), "GiB"];
}

export function moment(ms) {
  if (!ms || ms < 0) return "–";
  const time = new Date(ms);
  const two = (value) => String(value).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} `
    + `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}
