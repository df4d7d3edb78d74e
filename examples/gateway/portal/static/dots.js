// Jobs as dots that flow along the lines: each goes the way that its states tell, one after the other.
import { s } from "./dom.js";
import { along, link } from "./layout.js";

const STAGES = ["", "queued", "assigned", "running", "ended"];
const SEGMENT_MS = 420;
const FADE_MS = 500;
const COLOURS = 4;
const RADIUS = 6;

const still = matchMedia("(prefers-reduced-motion: reduce)");

function stage(job) {
  return ["done", "failed", "cancelled"].includes(job.state) ? 4 : Math.max(1, STAGES.indexOf(job.state));
}

function hash(text) {
  let value = 7;
  for (const char of text) value = (value * 31 + char.charCodeAt(0)) >>> 0;
  return value;
}

export class Dots {
  constructor(layer, colours) {
    this.layer = layer;
    this.colours = colours;
    this.dots = new Map();
    // Jobs that had ended when they were last heard of: they have come home once.
    this.over = new Set();
    this.first = true;
    this.frame = null;
  }

  colour(application) {
    if (!this.colours.has(application)) this.colours.set(application, this.colours.size % COLOURS);
    return this.colours.get(application);
  }

  update(state, places) {
    this.places = places;
    this.state = state;
    this.place(state);
    const listed = new Set();
    for (const job of state.jobs) {
      listed.add(job.id);
      const dot = this.dots.get(job.id);
      if (dot) this.advance(dot, job);
      else if (!this.over.has(job.id) && (stage(job) < 4 || !this.first)) this.begin(job);
      if (stage(job) === 4) this.over.add(job.id);
    }
    for (const id of this.over) if (!listed.has(id)) this.over.delete(id);
    // Older than the newest that are told of: nothing more will be heard of it.
    for (const [id, dot] of this.dots) if (!listed.has(id)) this.end(dot);
    this.first = false;
    this.settle();
    this.run();
  }

  /** Where jobs wait and run now: the queue in a tray, those that run along the legs. */
  place(state) {
    const slots = new Map();
    const running = new Map();
    const { queue } = this.places;
    let waiting = 0;
    for (const job of [...state.jobs].reverse()) {
      if (stage(job) === 1) {
        const at = waiting++;
        slots.set(job.id, { x: queue.x + 12 + (at % 20) * 11.8, y: queue.y + 9 + (at >= 20 ? 11 : 0) });
      } else if (stage(job) === 2) {
        const node = this.places.nodes.get(job.manager);
        if (node) slots.set(job.id, { x: node.cx - 40 + (hash(job.id) % 80), y: node.y + node.h });
      } else if (stage(job) === 3) {
        const leg = this.leg(job);
        if (!leg) continue;
        const at = running.get(leg.id) ?? 0;
        running.set(leg.id, at + 1);
        slots.set(job.id, along(leg.curve, 0.86 - (at % 8) * 0.09));
      }
    }
    this.slots = slots;
  }

  leg(job) {
    const manager = this.state.components.find((one) => one.name === job.manager);
    const flavor = manager?.flavor ?? "";
    const wanted = { local: "sandbox", dask: "dask" }[flavor];
    const legs = this.places.legs.filter((one) => one.resource === wanted);
    return legs[hash(job.id) % Math.max(legs.length, 1)];
  }

  node(kind, job) {
    const all = this.state.components.filter((one) => one.kind === kind);
    const one = all.find((each) => each.leader) ?? all[hash(job.id) % Math.max(all.length, 1)];
    const place = one && this.places.nodes.get(one.name);
    return place && { x: place.cx, y: place.cy };
  }

  manager(job) {
    const place = this.places.nodes.get(job.manager);
    return place && { x: place.cx, y: place.cy };
  }

  begin(job) {
    const shape = s("circle", { class: `dot dot-${this.colour(job.application)}`, r: RADIUS });
    const dot = { job: { ...job, state: "" }, shape, way: [], at: null, moved: 0, fading: 0 };
    this.dots.set(job.id, dot);
    if (this.first) {
      dot.job = job;
      dot.at = this.slots.get(job.id) ?? this.node("metadata", job) ?? null;
    } else {
      const [browser, program] = this.places.clients;
      const start = hash(job.id) % 3 ? browser : program;
      dot.at = { x: start.x, y: start.y };
      const through = start === browser ? [this.node("portal", job)] : [];
      this.go(dot, ...through, this.node("api", job), this.node("metadata", job));
      this.advance(dot, job);
    }
    this.layer.append(shape);
  }

  advance(dot, job) {
    const before = dot.job;
    const [was, now] = [before.state ? stage(before) : 0, stage(job)];
    const moved = job.manager && before.manager && job.manager !== before.manager && was > 1;
    dot.job = job;
    if (was === now && !moved) return;
    const steps = now <= was || moved ? [1, ...(now > 1 ? [2] : []), ...(now > 2 ? [3] : []),
      ...(now > 3 ? [4] : [])] : STAGES.map((_, n) => n).filter((n) => n > was && n <= now);
    for (const step of steps) {
      if (step === 1) this.go(dot, this.node("scheduler", job));
      if (step === 2) this.go(dot, was ? null : this.node("scheduler", job), this.manager(job));
      if (step === 3) this.legTo(dot, job);
      if (step === 4) this.home(dot, job);
    }
  }

  legTo(dot, job) {
    const leg = this.leg(job);
    if (!leg) return;
    const start = dot.way.at(-1)?.[3] ?? dot.at;
    if (start) dot.way.push(link(start, leg.curve[0]));
    dot.way.push(leg.curve);
  }

  /** The result goes back to the manager, and its record to where records are kept. */
  home(dot, job) {
    this.go(dot, this.manager(job), this.node("metadata", job));
    const leg = this.places.legs.find((one) => one.resource === (hash(job.id) % 2 ? "sqlite" : "store"));
    if (leg) {
      const start = dot.way.at(-1)?.[3] ?? dot.at;
      if (start) dot.way.push(link(start, leg.curve[0]));
      dot.way.push(leg.curve);
    }
    dot.last = true;
    dot.shape.classList.toggle("failed", job.state === "failed");
  }

  go(dot, ...points) {
    for (const point of points) {
      const start = dot.way.at(-1)?.[3] ?? dot.at;
      if (point && start) dot.way.push(link(start, point));
    }
  }

  end(dot) {
    dot.last = true;
    if (!dot.way.length) dot.fading ||= performance.now();
  }

  /** Whoever is where it belongs stays there, wherever that is now. */
  settle() {
    for (const dot of this.dots.values()) {
      const slot = this.slots.get(dot.job.id);
      if (still.matches) {
        dot.way = [];
        if (slot) dot.at = slot;
        if (dot.last) this.forget(dot);
      } else if (!dot.way.length && slot && !dot.last && dot.at
          && Math.hypot(slot.x - dot.at.x, slot.y - dot.at.y) > 2) {
        dot.way.push(link(dot.at, slot));
      }
      this.draw(dot);
    }
  }

  draw(dot) {
    if (!dot.at) return;
    dot.shape.setAttribute("cx", dot.at.x.toFixed(1));
    dot.shape.setAttribute("cy", dot.at.y.toFixed(1));
  }

  forget(dot) {
    dot.shape.remove();
    this.dots.delete(dot.job.id);
  }

  run() {
    if (this.frame !== null || still.matches) return;
    let last = performance.now();
    const step = (now) => {
      const passed = Math.min(250, now - last);
      last = now;
      let moving = false;
      for (const dot of this.dots.values()) moving = this.move(dot, passed, now) || moving;
      this.frame = moving ? requestAnimationFrame(step) : null;
    };
    this.frame = requestAnimationFrame(step);
  }

  move(dot, passed, now) {
    if (dot.fading) {
      const left = 1 - (now - dot.fading) / FADE_MS;
      if (left <= 0) this.forget(dot);
      else dot.shape.setAttribute("opacity", left.toFixed(2));
      return true;
    }
    if (!dot.way.length) {
      if (dot.last) dot.fading = now;
      else this.homeIn(dot);
      return Boolean(dot.last || dot.way.length);
    }
    // Who has a long way before it hurries.
    dot.moved += (passed / SEGMENT_MS) * Math.max(1, dot.way.length / 3);
    const t = Math.min(1, dot.moved);
    dot.at = along(dot.way[0], t * t * (3 - 2 * t));
    if (t === 1) {
      dot.way.shift();
      dot.moved = 0;
    }
    this.draw(dot);
    return true;
  }

  homeIn(dot) {
    const slot = this.slots.get(dot.job.id);
    if (slot && dot.at && Math.hypot(slot.x - dot.at.x, slot.y - dot.at.y) > 2) {
      dot.way.push(link(dot.at, slot));
    }
  }
}
