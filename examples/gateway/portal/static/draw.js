// The octopus: the drawing of a state, changed in place so that focus and movement stay.
import { s } from "./dom.js";
import { deadly } from "./kill.js";
import { HEIGHT, WIDTH, layout, link, pathOf, tentacle } from "./layout.js";

export const CROWN = "M1 11L0 2L4.5 5.5L8 0L11.5 5.5L16 2L15 11Z";
const NEW_MS = 1600;
const BODY = "M420 166C570 166 660 222 676 296C686 338 772 338 802 416C824 478 818 566 770 596"
  + "C742 614 706 596 676 610C640 626 604 600 566 612C526 624 498 604 460 614C432 621 408 621 380 614"
  + "C342 604 314 624 274 612C236 600 200 626 164 610C134 596 98 614 70 596C22 566 16 478 38 416"
  + "C68 338 154 338 164 296C180 222 270 166 420 166Z";
const ICONS = {
  box: "M2 5L9 1L16 5V13L9 17L2 13ZM2 5L9 9L16 5M9 9V17",
  cluster: "M9 2L13 5V9L9 11L5 9V5ZM4 11L7 13V16L4 18L1 16V13ZM14 11L17 13V16L14 18L11 16V13Z",
  database: "M2 4C2 1 16 1 16 4V14C16 17 2 17 2 14ZM2 4C2 7 16 7 16 4M2 9C2 12 16 12 16 9",
  files: "M5 5V1H12L16 5V14H5ZM12 1V5H16M5 5H2V17H12V14",
};
const SAID = {
  silent: "dead, session not over",
  joining: "process up, joining",
  down: "process is down",
};
const TROUBLED = ["silent", "down", "joining"];

function shortened(text, width, perCharacter) {
  const most = Math.max(4, Math.floor(width / perCharacter));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Nothing to do is worth a word only of those who are given work. */
function loaded(one) {
  return typeof one.load === "number" && (one.load > 0 || one.kind === "manager");
}

function saidOf(one) {
  if (SAID[one.state]) return [SAID[one.state]];
  if (one.role) return [one.role, one.zxid && one.role !== "down" ? `zxid ${one.zxid}` : ""];
  const load = loaded(one) ? `load ${+one.load.toFixed(1)}` : "";
  return [`v${one.version}`, one.state, load];
}

/** What a component or a server is called where it cannot be seen. */
export function describe(one) {
  const leads = one.leader || one.role === "leader" ? "leads" : "";
  const well = one.healthy === false ? "not well" : "";
  return [one.name, one.kind, one.flavor, ...saidOf(one), leads, well].filter(Boolean).join(", ");
}

export class Drawing {
  constructor(host, { kill, colours }) {
    this.kill = kill;
    this.colours = colours;
    this.nodes = new Map();
    this.back = s("g", { "aria-hidden": "true" });
    this.dots = s("g", { "aria-hidden": "true" });
    this.front = s("g");
    this.svg = s("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "The octopus",
    }, this.paints(), this.back, this.dots, this.front);
    host.append(this.svg);
    this.key = "";
    this.started = performance.now();
  }

  paints() {
    const gradient = (id, stops) => s("linearGradient", { id, x1: 0, y1: 0, x2: 0, y2: 1 },
      stops.map(([offset, name]) => {
        const stop = s("stop", { offset });
        stop.style.setProperty("stop-color", `var(${name})`);
        return stop;
      }));
    return s("defs", {}, gradient("skin", [[0, "--skin-1"], [1, "--skin-2"]]),
      gradient("legs", [[0, "--skin-2"], [1, "--skin-1"]]));
  }

  /** Draw a state. Returns the places. */
  update(state) {
    const places = layout(state);
    const leaders = state.components.filter((one) => one.leader).map((one) => one.name);
    const key = JSON.stringify([[...places.nodes], places.captions, leaders, [...this.colours()]]);
    if (key !== this.key) {
      this.key = key;
      this.back.replaceChildren(...this.scenery(state, places));
    }
    const all = [...state.components, ...state.ensemble];
    const names = new Set(all.map((one) => one.name));
    for (const [name, node] of this.nodes) {
      if (names.has(name)) continue;
      node.group.remove();
      this.nodes.delete(name);
    }
    for (const one of all) this.node(one, places.nodes.get(one.name));
    this.look(state, places);
    return places;
  }

  // What does not change while the same ones are there

  scenery(state, places) {
    const bubbles = [[62, 150, 7], [88, 118, 4], [806, 170, 6], [826, 132, 3.5], [30, 330, 4],
      [836, 560, 7], [860, 610, 4], [1040, 640, 9], [1010, 690, 5], [1052, 712, 3]];
    return [
      ...bubbles.map(([cx, cy, r]) => s("circle", { class: "bubble", cx, cy, r })),
      ...this.panel(places),
      ...this.threads(state, places),
      ...places.legs.map((leg) => this.leg(leg)),
      s("path", { class: "skin", d: BODY }),
      this.face(),
      s("g", { class: "body" },
        ...this.inside(state, places),
        ...places.captions.map((one) =>
          s("text", { class: "caption", x: one.x, y: one.y, "text-anchor": "middle" }, one.text)),
        s("rect", { class: "tray", rx: 9, ...this.box(places.queue) }),
        s("text", { class: "caption", x: places.queue.x - 8, y: places.queue.y + 13,
          "text-anchor": "end" }, "queue")),
      this.legend(state, places),
      ...places.clients.map((one) => this.chip(one, one.x, one.y, 148, 36)),
      ...places.resources.map((one) => this.chip(one, one.x, one.y, 148, 44)),
    ];
  }

  box({ x, y, w, h }) {
    return { x, y, width: w, height: h };
  }

  chip(one, x, y, w, h) {
    const icon = one.icon
      ? s("path", { d: ICONS[one.icon], transform: `translate(${x - w / 2 + 14} ${y - 9})`,
        class: "icon", "stroke-linejoin": "round" })
      : null;
    return s("g", {},
      s("rect", { class: "box", rx: h / 2 - (one.icon ? 8 : 0),
        ...this.box({ x: x - w / 2, y: y - h / 2, w, h }) }),
      icon,
      s("text", { class: "caption", x: x + (icon ? 13 : 0), y: y + 4, "text-anchor": "middle" }, one.name));
  }

  /** Which colour a job has, by its application. */
  legend(state, { panel }) {
    return s("g", {}, [...this.colours()].slice(0, 6).flatMap(([name, colour], at) => {
      const y = panel.y + panel.h + 34 + at * 24;
      return [s("circle", { class: `dot dot-${colour}`, cx: panel.x + 24, cy: y, r: 6 }),
        s("text", { class: "caption", x: panel.x + 40, y: y + 4 }, `a job of ${shortened(name, 110, 7)}`)];
    }));
  }

  leg(leg) {
    const { outline, suckers } = tentacle(leg.curve, leg.side, 58, 11);
    const end = leg.curve[3];
    return s("g", {},
      s("path", { class: "leg", d: outline, "stroke-linejoin": "round" }),
      s("circle", { class: "leg", cx: end.x, cy: end.y, r: 5.6 }),
      ...suckers.map((one) => s("circle", { class: "sucker", cx: one.x.toFixed(1),
        cy: one.y.toFixed(1), r: one.r.toFixed(1) })));
  }

  face() {
    const eye = (x) => s("g", {},
      s("ellipse", { class: "eye", cx: x, cy: 222, rx: 24, ry: 26 }),
      s("g", { class: "pupil" }, s("circle", { cx: x, cy: 224, r: 12 }),
        s("circle", { class: "glint", cx: x + 4, cy: 219, r: 3.6 })));
    this.pupils = [eye(352), eye(488)];
    this.brows = s("g", {}, s("path", { class: "lid", d: "M322 195Q346 182 374 193" }),
      s("path", { class: "lid", d: "M518 195Q494 182 466 193" }));
    return s("g", {}, s("g", { class: "eyes" }, ...this.pupils), this.brows);
  }

  /** Lines outside of the body: from clients to the front, and from all to the tree. */
  threads(state, places) {
    const at = (one) => places.nodes.get(one.name);
    const of = (kind) => state.components.filter((one) => one.kind === kind).map(at);
    const [browser, program] = places.clients;
    const line = (from, to, kind = "") =>
      s("path", { class: `thread ${kind}`, d: pathOf(link(from, to)) });
    const top = (node) => ({ x: node.cx, y: node.y });
    const drawn = [
      ...of("portal").map((node) => line({ x: browser.x, y: 52 }, top(node))),
      ...of("api").map((node) => line({ x: program.x, y: 52 }, top(node))),
    ];
    for (const portal of of("portal")) {
      for (const api of of("api")) {
        drawn.push(s("path", { class: "thread", d: pathOf(link(
          { x: portal.cx, y: portal.y + portal.h }, { x: api.cx, y: api.y + api.h })) }));
      }
    }
    for (const api of of("api")) {
      drawn.push(line({ x: api.cx, y: api.y + api.h }, { x: 420 + (api.cx - 420) * 0.35, y: 186 }));
    }
    const { panel } = places;
    const side = { x: panel.x, y: panel.y + panel.h / 2 };
    const edge = Math.max(560, ...[...of("portal"), ...of("api")].map((node) => node.x + node.w));
    for (const [x, y, lift] of [[edge + 4, 114, -60], [776, 400, 30], [806, 500, 80]]) {
      const start = { x: side.x, y: side.y + lift };
      drawn.push(s("path", { class: "thread tree", d: `M${start.x} ${start.y}C${start.x - 50} `
        + `${start.y} ${x + 60} ${y} ${x} ${y}` }));
    }
    return drawn;
  }

  /** Lines within the body: the leading scheduler gives jobs away, managers tell the metadata. */
  inside(state, places) {
    const at = (one) => places.nodes.get(one.name);
    const kinds = (kind) => state.components.filter((one) => one.kind === kind);
    const schedulers = kinds("scheduler"), metadata = kinds("metadata");
    const scheduler = schedulers.find((one) => one.leader);
    const keeper = metadata.find((one) => one.leader);
    const lines = [];
    for (const manager of kinds("manager")) {
      if (scheduler) lines.push([at(scheduler), at(manager)]);
    }
    for (const one of schedulers) if (keeper && one.leader) lines.push([at(one), at(keeper)]);
    return lines.map(([from, to]) => s("path", { class: "thread",
      d: pathOf(link({ x: from.cx, y: from.cy }, { x: to.cx, y: to.cy })) }));
  }

  panel({ panel }) {
    return [
      s("rect", { class: "panel", rx: 18, ...this.box(panel) }),
      s("text", { class: "caption", x: panel.x + 18, y: panel.y + 25 }, "Coterie"),
      s("text", { class: "said faint", "font-size": 11, x: panel.x + 18, y: panel.y + 42 },
        "who is there, who leads"),
    ];
  }

  // One of them

  node(one, place) {
    let node = this.nodes.get(one.name);
    if (!node) {
      node = this.make(one);
      this.nodes.set(one.name, node);
      this.front.append(node.group);
    }
    const { group, parts } = node;
    const state = one.role ?? one.state;
    const leads = one.leader === true || one.role === "leader";
    if (node.state !== undefined && node.state !== state && state !== "down" && state !== "silent") {
      this.flash(group);
    }
    node.state = state;
    for (const name of ["silent", "down", "joining", "starting", "draining"]) {
      group.classList.toggle(name, state === name);
    }
    group.classList.toggle("leads", leads);
    group.classList.toggle("unwell", one.healthy === false);
    group.setAttribute("transform", `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})`);
    group.setAttribute("aria-label", describe(one));
    const { w, h } = place;
    const small = h < 44;
    const set = (part, values) => {
      for (const [name, value] of Object.entries(values)) part.setAttribute(name, value);
    };
    set(parts.box, { width: w, height: h, rx: Math.min(12, h / 3) });
    set(parts.pin, { class: `pin pin-${state}`, cx: 15, cy: small ? h / 2 - 5 : 18, r: 4.5 });
    set(parts.name, { x: 26, y: small ? h / 2 : 23 });
    parts.name.textContent = shortened(one.name, w - 58, 7.3);
    set(parts.said, { x: small ? 26 : 15, y: small ? h / 2 + 12 : 40 });
    parts.said.textContent = shortened(saidOf(one).filter(Boolean).join(" · "), w - 26, 5.6);
    const bar = !small && loaded(one) && !TROUBLED.includes(state);
    set(parts.track, { x: 15, y: h - 9, width: w - 30, height: 3.5, rx: 1.75,
      visibility: bar ? "visible" : "hidden" });
    set(parts.load, { x: 15, y: h - 9, height: 3.5, rx: 1.75,
      visibility: bar ? "visible" : "hidden" });
    parts.load.style.width = `${bar ? (w - 30) * one.load / (one.load + 2) : 0}px`;
    parts.crown.setAttribute("visibility", leads ? "visible" : "hidden");
    if (leads && !node.leads) parts.crown.replaceChildren(s("path", { class: "crown", d: CROWN }));
    node.leads = leads;
    const can = one.pid !== null && one.pid !== undefined && one.alive !== false;
    parts.kill.setAttribute("visibility", can ? "visible" : "hidden");
    parts.kill.setAttribute("tabindex", can ? "0" : "-1");
    parts.kill.setAttribute("transform", `translate(${w} 0)`);
  }

  make(one) {
    const parts = {
      box: s("rect", { class: "box" }), pin: s("circle"), name: s("text", { class: "name" }),
      said: s("text", { class: "said" }), track: s("rect", { class: "track" }),
      load: s("rect", { class: "load" }),
      crown: s("g", { transform: "translate(6 -9) rotate(-8)", visibility: "hidden" }),
      kill: s("g", { class: "kill", role: "button" },
        s("circle", { cx: -17, cy: 17, r: 9.5 }),
        s("path", { d: "M-20.5 13.5L-13.5 20.5M-13.5 13.5L-20.5 20.5" }),
        s("rect", { class: "ask", x: -84, y: 6, width: 77, height: 23, rx: 11.5 }),
        s("text", { class: "word", x: -45.5, y: 21.5 }, "kill -9 ?")),
    };
    const group = s("g", { class: "node", role: "group", "data-name": one.name },
      parts.box, parts.pin, parts.name, parts.said, parts.track, parts.load, parts.crown, parts.kill);
    deadly(parts.kill, (sure) => parts.kill.setAttribute("aria-label",
      sure ? `Really kill ${one.name} with -9` : `Kill ${one.name}`), () => this.kill(one.name));
    if (performance.now() - this.started > NEW_MS) this.flash(group);
    return { group, parts, state: undefined, leads: false };
  }

  flash(group) {
    group.classList.add("new");
    setTimeout(() => group.classList.remove("new"), NEW_MS);
  }

  /** The eyes go to whoever is in trouble. */
  look(state, places) {
    const bad = [...state.components.filter((one) => TROUBLED.includes(one.state)),
      ...state.ensemble.filter((one) => one.role === "down")][0];
    const place = bad && places.nodes.get(bad.name);
    let [dx, dy] = [0, 0];
    if (place) {
      const angle = Math.atan2(place.cy - 222, place.cx - 420);
      [dx, dy] = [Math.cos(angle) * 9, Math.sin(angle) * 10];
    }
    for (const eye of this.pupils) {
      eye.querySelector(".pupil").style.transform = `translate(${dx}px, ${dy}px)`;
    }
    this.svg.classList.toggle("troubled", Boolean(place));
  }
}
