// The ensemble: who leads, how each member does, and the last minutes as charts.

import { Chart } from "/static/chart.js";
import { crown, facts, h, number, size, tag, tile } from "/static/dom.js";
import { SERVES, SPAN_MS, key, live, onLive } from "/static/live.js";

const KINDS = { leader: "good", standalone: "good", follower: "calm", observer: "calm", down: "bad", unknown: "", looking: "warn", "read-only": "warn" };

function behind(member, newest) {
  if (!member.zxid || !newest) return null;
  const [own, most] = [BigInt(member.zxid), BigInt(newest)];
  if (own === most) return "up to date";
  if (own >> 32n !== most >> 32n) return "of an earlier epoch";
  return `${number(Number(most - own))} behind`;
}

function card(member, index, newest) {
  const leads = member.mode === "leader";
  const off = !SERVES.has(member.mode);
  const latency = member.latency_ms;
  return h("section", { class: `card member ${leads ? "is-leads" : ""} ${off ? "is-off" : ""}` },
    h("div", { class: "spread" },
      h("h3", {}, h("i", { class: `key fill-${index % 5}` }), key(member), leads ? crown() : null),
      tag(member.mode, KINDS[member.mode] ?? "")),
    member.why ? h("p", { class: "muted small" }, member.why) : null,
    facts([
      ["clients at", h("span", { class: "mono" }, member.address || "–")],
      member.zxid ? ["newest txn", [h("span", { class: "mono" }, member.zxid), h("span", { class: "muted small" }, ` ${behind(member, newest) ?? ""}`)]] : null,
      member.connections !== undefined ? ["connections", number(member.connections)] : null,
      member.rate !== undefined ? ["requests", `${number(member.rate, 1)} /s`] : null,
      latency ? ["latency", `${number(latency[1], 2)} ms, at most ${number(latency[2])} ms`] : null,
      member.outstanding ? ["waiting", number(member.outstanding)] : null,
      member.version ? ["version", h("span", { class: "small" }, member.version)] : null,
    ]));
}

function warning(state) {
  const members = state.members;
  const voters = members.filter((member) => member.role !== "observer");
  const serving = members.filter((member) => SERVES.has(member.mode));
  if (state.unready) return ["bad", `This server is not ready: ${state.unready}.`];
  if (serving.length === 0) return ["bad", "No server serves."];
  if (members.length > 1 && !members.some((member) => member.mode === "leader")) return ["bad", "Nobody leads: nothing can be written."];
  const missing = voters.filter((member) => !SERVES.has(member.mode) && member.mode !== "unknown");
  if (missing.length) {
    const spare = Math.floor((voters.length - 1) / 2) - missing.length;
    const names = missing.map(key).join(", ");
    return ["", `${names} ${missing.length > 1 ? "do" : "does"} not serve. ${spare > 0 ? `${spare} more may fail.` : "No other may fail."}`];
  }
  return null;
}

export function overview(main) {
  const charts = {
    rate: new Chart("Requests", "per second"),
    latency: new Chart("Average latency", "ms"),
    connections: new Chart("Connections", ""),
    outstanding: new Chart("Waiting requests", ""),
  };
  const banner = h("div", { class: "banner", role: "alert", hidden: true });
  const tiles = h("div", { class: "tiles" });
  const members = h("div", { class: "members" });
  main.replaceChildren(h("div", { class: "stack" },
    h("h1", {}, "Overview"), banner, tiles, members,
    h("div", { class: "charts" }, Object.values(charts).map((chart) => chart.root))));

  const update = () => {
    const { state, error } = live;
    if (error || !state) {
      banner.hidden = !error;
      banner.className = "banner bad";
      banner.textContent = error ? `Not up to date: ${error}.` : "";
      if (!state) return;
    } else {
      const told = warning(state);
      banner.hidden = !told;
      if (told && banner.textContent !== told[1]) [banner.className, banner.textContent] = [`banner ${told[0]}`, told[1]];
    }
    const all = state.members;
    const served = all.filter((member) => SERVES.has(member.mode));
    const sum = (name) => served.reduce((total, member) => total + (member[name] ?? 0), 0);
    const lead = served.find((member) => ["leader", "standalone"].includes(member.mode)) ?? served[0];
    const newest = lead?.zxid;
    const latency = served.filter((member) => member.latency_ms);
    const mean = latency.reduce((total, member) => total + member.latency_ms[1], 0) / latency.length;
    const data = size(lead?.data_bytes);
    tiles.replaceChildren(
      tile("Serving", `${served.length} of ${all.length}`),
      tile("Requests", number(sum("rate"), 1), "/s"),
      tile("Average latency", number(mean, 2), "ms"),
      tile("Connections", number(sum("connections"))),
      tile("Znodes", number(lead?.znodes)),
      tile("Data", data[0], data[1]),
      tile("Newest txn", newest ?? "–", "", "mono"));
    members.replaceChildren(...all.map((member, index) => card(member, index, newest)));
    const now = Date.now();
    for (const [name, chart] of Object.entries(charts)) {
      const series = all.map((member) => ({
        name: key(member),
        points: (live.history.get(key(member)) ?? []).filter((one) => one[name] !== undefined).map((one) => [one.at, one[name]]),
      }));
      chart.draw(series, now, SPAN_MS);
    }
  };
  update();
  return onLive(update);
}
