// What this server has on its disk.

import { ask } from "/static/api.js";
import { ago, facts, h, moment, number, s, size, tile } from "/static/dom.js";
import { live } from "/static/live.js";

const EVERY_MS = 5000;

function bar(part) {
  return s("svg", { width: 120, height: 8, "aria-hidden": "true" },
    s("rect", { class: "bar-track", width: 120, height: 8, rx: 4 }),
    s("rect", { class: "bar", width: Math.max(3, 120 * part), height: 8, rx: 4 }));
}

export function storage(main) {
  const place = h("div", { class: "stack" });
  main.replaceChildren(h("div", { class: "stack" }, h("h1", {}, "Storage"), place));

  function show(told) {
    const snapshots = size(told.snapshot_bytes);
    const logs = size(told.log_bytes);
    const data = size(told.data_bytes);
    const most = Math.max(1, ...told.snapshots.map((one) => one.size));
    place.replaceChildren(
      told.failure ? h("div", { class: "banner bad", role: "alert" }, `Nothing can be written: ${told.failure}.`) : "",
      h("div", { class: "tiles" },
        tile("Log", logs[0], logs[1]), tile("Snapshots", snapshots[0], snapshots[1]),
        tile("Data in memory", data[0], data[1]), tile("Znodes", number(told.znodes)),
        tile("Syncs", number(told.fsync.count)), tile("Average sync", number(told.fsync.avg_ms, 2), "ms"),
        tile("Longest sync", number(told.fsync.max_ms, 1), "ms")),
      h("div", { class: "card stack" }, h("h2", {}, "Places"), facts([
        ["snapshots", h("span", { class: "mono" }, told.data_dir)],
        ["log", h("span", { class: "mono" }, told.log_dir)],
        ["newest txn", h("span", { class: "mono" }, told.zxid)],
      ])),
      h("div", { class: "card scroll" }, h("h2", {}, "Snapshots"),
        told.snapshots.length === 0 ? h("p", { class: "empty" }, "None yet: all is in the log.")
          : h("table", {},
            h("thead", {}, h("tr", {}, h("th", {}, "Begun after txn"), h("th", {}, "Taken"), h("th", { class: "wide" }, "Ago"), h("th", { class: "num" }, "Size"), h("th", { class: "wide" }, ""))),
            h("tbody", {}, told.snapshots.map((one) => h("tr", {},
              h("td", { class: "mono" }, one.zxid), h("td", {}, moment(one.timestamp * 1000)),
              h("td", { class: "wide" }, ago(one.timestamp * 1000)), h("td", { class: "num" }, size(one.size).join(" ")),
              h("td", { class: "wide" }, bar(one.size / most)))))) ));
  }

  let timer = 0;
  const load = async () => {
    try {
      show(await ask("/console/storage"));
    } catch (error) {
      const text = live.state && !live.state.inside ? "Only a server itself knows its disk: open its own console." : error.message;
      place.replaceChildren(h("p", { class: "empty" }, text));
    }
    timer = setTimeout(load, EVERY_MS);
  };
  load();
  return () => clearTimeout(timer);
}
