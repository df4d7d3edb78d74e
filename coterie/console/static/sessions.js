// Sessions: who is connected here, what they own and what they watch.

import { ask } from "/static/api.js";
import { ago, h, number, tag } from "/static/dom.js";
import { live } from "/static/live.js";

const EVERY_MS = 3000;

function links(paths, count) {
  if (count === 0) return h("p", { class: "muted small" }, "none");
  return h("ul", { class: "paths" },
    paths.map((path) => h("li", {}, h("a", { href: `#/tree${encodeURI(path)}` }, path))),
    count > paths.length ? h("li", { class: "muted" }, `and ${number(count - paths.length)} more`) : null);
}

export function sessions(main, first = "") {
  let told = null;
  let wanted = first;
  const open = new Set();
  const filter = h("input", { type: "search", placeholder: "A number, an address or a path", "aria-label": "Show only", value: first, oninput: (event) => { wanted = event.target.value.trim().toLowerCase(); show(); } });
  const summary = h("p", { class: "muted" });
  const body = h("tbody");
  const note = h("p", { class: "empty" });
  main.replaceChildren(h("div", { class: "stack" },
    h("div", { class: "spread" }, h("div", {}, h("h1", {}, "Sessions"), summary), h("div", { class: "filter" }, filter)),
    h("div", { class: "card scroll" },
      h("table", {},
        h("thead", {}, h("tr", {},
          h("th", {}, "Session"), h("th", {}, "Connected from"), h("th", { class: "num wide" }, "Time-out"),
          h("th", { class: "num" }, "Ephemerals"), h("th", { class: "num" }, "Watches"),
          h("th", { class: "num wide" }, "Requests"), h("th", { class: "num wide" }, "Latency"),
          h("th", { class: "wide" }, "Last"), h("th", { class: "wide" }, "Since"))),
        body), note)));

  const matches = (one) => !wanted || [one.id, one.connection?.address ?? "", ...one.ephemerals, ...one.watches].some((text) => text.toLowerCase().includes(wanted));

  function lines(one) {
    const at = one.connection;
    const shown = open.has(one.id);
    const flip = () => { if (!open.delete(one.id)) open.add(one.id); show(); body.querySelector(`[data-id="${one.id}"]`)?.focus(); };
    return [
      h("tr", {},
        h("td", {}, h("button", { class: "quiet mono", type: "button", "data-id": one.id, "aria-expanded": String(shown), onclick: flip }, `${shown ? "▾" : "▸"} ${one.id}`)),
        h("td", {}, at ? h("span", { class: "mono" }, at.address) : tag("at another server", "plain")),
        h("td", { class: "num wide" }, `${number(one.timeout_ms / 1000, 1)} s`),
        h("td", { class: "num" }, number(one.ephemeral_count)), h("td", { class: "num" }, number(one.watch_count)),
        h("td", { class: "num wide" }, at ? number(at.received) : ""),
        h("td", { class: "num wide" }, at ? `${number(at.avg_ms, 1)} ms` : ""),
        h("td", { class: "wide mono" }, at?.last ?? ""), h("td", { class: "wide" }, at ? ago(at.since_ms) : "")),
      shown ? h("tr", { class: "more" }, h("td", { colspan: 9 }, h("div", { class: "cols" },
        h("div", {}, h("h2", {}, "Ephemerals"), links(one.ephemerals, one.ephemeral_count)),
        h("div", {}, h("h2", {}, "Watches of data here"), links(one.watches, one.watch_count))))) : null,
    ];
  }

  function show() {
    if (!told) return;
    const found = told.sessions.filter(matches);
    const strangers = told.strangers ? `, and ${told.strangers} connections without one` : "";
    summary.textContent = `${number(told.count)} in the ensemble, ${number(told.sessions.filter((one) => one.connection).length)} connected to this server${strangers}`;
    const focus = document.activeElement?.dataset?.id;
    body.replaceChildren(...found.flatMap(lines).filter(Boolean));
    if (focus) body.querySelector(`[data-id="${focus}"]`)?.focus();
    note.textContent = found.length ? (told.count > told.sessions.length ? `The first ${number(told.sessions.length)} are shown.` : "") : "No session is like that.";
    note.hidden = !note.textContent;
  }

  let timer = 0;
  const load = async () => {
    if (!document.hidden || !told) {
      try {
        told = await ask("/console/sessions");
        show();
      } catch (error) {
        note.textContent = live.state && !live.state.inside ? "Only a server itself knows its sessions: open its own console." : error.message;
        note.hidden = false;
      }
    }
    timer = setTimeout(load, EVERY_MS);
  };
  load();
  return () => clearTimeout(timer);
}
