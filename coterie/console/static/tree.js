// The tree at the left: rows that open and close, and a search. The znode itself is znode.js.

import { ask, znode } from "/static/api.js";
import { h, number, s } from "/static/dom.js";
import { details } from "/static/znode.js";

const opened = new Set(["/"]);
const known = new Map();

function join(path, name) {
  return path === "/" ? `/${name}` : `${path}/${name}`;
}

function above(path) {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function twist() {
  return s("svg", { class: "twist", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: "M6 4l4 4-4 4" }));
}

async function load(path, after = "") {
  const told = await ask(znode(path, `children=stats&after=${encodeURIComponent(after)}`));
  const before = after ? known.get(path).children : [];
  known.set(path, { children: [...before, ...told.children], more: told.more });
}

export function tree(main, start) {
  let selected = start || "/";
  let stop = () => {};
  let found = null;
  let left = false;
  const rows = h("div", { class: "rows", role: "tree", "aria-label": "Znodes" });
  const search = h("input", { type: "search", placeholder: "Search names", "aria-label": "Search names", id: "search" });
  const note = h("p", { class: "muted small", role: "status" });
  const place = h("section", { class: "stack", "aria-label": "Znode" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); look(); } }, search);
  main.replaceChildren(h("h1", { hidden: true }, "Tree"), h("div", { class: "split" },
    h("div", { class: "card pane" }, form, note, rows), place));
  search.addEventListener("input", () => { if (!search.value) { found = null; note.textContent = ""; show(); } });

  async function look() {
    const text = search.value.trim();
    if (!text) return;
    note.textContent = "Searching…";
    try {
      const told = await ask(znode("/", `search=${encodeURIComponent(text)}`));
      found = told.found;
      note.textContent = `${number(found.length)} found among ${number(told.searched)}${told.complete ? "" : ", and there may be more"}`;
    } catch (error) {
      note.textContent = error.message;
    }
    show();
  }

  function visible() {
    if (found) return found.map((path) => ({ path, name: path, level: 0, leaf: true }));
    const list = [];
    const add = (path, name, level, stat) => {
      list.push({ path, name, level, stat, leaf: stat && stat.num_children === 0 });
      if (!opened.has(path) || !known.has(path)) return;
      const { children, more } = known.get(path);
      for (const child of children) add(join(path, child.name), child.name, level + 1, child.stat);
      if (more) list.push({ path, name: "More…", level: level + 1, more: true, leaf: true });
    };
    add("/", "/", 0, null);
    return list;
  }

  function row(one) {
    const open = opened.has(one.path) && !one.more;
    const element = h("div", {
      class: "node", role: "treeitem", tabindex: -1, "data-path": one.more ? null : one.path,
      "aria-level": one.level + 1, "aria-selected": String(one.path === selected && !one.more),
      "aria-expanded": one.leaf ? null : String(open),
      onclick: () => (one.more ? more(one.path) : pick(one.path)),
    },
    one.leaf ? h("span", { class: "twist" }) : twist(),
    h("span", {}, one.name),
    one.stat?.ephemeral_owner > "0x0" && one.stat.ephemeral_owner !== "0x0" ? h("span", { class: "mark", title: "ephemeral" }, "E") : null,
    one.stat?.num_children ? h("span", { class: "count" }, number(one.stat.num_children)) : null);
    element.style.paddingLeft = `${8 + one.level * 16}px`;
    element.querySelector("svg.twist")?.addEventListener("click", (event) => { event.stopPropagation(); flip(one.path); });
    return element;
  }

  function show(focus = false) {
    const inside = focus || rows.contains(document.activeElement);
    rows.replaceChildren(...visible().map(row));
    const at = rows.querySelector('[aria-selected="true"]') ?? rows.firstElementChild;
    if (at) {
      at.tabIndex = 0;
      if (inside) at.focus({ preventScroll: true });
      at.scrollIntoView({ block: "nearest" });
    }
  }

  async function more(path) {
    await load(path, known.get(path).children.at(-1)?.name ?? "");
    show();
  }

  async function open(path) {
    opened.add(path);
    try {
      await load(path);
    } catch (error) {
      opened.delete(path);
      note.textContent = error.message;
    }
    show();
  }

  function flip(path) {
    if (opened.delete(path)) show();
    else open(path);
  }

  function pick(path, replace = false) {
    selected = path;
    const address = `#/tree${path.split("/").map(encodeURIComponent).join("/")}`;
    if (location.hash !== address) history[replace ? "replaceState" : "pushState"](null, "", address);
    show();
    if (!found && !opened.has(path)) open(path);
    stop();
    stop = details(place, path, { go: pick, changed: refresh });
  }

  /** What is shown below a znode, and the znode's own place above, may be another now. */
  async function refresh(path, gone) {
    if (left) return;
    if (gone) {
      known.delete(path);
      opened.delete(path);
      if (selected === path) pick(above(path), true);
      path = above(path);
    }
    const places = [path, above(path)].filter((each) => known.has(each));
    await Promise.allSettled([...new Set(places)].map((each) => load(each)));
    show();
  }

  const moves = {
    ArrowDown: (list, at) => list[at + 1],
    ArrowUp: (list, at) => list[at - 1],
    Home: (list) => list[0],
    End: (list) => list.at(-1),
  };

  rows.addEventListener("keydown", (event) => {
    const list = [...rows.children];
    const at = list.indexOf(document.activeElement);
    if (at < 0) return;
    const path = list[at].dataset.path;
    const expanded = list[at].getAttribute("aria-expanded");
    let to = moves[event.key]?.(list, at);
    if (event.key === "Enter" || event.key === " ") list[at].click();
    else if (event.key === "ArrowRight" && expanded === "false") flip(path);
    else if (event.key === "ArrowLeft" && expanded === "true") flip(path);
    else if (event.key === "ArrowRight" && expanded === "true") to = list[at + 1];
    else if (event.key === "ArrowLeft" && path && path !== "/") to = list.find((one) => one.dataset.path === above(path));
    else if (!(event.key in moves)) return;
    event.preventDefault();
    if (to) {
      for (const one of list) one.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    }
  });

  (async () => {
    const parts = selected.split("/").filter(Boolean);
    const way = ["/", ...parts.map((_, count) => `/${parts.slice(0, count + 1).join("/")}`)];
    for (const path of way.slice(0, -1)) {
      opened.add(path);
    }
    await Promise.allSettled([...new Set([...opened, ...way])].map((path) => load(path)));
    if (!left) pick(selected, true);
  })();
  return () => {
    left = true;
    stop();
  };
}
