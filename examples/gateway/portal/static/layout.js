// Where everything is in the drawing: places are computed from who is there, nothing is drawn here.

export const WIDTH = 1080;
export const HEIGHT = 786;
const MIDDLE = 420;
const NODE = { w: 170, h: 56 };
const COLUMN_TOP = 376;
const COLUMN_BOTTOM = 580;
const BODY_LEFT = 44;
const BODY_RIGHT = 796;
export const LEG_TOP = 590;
const RESOURCE_Y = 734;
const PANEL = { x: 850, y: 196, w: 206 };

const FRONT = ["portal", "api"];
const HEAD = ["scheduler"];

/** Resources that legs reach, by who reaches them. */
const RESOURCES = {
  "manager/local": [{ id: "sandbox", name: "Local sandbox", icon: "box" }],
  "manager/dask": [{ id: "dask", name: "Dask cluster", icon: "cluster" }],
  metadata: [
    { id: "sqlite", name: "SQLite", icon: "database" },
    { id: "store", name: "Data store", icon: "files" },
  ],
};

function column(component) {
  return component.kind === "manager" ? `manager/${component.flavor}` : component.kind;
}

function captionOf(key) {
  const [kind, flavor] = key.split("/");
  const word = { manager: "Managers", metadata: "Metadata" }[kind] ?? kind;
  return flavor ? `${word} · ${flavor}` : word;
}

function across(count, left, right, widest) {
  const step = Math.min(widest, (right - left) / Math.max(count, 1));
  const start = (left + right) / 2 - (step * (count - 1)) / 2;
  return Array.from({ length: count }, (_, at) => start + at * step);
}

const byOrder = (order) => (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)
  || a.name.localeCompare(b.name, "en", { numeric: true });

/** Places by name: `nodes`, `captions`, `resources`, `panel`, and `legs` from a column down. */
export function layout(state) {
  const nodes = new Map();
  const put = (one, x, y, w = NODE.w, h = NODE.h) =>
    nodes.set(one.name, { x: x - w / 2, y: y - h / 2, w, h, cx: x, cy: y });
  const row = (list, y, left, right) => {
    const xs = across(list.length, left, right, NODE.w + 22);
    const w = list.length > 1 ? Math.min(NODE.w, xs[1] - xs[0] - 10) : NODE.w;
    list.forEach((one, at) => put(one, xs[at], y, w));
  };
  row(state.components.filter((one) => FRONT.includes(one.kind)).sort(byOrder(FRONT)), 114, 30, 810);
  row(state.components.filter((one) => HEAD.includes(one.kind)).sort(byOrder(HEAD)), 300, 220, 620);

  const columns = new Map([["manager/local", []], ["manager/dask", []], ["metadata", []]]);
  for (const one of state.components) {
    if (FRONT.includes(one.kind) || HEAD.includes(one.kind)) continue;
    if (!columns.has(column(one))) columns.set(column(one), []);
    columns.get(column(one)).push(one);
  }
  const order = ["manager", "metadata"];
  const keys = [...columns.keys()].sort((a, b) => {
    const rank = (key) => (order.indexOf(key.split("/")[0]) + 9) % 9;
    return rank(a) - rank(b) || b.localeCompare(a);
  });
  const captions = [];
  const resources = [];
  const xs = across(keys.length, BODY_LEFT + 26, BODY_RIGHT - 26, 246);
  keys.forEach((key, at) => {
    captions.push({ x: xs[at], y: COLUMN_TOP, text: captionOf(key) });
    const list = columns.get(key).sort(byOrder([]));
    const room = COLUMN_BOTTOM - COLUMN_TOP - 12;
    const pitch = Math.min(NODE.h + 12, room / Math.max(list.length, 1));
    // A few are in the middle of their column.
    const top = COLUMN_TOP + 12 + Math.min(22, (room - pitch * list.length) / 2);
    const w = keys.length > 1 ? Math.min(NODE.w + 16, xs[1] - xs[0] - 12) : NODE.w;
    list.forEach((one, n) =>
      put(one, xs[at], top + pitch * (n + 0.5), w, Math.min(NODE.h, pitch - 6)));
    for (const one of RESOURCES[key] ?? []) resources.push({ ...one, column: key, from: xs[at] });
  });
  const places = across(resources.length, BODY_LEFT - 10, BODY_RIGHT + 10, 206);
  resources.forEach((one, at) => Object.assign(one, { x: places[at], y: RESOURCE_Y }));

  const panel = { ...PANEL, h: 64 + Math.max(state.ensemble.length, 1) * 70 };
  state.ensemble.forEach((one, at) =>
    put(one, panel.x + panel.w / 2, panel.y + 86 + at * 70, panel.w - 28, 56));
  return {
    nodes, captions, resources, panel, legs: resources.flatMap((one) => legsTo(one)),
    clients: [
      { id: "browser", name: "Browsers", x: MIDDLE - 180, y: 34 },
      { id: "program", name: "Client programs", x: MIDDLE + 160, y: 34 },
    ],
    body: { left: BODY_LEFT, right: BODY_RIGHT, middle: MIDDLE },
    queue: { x: 296, y: 338, w: 248, h: 18 },
  };
}

/** Two legs around each resource, each a cubic curve. */
function legsTo(resource) {
  return [-1, 1].map((side) => {
    const start = { x: MIDDLE + (resource.x - MIDDLE) * 0.88 + side * 40, y: LEG_TOP - 30 };
    const end = { x: resource.x + side * 90, y: resource.y + 6 };
    return {
      id: `${resource.id}${side}`, resource: resource.id, side,
      curve: [
        start,
        { x: start.x + side * 10, y: start.y + 84 },
        { x: end.x + side * 22 + (resource.x - MIDDLE) * 0.1, y: end.y - 84 },
        end,
      ],
    };
  });
}

/** A curve from one point down (or up) to another, as [start, control, control, end]. */
export function link(from, to) {
  const half = (to.y - from.y) / 2;
  if (Math.abs(half) < 8) {
    const bow = Math.min(60, Math.abs(to.x - from.x) * 0.2);
    return [from, { x: from.x, y: from.y + bow }, { x: to.x, y: to.y + bow }, to];
  }
  return [from, { x: from.x, y: from.y + half }, { x: to.x, y: to.y - half }, to];
}

export function along([a, b, c, d], t) {
  const u = 1 - t;
  const mix = (k) =>
    u * u * u * a[k] + 3 * u * u * t * b[k] + 3 * u * t * t * c[k] + t * t * t * d[k];
  return { x: mix("x"), y: mix("y") };
}

export function pathOf([a, b, c, d]) {
  const at = (p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`;
  return `M${at(a)}C${at(b)} ${at(c)} ${at(d)}`;
}

/** The outline of a leg that grows thin along its curve, and the suckers on its inner side. */
export function tentacle(curve, side, thick, thin) {
  const steps = 22;
  const left = [], right = [], suckers = [];
  for (let n = 0; n <= steps; n++) {
    const t = n / steps;
    const here = along(curve, t);
    const next = along(curve, Math.min(1, t + 0.01)), last = along(curve, Math.max(0, t - 0.01));
    const length = Math.hypot(next.x - last.x, next.y - last.y) || 1;
    const normal = { x: -(next.y - last.y) / length, y: (next.x - last.x) / length };
    const wide = (thick + (thin - thick) * t ** 0.75) / 2;
    left.push({ x: here.x + normal.x * wide, y: here.y + normal.y * wide });
    right.push({ x: here.x - normal.x * wide, y: here.y - normal.y * wide });
    if (n > 6 && n < steps && n % 2 === 0) {
      const off = wide * 0.42 * side;
      suckers.push({ x: here.x + normal.x * off, y: here.y + normal.y * off, r: wide * 0.3 });
    }
  }
  const points = [...left, ...right.reverse()];
  const outline = `M${points.map((p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("L")}Z`;
  return { outline, suckers };
}
