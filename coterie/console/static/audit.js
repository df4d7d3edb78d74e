// The audit trail: who changed what at this server, the newest first.

import { ask } from "/static/api.js";
import { h, moment, number, size, tag } from "/static/dom.js";
import { live } from "/static/live.js";

const EVERY_MS = 5000;
const OPERATIONS = ["create", "delete", "setData", "setAcl", "multiOperation", "reconfig", "ephemeralZNodeDeletionOnSessionCloseOrExpire", "serverStart", "serverStop", "auditLog"];
const SHORT = { ephemeralZNodeDeletionOnSessionCloseOrExpire: "session ended", multiOperation: "multi" };
const KINDS = { success: "good", failure: "bad" };

function chosen(id, label, options) {
  return h("div", { class: "field" }, h("label", { for: id }, label),
    h("select", { id }, options.map(([value, text]) => h("option", { value }, text))));
}

function typed(id, label, hint, value = "") {
  return h("div", { class: "field" }, h("label", { for: id }, label), h("input", { id, type: "search", placeholder: hint, value }));
}

function when(text) {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : `${moment(ms)}.${String(ms % 1000).padStart(3, "0")}`;
}

/** Every client is also who comes from its address, which is told beside it. */
function users(one) {
  return (one.user ?? "").split(",").filter((name) => name !== one.ip).join(", ");
}

function line(one) {
  const znode = one.znode && one.operation !== "delete" && one.result === "success" && one.operation !== "ephemeralZNodeDeletionOnSessionCloseOrExpire"
    ? h("a", { href: `#/tree${one.znode.split("/").map(encodeURIComponent).join("/")}` }, one.znode) : one.znode ?? "";
  const more = [one.znode_type?.replaceAll("_", " "), one.acl, one.lost === undefined ? null : `${number(one.lost)} lines are lost`].filter(Boolean).join(" · ");
  return h("tr", {},
    h("td", { class: "mono" }, when(one.time ?? "")),
    h("td", {}, h("div", {}, users(one)), h("div", { class: "muted small" }, one.ip ?? "")),
    h("td", {}, SHORT[one.operation] ?? one.operation ?? ""),
    h("td", {}, h("div", { class: "mono break" }, znode), more ? h("div", { class: "muted small" }, more) : null),
    h("td", {}, tag(one.result ?? "", KINDS[one.result] ?? "plain"), one.error ? h("div", { class: "muted small" }, one.error) : null),
    h("td", { class: "wide mono" }, one.zxid ?? ""),
    h("td", { class: "wide mono" }, one.session ? h("a", { href: `#/sessions/${one.session}` }, one.session) : ""));
}

function off(told) {
  return h("div", { class: "card stack" }, h("h2", {}, "The audit log is off"),
    h("p", {}, "This server writes down no changes. To have a line for each, with who asked for it, from where, and what became of it, put this into its zoo.cfg and start it again:"),
    h("pre", { class: "hex" }, "audit.enable=true"),
    h("p", { class: "hint" }, `The log is then at ${told.file}. Each member has one of its own, with the changes of its clients.`));
}

export function audit(main, first = "") {
  const path = typed("audit-path", "Znode", "/config, and below", first ? `/${first}` : "");
  const user = typed("audit-user", "Who", "a user or an address");
  const operation = chosen("audit-operation", "Operation", [["", "all"], ...OPERATIONS.map((name) => [name, SHORT[name] ?? name])]);
  const result = chosen("audit-result", "Result", [["", "all"], ["success", "success"], ["failure", "failure"]]);
  const form = h("form", { class: "card filters", "aria-label": "Show only" }, path, user, operation, result);
  const place = h("div", { class: "stack" });
  const summary = h("p", { class: "muted" });
  main.replaceChildren(h("div", { class: "stack" }, h("div", {}, h("h1", {}, "Audit trail"), summary), form, place));
  let timer = 0;
  let asking = 0;
  let last = "";

  function show(told) {
    form.hidden = !told.enabled;
    summary.textContent = told.enabled ? "Changes that this server's clients asked for, the newest first." : "";
    summary.title = told.file;
    if (!told.enabled) return place.replaceChildren(off(told));
    const seen = told.full ? `The newest ${number(told.entries.length)}: there may be more.` : `${number(told.entries.length)} in the last ${size(told.bytes).join(" ")} of the log.`;
    return place.replaceChildren(h("div", { class: "card scroll" },
      told.entries.length === 0 ? h("p", { class: "empty" }, `No such change in the last ${size(told.bytes).join(" ")} of the log.`)
        : h("table", { id: "trail" },
          h("thead", {}, h("tr", {}, h("th", {}, "Time"), h("th", {}, "Who"), h("th", {}, "Operation"), h("th", {}, "Znode"), h("th", {}, "Result"), h("th", { class: "wide" }, "zxid"), h("th", { class: "wide" }, "Session"))),
          h("tbody", {}, told.entries.map(line))),
      h("p", { class: "hint" }, told.entries.length ? seen : "")));
  }

  async function load() {
    clearTimeout(timer);
    const mine = ++asking;
    const value = (id) => form.querySelector(`#${id}`).value.trim();
    const wanted = new URLSearchParams({ path: value("audit-path"), user: value("audit-user"), operation: value("audit-operation"), result: value("audit-result") });
    if (!document.hidden || !last) {
      try {
        const told = await ask(`/console/audit?${wanted}`);
        if (mine !== asking) return;
        const text = JSON.stringify(told);
        if (text !== last) show(told);
        last = text;
      } catch (error) {
        if (mine !== asking) return;
        form.hidden = true;
        last = "";
        place.replaceChildren(h("p", { class: "empty" }, live.state && !live.state.inside ? "Only a server itself knows its audit log: open its own console." : error.message));
      }
    }
    timer = setTimeout(load, EVERY_MS);
  }

  let soon = 0;
  form.addEventListener("submit", (event) => { event.preventDefault(); load(); });
  form.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(load, 250); });
  load();
  return () => { clearTimeout(timer); clearTimeout(soon); asking = -1; };
}
