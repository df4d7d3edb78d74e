// The experiments, the newest first, as they go on.
import { get, user } from "./api.js";
import { h, lasted, moment, show, tag } from "./dom.js";
import { showTop, signedIn, sorry } from "./top.js";

const PAGE = 50;
const PAUSE_MS = 1000;

function line(one) {
  return h(
    "tr",
    { "data-id": one.id },
    h("td", {}, one.user === user()
      ? h("a", { href: `/experiments/${encodeURIComponent(one.id)}`, class: "mono" }, one.id.slice(0, 12))
      : h("span", { class: "mono muted" }, `${one.user}'s`)),
    h("td", {}, one.application, " ", h("span", { class: "muted small" }, one.version ?? "")),
    h("td", {}, tag(one.state)),
    h("td", { class: "wide" }, one.manager || "–"),
    h("td", { class: "wide right" }, String(one.attempts ?? 0)),
    h("td", {}, moment(one.created)),
    h("td", { class: "wide right" }, one.ended ? lasted(one.created, one.ended) : ""),
  );
}

function table(list) {
  if (!list.length) {
    return h("p", { class: "empty" }, "No experiments yet. ",
      h("a", { href: "/applications" }, "Start one"), ".");
  }
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "Experiment"), h("th", {}, "Application"),
      h("th", {}, "State"), h("th", { class: "wide" }, "Manager"),
      h("th", { class: "wide right" }, "Attempts"), h("th", {}, "Created"),
      h("th", { class: "wide right" }, "Took"))),
    h("tbody", {}, list.map(line))));
}

let visit = 0;

async function page(main) {
  const mine = ++visit;
  const list = h("div", {});
  const told = h("div", { role: "status" });
  const older = h("button", { hidden: true }, "Older ones");
  let before = "", mineOnly = true;
  const choice = h("div", { class: "choice row", role: "group", "aria-label": "Whose" });
  function choose(only) {
    [mineOnly, before] = [only, ""];
    choice.replaceChildren(...[[true, "Mine"], [false, "Everybody's"]].map(([value, text]) =>
      h("button", { class: "small", "aria-pressed": String(value === only),
        onclick: () => choose(value) }, text)));
    look();
  }
  older.addEventListener("click", () => {
    before = older.dataset.last;
    look();
  });
  async function look() {
    try {
      const query = new URLSearchParams({ limit: PAGE });
      if (before) query.set("before", before);
      if (mineOnly) query.set("of", user());
      const { experiments } = await get(`/experiments?${query}`);
      show(list, JSON.stringify(experiments), () => table(experiments));
      older.hidden = experiments.length < PAGE;
      older.dataset.last = experiments.at(-1)?.id ?? "";
      told.replaceChildren();
    } catch (error) {
      told.replaceChildren(sorry(error));
    }
  }
  main.append(
    h("div", { class: "spread" }, h("h1", {}, "Experiments"),
      h("a", { class: "button primary", href: "/applications" }, "New experiment")),
    choice, told, h("section", { class: "card" }, list), h("div", {}, older),
  );
  choose(true);
  while (mine === visit && main.contains(list)) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (!document.hidden) await look();
  }
}

showTop("/experiments");
signedIn(document.querySelector("main"), page);
