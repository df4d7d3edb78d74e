// One experiment: how far it is, what it says, and what came of it.
import { file, get, post } from "./api.js";
import { h, lasted, moment, show, size, tag } from "./dom.js";
import { showTop, signedIn, sorry } from "./top.js";
import { SHOWN_BYTES_MAX, viewer } from "./viewers.js";

const id = decodeURIComponent(location.pathname.split("/")[2]);
const path = `/experiments/${encodeURIComponent(id)}`;
const STEPS = ["queued", "assigned", "running", "done"];
const ENDED = ["done", "failed", "cancelled"];
const PAUSE_MS = 600;

function steps(one) {
  const bad = one.state === "failed" || one.state === "cancelled";
  const reached = bad ? STEPS.length - 1 : STEPS.indexOf(one.state);
  return h("ol", { class: "steps", "aria-label": `State: ${one.state}` }, STEPS.map((step, at) => {
    const last = at === STEPS.length - 1;
    const past = at < reached || one.state === "done";
    const kind = last && bad ? "bad" : past ? "past" : at === reached ? "now" : "";
    return h("li", { class: kind, "aria-current": at === reached ? "step" : null },
      last && bad ? one.state : step);
  }));
}

function facts(one) {
  const rows = [
    ["Application", `${one.application} ${one.version ?? ""}`],
    ["Manager", one.manager ? `${one.manager}, attempt ${one.attempts}` : "not given to one yet"],
    ["Created", moment(one.created)],
    ["Started", moment(one.started) || "–"],
    ["Took", one.ended ? lasted(one.created, one.ended) : "–"],
    ...Object.entries(one.inputs ?? {}).map(([name, value]) =>
      [`Input ${name}`, typeof value === "object" && value !== null
        ? value.file ?? value.name ?? JSON.stringify(value) : String(value)]),
  ];
  return h("dl", { class: "facts" }, rows.flatMap(([name, value]) =>
    [h("dt", {}, name), h("dd", {}, value)]));
}

function output(one) {
  const at = `${path}/outputs/${encodeURIComponent(one.name)}`;
  const place = h("div", {});
  const told = (error) => place.replaceChildren(sorry(error));
  const save = async () => {
    const link = h("a", { href: URL.createObjectURL(await file(at)), download: one.name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const look = async () => place.replaceChildren(viewer(one, await (await file(at)).text()));
  const small = one.size <= SHOWN_BYTES_MAX && viewer(one, "") !== null;
  if (small) look().catch(told);
  return h(
    "article",
    { class: "output stack", "data-output": one.name },
    h("div", { class: "spread" },
      h("h3", {}, one.name, " ", h("span", { class: "muted small" }, `${one.type}, ${size(one.size)}`)),
      h("button", { class: "small", "aria-label": `Download ${one.name}`,
        onclick: () => save().catch(told) }, "Download")),
    place,
  );
}

let visit = 0;

async function page(main) {
  const mine = ++visit;
  const title = h("div", { class: "spread" });
  const told = h("div", { role: "status" });
  const progress = h("section", { class: "card stack", "aria-label": "Progress" });
  const outputs = h("section", { class: "card stack", hidden: true });
  const log = h("section", { class: "card", hidden: true });
  main.append(title, told, progress, outputs, log);
  const cancel = () => post(`${path}/cancel`, {}).catch((error) =>
    told.replaceChildren(sorry(error)));
  const draw = (one) => {
    document.title = `${one.application}: ${one.state}`;
    main.dataset.state = one.state;
    show(title, one.state, () => [
      h("div", {}, h("h1", {}, `${one.application} `, tag(one.state)),
        h("p", { class: "muted mono" }, one.id)),
      ENDED.includes(one.state) ? "" : h("button", { class: "danger", onclick: cancel }, "Cancel"),
    ]);
    show(progress, JSON.stringify(one), () => [steps(one), facts(one),
      one.message ? h("p", { class: one.state === "failed" ? "banner bad" : "banner" }, one.message) : ""]);
    outputs.hidden = !(one.outputs ?? []).length;
    show(outputs, JSON.stringify(one.outputs), () =>
      [h("h2", {}, "Outputs"), ...(one.outputs ?? []).map(output)]);
    log.hidden = !one.log;
    show(log, one.log ?? "", () => [h("h2", {}, "What it says"),
      h("pre", { class: "log", tabindex: 0 }, one.log ?? "")]);
  };
  while (mine === visit && main.contains(progress)) {
    let state = "";
    try {
      const one = await get(path);
      state = one.state;
      draw(one);
      told.replaceChildren();
    } catch (error) {
      told.replaceChildren(sorry(error));
      if (error.status === 404 || error.status === 403) return;
    }
    if (ENDED.includes(state)) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

showTop("/experiments");
signedIn(document.querySelector("main"), page);
