// The live page: follows the portal's account of the gateway and shows it, as a drawing and in words.
import { get, postForm, signIn, user } from "./api.js";
import { clock, h, s, show, tag } from "./dom.js";
import { Dots } from "./dots.js";
import { CROWN, Drawing, describe } from "./draw.js";
import { deadly, killProcess } from "./kill.js";
import { showTop } from "./top.js";

// The portal says something every two seconds.
const SILENCE_MS = 5000;
const COPIES = 4;
const JOBS_SHOWN = 8;
const COUNTED = ["queued", "assigned", "running", "done", "failed", "cancelled"];

const byId = (id) => document.getElementById(id);
let heard = null;
let source = null;

async function kill(name) {
  const wrong = await killProcess(name);
  tell(wrong && `${name} was not killed: ${wrong}`);
}

function tell(text) {
  byId("told").hidden = !text;
  byId("told").textContent = text ?? "";
}

const colours = new Map();
const drawing = new Drawing(byId("sea"), { kill, colours: () => colours });
const dots = new Dots(drawing.dots, colours);

// In words

function counts(state) {
  return COUNTED.filter((name) => state.counts[name]).map((name) =>
    h("li", { class: `tag is-${name}` }, h("b", {}, String(state.counts[name])), ` ${name}`));
}

function event(one) {
  return h("li", { class: `ev-${one.kind}`, "data-key": one.at + one.text }, h("span", {}, one.text),
    h("time", { datetime: one.at }, clock(one.at)));
}

/** What is new is put before what is there: who listens to the page hears the new lines only. */
function tellEvents(events) {
  const log = byId("log");
  const keys = new Set(events.map((one) => one.at + one.text));
  for (const line of [...log.children]) if (!keys.has(line.dataset.key)) line.remove();
  const there = new Set([...log.children].map((line) => line.dataset.key));
  const lines = events.filter((one) => !there.has(one.at + one.text)).map(event);
  log.prepend(...lines);
}

function jobs(list) {
  if (!list.length) return h("p", { class: "empty" }, "None yet: run samples.");
  return h("ul", {}, list.slice(0, JOBS_SHOWN).map((job) => h("li", {},
    h("span", { class: "grow" },
      h("a", { href: `/experiments/${encodeURIComponent(job.id)}` },
        `${job.application} `, h("span", { class: "mono" }, job.id.slice(0, 8))),
      h("span", { class: "muted small" }, job.manager || "waits",
        job.attempts > 1 ? `, attempt ${job.attempts}` : "")),
    tag(job.state))));
}

function person(one) {
  const state = one.role ?? one.state;
  const can = one.pid !== null && one.pid !== undefined && one.alive !== false;
  const leads = one.leader || one.role === "leader";
  const crown = leads
    ? s("svg", { viewBox: "-1 -1 18 14", role: "img", "aria-label": "leads" },
      s("path", { class: "crown", d: CROWN }))
    : null;
  const item = h("li", { title: describe(one), "data-name": one.name },
    h("span", { class: "grow" }, h("b", {}, one.name),
      h("span", { class: "muted small" }, one.version ? `v${one.version} at ` : "", one.address)),
    crown, tag(state));
  if (can) {
    const button = h("button", { class: "small danger" });
    deadly(button, (sure) => {
      button.textContent = sure ? "kill -9 ?" : "Kill";
      button.setAttribute("aria-label", sure ? `Really kill ${one.name} with -9` : `Kill ${one.name}`);
    }, () => kill(one.name));
    item.append(button);
  }
  return item;
}

function everyone(state) {
  const groups = [["Components", state.components], ["The ensemble", state.ensemble]];
  return groups.filter(([, list]) => list.length).flatMap(([title, list]) =>
    [h("h3", {}, title), h("ul", {}, list.map(person))]);
}

/** What the list shows: not the load and the zxid, which change all the time. */
const essence = (one) => [one.name, one.version, one.address, one.state ?? one.role, one.leader,
  one.pid, one.alive];

function draw(state) {
  const places = drawing.update(state);
  dots.update(state, places);
  show(byId("counts"), JSON.stringify(state.counts), () => counts(state));
  tellEvents(state.events);
  show(byId("jobs"), JSON.stringify(state.jobs.slice(0, JOBS_SHOWN)), () => jobs(state.jobs));
  const all = [...state.components, ...state.ensemble];
  show(byId("everyone"), JSON.stringify(all.map(essence)), () => everyone(state));
  document.body.dataset.ready = "true";
}

// How old it is

function age() {
  const old = byId("old");
  const silentMs = heard === null ? 0 : performance.now() - heard.at;
  let text = "";
  if (silentMs > SILENCE_MS) {
    const seconds = Math.round(silentMs / 1000);
    text = "The portal does not answer. "
      + `This is what it said at ${clock(heard.told)}, ${seconds} s ago.`;
  } else if (heard && heard.stale_s > 0) {
    const seconds = heard.stale_s + Math.round(silentMs / 1000);
    text = `No server of the ensemble answers: who is there is as it was ${seconds} s ago.`;
  }
  if (old.textContent !== text) old.textContent = text;
  old.hidden = !text;
  byId("sea").classList.toggle("old", Boolean(text));
}

function follow() {
  source?.close();
  source = new EventSource("/live/events");
  const mine = source;
  source.onmessage = (message) => {
    const state = JSON.parse(message.data);
    heard = { at: performance.now(), told: new Date().toISOString(), stale_s: state.stale_s };
    draw(state);
    age();
  };
  source.onerror = () => {
    // A browser connects again by itself, but not after an answer that was an error.
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === source && follow(), 1000);
  };
}

// Samples

async function runSamples() {
  byId("run").disabled = true;
  tell(null);
  try {
    if (user() === null) await signIn("visitor");
    const samples = await get("/samples");
    for (let copy = 0; copy < COPIES; copy++) {
      await Promise.all(samples.map((sample) => {
        const form = new FormData();
        form.append("application", sample.application);
        for (const [name, value] of Object.entries(sample.fields ?? {})) form.append(name, value);
        for (const [name, one] of Object.entries(sample.files ?? {})) {
          form.append(name, new File([one.text], one.name, { type: "text/plain" }));
        }
        return postForm("/experiments", form);
      }));
    }
  } catch (error) {
    tell(`The samples were not all submitted: ${error.message}`);
  }
  byId("run").disabled = false;
}

showTop("/");
byId("run").addEventListener("click", runSamples);
setInterval(age, 500);
setInterval(() => {
  // A connection may be dead without a word of it.
  if (heard && !document.hidden && performance.now() - heard.at > 2 * SILENCE_MS) follow();
}, SILENCE_MS);
document.addEventListener("visibilitychange", () => {
  // A browser has few connections for each host: a page that nobody sees keeps none.
  if (document.hidden) source.close();
  else {
    if (heard) heard.at = performance.now();
    follow();
  }
});
follow();
