// Elements made of text and attributes. Nothing that anybody said ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  // Strings become text nodes.
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const shown = new WeakMap();

/** Put new children into an element only if what they show changed: focus and selection stay. */
export function show(element, key, make) {
  if (shown.get(element) === key) return;
  shown.set(element, key);
  element.replaceChildren(...[make()].flat());
}

export function tag(state) {
  return h("span", { class: `tag is-${state}` }, state);
}

export function clock(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? "" : time.toLocaleTimeString([], { hour12: false });
}

export function moment(iso) {
  const time = new Date(iso ?? "");
  if (Number.isNaN(time.getTime())) return "";
  const today = time.toDateString() === new Date().toDateString();
  return today ? clock(iso) : `${time.toLocaleDateString()} ${clock(iso)}`;
}

export function lasted(from, to) {
  const seconds = (new Date(to ?? Date.now()) - new Date(from ?? "")) / 1000;
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
