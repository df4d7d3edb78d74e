// Lines over time as SVG, with the values under the pointer.

import { h, number, s } from "/static/dom.js";

const H = 170;
const LEFT = 44;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;

function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 1.001);
}

function short(value) {
  if (value >= 1e6) return `${number(value / 1e6, 1)}M`;
  if (value >= 1e4) return `${number(value / 1e3, 1)}k`;
  return number(value, value < 10 ? 2 : 0);
}

export class Chart {
  constructor(title, unit) {
    this.title = title;
    this.unit = unit;
    this.at = null;
    this.svg = s("svg", { role: "img" });
    this.legend = h("div", { class: "legend" });
    this.when = h("span", { class: "muted small" });
    this.root = h("figure", { class: "card chart" },
      h("figcaption", {}, h("b", {}, title), this.when), this.svg, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => { this.at = null; this.render(); });
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    this.at = part < 0 || part > 1 ? null : part;
    this.render();
  }

  /** Series of `{name, points: [[ms, value]]}`, up to now. */
  draw(series, now, span) {
    Object.assign(this, { series, now, span });
    this.render();
  }

  render() {
    if (!this.series) return;
    const { series, now, span } = this;
    const width = this.svg.clientWidth || 480;
    const inner = { w: width - LEFT - RIGHT, h: H - TOP - BOTTOM };
    const top = ceiling(Math.max(0, ...series.flatMap((one) => one.points.map((point) => point[1]))));
    const x = (at) => LEFT + inner.w * (1 - (now - at) / span);
    const y = (value) => TOP + inner.h * (1 - value / top);
    const parts = [];
    for (let step = 0; step <= 4; step += 1) {
      const value = (top * step) / 4;
      const line = Math.round(y(value)) + 0.5;
      parts.push(s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: line, y2: line }));
      if (step % 2 === 0) parts.push(s("text", { x: LEFT - 8, y: line + 4, "text-anchor": "end" }, short(value)));
    }
    for (let minute = 0; minute <= span / 60000; minute += 1) {
      const anchor = minute === 0 ? "end" : minute * 60000 === span ? "start" : "middle";
      const text = minute === 0 ? "now" : `−${minute} min`;
      parts.push(s("text", { x: x(now - minute * 60000), y: H - 5, "text-anchor": anchor }, text));
    }
    series.forEach((one, index) => parts.push(...this.line(one, index, x, y)));
    if (this.at !== null) {
      const cross = LEFT + inner.w * this.at;
      parts.push(s("line", { class: "cross", x1: cross, x2: cross, y1: TOP, y2: H - BOTTOM }));
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${H}`);
    this.svg.replaceChildren(...parts);
    this.tell(series, now, span);
  }

  line(one, index, x, y) {
    const points = one.points.filter((point) => point[0] >= this.now - this.span);
    if (points.length === 0) return [];
    const path = points.map((point, place) => `${place ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("");
    const area = `${path}L${x(points.at(-1)[0]).toFixed(1)} ${y(0)}L${x(points[0][0]).toFixed(1)} ${y(0)}Z`;
    return [
      this.series.length === 1 ? s("path", { class: "area fill-0", d: area }) : "",
      s("path", { class: `series stroke-${index % 5}`, d: path }),
    ];
  }

  tell(series, now, span) {
    const at = this.at === null ? now : now - span * (1 - this.at);
    this.when.textContent = this.at === null ? this.unit : `${Math.round((now - at) / 1000)} s ago · ${this.unit}`;
    const values = series.map((one) => {
      const near = one.points.reduce((best, point) => (best && Math.abs(best[0] - at) <= Math.abs(point[0] - at) ? best : point), null);
      return near && Math.abs(near[0] - at) < 10000 ? short(near[1]) : "–";
    });
    this.svg.setAttribute("aria-label", `${this.title}: ${series.map((one, place) => `${one.name} ${values[place]} ${this.unit}`).join(", ")}`);
    this.legend.replaceChildren(...series.map((one, place) =>
      h("span", {}, h("i", { class: `key fill-${place % 5}` }), one.name, h("b", {}, values[place]))));
  }
}
