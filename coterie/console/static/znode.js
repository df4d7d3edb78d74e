// One znode: what it holds, its stat and its ACL, and what can be done with it.

import { ask, who, watch, znode } from "/static/api.js";
import { facts, h, moment, number, question, size, tag, toast } from "/static/dom.js";
import { live } from "/static/live.js";

const LETTERS = [["c", "create"], ["d", "delete"], ["r", "read"], ["w", "write"], ["a", "admin"]];

function crumbs(path, go) {
  const parts = path.split("/").filter(Boolean);
  const links = parts.map((part, at) => {
    const place = `/${parts.slice(0, at + 1).join("/")}`;
    return ["/", at === parts.length - 1 ? part : h("a", { href: `#/tree${encodeURI(place)}`, onclick: (event) => { event.preventDefault(); go(place); } }, part)];
  });
  return h("div", { class: "crumbs" }, links.length ? links.flat() : "/");
}

function hex(encoded) {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0)).slice(0, 4096);
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = [...bytes.slice(at, at + 16)];
    const codes = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(48);
    const text = part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${codes} ${text}`);
  }
  return lines.join("\n");
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

export function details(place, path, { go, changed }) {
  const writes = !live.state?.read_only;
  const data = h("div", { class: "card stack" });
  const stat = h("div", { class: "card stack" });
  const acl = h("div", { class: "card stack" });
  const news = h("div", { class: "banner", role: "status", hidden: true });
  const title = h("div", { class: "stack" });
  let base = null;
  let dirty = () => false;
  place.replaceChildren(title, news, data, h("div", { class: "cols" }, stat, acl));

  function problem(error) {
    news.hidden = false;
    news.className = "banner bad";
    const help = error.status === 401 || error.status === 403 ? (who() ? ` This is asked as ${who()}.` : " Sign in as somebody who may.") : "";
    news.textContent = `${error.message}.${help}`;
  }

  const loses = (what) => async () => {
    try {
      await what();
    } catch (error) {
      if (error.status === 412) toast("Somebody else was faster: it has another version now. Nothing was changed.");
      else toast(error.message);
      if (error.status === 412) tell();
    }
  };

  function head(told) {
    const owner = told.stat.ephemeral_owner;
    title.replaceChildren(h("div", { class: "spread" }, crumbs(path, go), h("div", { class: "row" },
      live.state?.audit ? h("a", { href: `#/audit${path.split("/").map(encodeURIComponent).join("/")}` }, "Who changed it") : null,
      owner !== "0x0" ? h("a", { href: `#/sessions/${owner}` }, tag(`ephemeral of ${owner}`, "warn")) : null,
      writes ? h("button", { type: "button", onclick: loses(() => add(path, changed, go)) }, "New child") : null,
      writes && path !== "/" ? h("button", { type: "button", class: "danger", id: "delete", onclick: loses(() => remove(path, told.stat, changed)) }, "Delete") : null)));
  }

  function text(told) {
    const shown = h("textarea", { id: "data", spellcheck: "false", "aria-label": "Data", readonly: !writes });
    shown.value = told.data;
    const version = h("span", { class: "muted small" }, `version ${told.stat.version} · ${size(told.stat.data_length).join(" ")}`);
    const save = h("button", { type: "button", class: "primary", id: "save", disabled: true }, "Save");
    const format = pretty(told.data) ? h("button", { type: "button", class: "small", onclick: () => { shown.value = pretty(shown.value) ?? shown.value; check(); } }, "Format JSON") : null;
    const check = () => { save.disabled = !dirty(); };
    dirty = () => shown.value !== told.data;
    shown.addEventListener("input", check);
    shown.addEventListener("keydown", (event) => {
      if (event.key === "s" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); if (!save.disabled) save.click(); }
    });
    save.addEventListener("click", loses(async () => {
      await ask(znode(path), { method: "PUT", body: shown.value, headers: { "If-Match": `"${base}"` } });
      toast("Saved.");
      await load();
    }));
    data.replaceChildren(h("div", { class: "spread" }, h("h2", {}, "Data"), version), shown,
      writes ? h("div", { class: "row" }, save, format, h("span", { class: "hint" }, "Only if it still has this version.")) : "");
  }

  function binary(told) {
    dirty = () => false;
    data.replaceChildren(h("div", { class: "spread" }, h("h2", {}, "Data"), h("span", { class: "muted small" }, `version ${told.stat.version} · ${size(told.stat.data_length).join(" ")} · no text`)),
      h("pre", { class: "hex" }, hex(told.data_base64)),
      h("p", { class: "hint" }, told.stat.data_length > 4096 ? "The first 4 KiB." : ""));
  }

  async function load() {
    try {
      const told = await ask(znode(path, "json"));
      base = told.stat.version;
      news.hidden = true;
      head(told);
      if (told.data !== undefined) text(told);
      else binary(told);
      showStat(told.stat);
      await showAcl();
    } catch (error) {
      if (error.status === 404) {
        title.replaceChildren(crumbs(path, go));
        data.replaceChildren(h("p", { class: "empty" }, "There is no such znode."));
        stat.replaceChildren();
        acl.replaceChildren();
        stat.hidden = acl.hidden = true;
        return;
      }
      title.replaceChildren(crumbs(path, go));
      data.replaceChildren(h("p", { class: "empty" }, "What it holds cannot be shown."));
      problem(error);
      await meta();
    }
  }

  async function meta() {
    try {
      const told = await ask(znode(path, "stat"));
      head(told);
      showStat(told.stat);
      await showAcl();
    } catch (error) {
      problem(error);
    }
  }

  function showStat(told) {
    const mono = (value) => h("span", { class: "mono" }, value);
    stat.hidden = false;
    stat.replaceChildren(h("h2", {}, "Stat"), facts([
      ["made", [moment(told.ctime), " ", mono(told.czxid)]],
      ["changed", [moment(told.mtime), " ", mono(told.mzxid)]],
      ["children changed", mono(told.pzxid)],
      ["children", number(told.num_children)],
      ["versions", `data ${told.version}, children ${told.cversion}, ACL ${told.aversion}`],
      told.ephemeral_owner !== "0x0" ? ["session", mono(told.ephemeral_owner)] : null,
    ]));
  }

  async function showAcl() {
    acl.hidden = false;
    try {
      const told = await ask(znode(path, "acl"));
      const edit = writes ? h("button", { type: "button", class: "small", onclick: loses(() => editAcl(path, told, load)) }, "Edit") : null;
      acl.replaceChildren(h("div", { class: "spread" }, h("h2", {}, "ACL"), edit),
        h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Who"), h("th", {}, "May"))),
          h("tbody", {}, told.acl.map((one) => h("tr", {},
            h("td", { class: "mono" }, `${one.scheme}:${one.id}`),
            h("td", {}, LETTERS.filter(([letter]) => one.perms.includes(letter)).map(([, name]) => name).join(", ")))))));
    } catch (error) {
      acl.replaceChildren(h("h2", {}, "ACL"), h("p", { class: "muted" }, error.message));
    }
  }

  /** Somebody changed it: what is being written here is not thrown away. */
  function tell() {
    if (!dirty()) {
      load().then(() => { data.classList.remove("flash"); void data.offsetWidth; data.classList.add("flash"); });
      return;
    }
    news.hidden = false;
    news.className = "banner";
    news.replaceChildren(h("div", { class: "spread" }, "It was changed meanwhile, and what you write was not saved.",
      h("button", { type: "button", class: "small", onclick: load }, "Show what it holds now")));
  }

  const stop = watch(path, (event) => {
    if (event === "deleted") changed(path, true);
    else if (event === "changed") tell();
    else if (event === "children" || event === "created") { changed(path, false); meta(); }
    else if (event === "again") tell();
  });
  load();
  return stop;
}

async function add(path, changed, go) {
  const name = h("input", { id: "name", autocomplete: "off", spellcheck: "false" });
  const mode = h("select", { id: "mode" }, ["persistent", "sequential", "container"].map((each) => h("option", {}, each)));
  const data = h("textarea", { id: "new-data", rows: 4, spellcheck: "false" });
  const field = (label, input, hint) => h("div", { class: "field" }, h("label", { for: input.id }, label), input, hint ? h("span", { class: "hint" }, hint) : null);
  const yes = await question("New child", [
    h("p", { class: "muted mono" }, path),
    field("Name", name), field("Kind", mode, "A sequential one gets a number behind its name; a container goes after its last child."), field("Data", data),
  ], { action: "Make it", ready: () => mode.value === "sequential" || (name.value !== "" && !name.value.includes("/")) });
  if (!yes) return;
  const target = path === "/" ? `/${name.value}` : `${path}/${name.value}`;
  const told = await ask(znode(target, `mode=${mode.value}`), { method: "POST", body: data.value });
  toast(`Made ${told.path}.`);
  await changed(path, false);
  go(told.path);
}

async function remove(path, stat, changed) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const many = stat.num_children > 0;
  const typed = h("input", { id: "typed", autocomplete: "off", spellcheck: "false", "aria-label": "Its name" });
  const body = many
    ? [h("p", {}, h("b", { class: "mono" }, path), ` has ${number(stat.num_children)} children. They go, too, with all below them.`),
      h("div", { class: "field" }, h("label", { for: "typed" }, ["Type ", h("code", {}, name), " to go on"]), typed)]
    : [h("p", {}, h("b", { class: "mono" }, path), " and what it holds will be gone.")];
  const yes = await question(many ? "Delete a subtree" : "Delete a znode", body, { action: "Delete", sure: true, ready: () => !many || typed.value === name });
  if (!yes) return;
  await ask(znode(path, many ? "recursive" : ""), { method: "DELETE", headers: many ? {} : { "If-Match": `"${stat.version}"` } });
  toast(`Deleted ${path}.`);
  await changed(path, true);
}

async function editAcl(path, told, load) {
  const list = h("div", { class: "stack" });
  const line = (one) => {
    const perms = LETTERS.map(([letter, name]) => h("label", { title: name }, h("input", { type: "checkbox", value: letter, "aria-label": name, checked: one.perms.includes(letter) }), letter));
    const element = h("div", { class: "row", "data-entry": "" },
      h("input", { "aria-label": "Scheme and identity", value: `${one.scheme}:${one.id}`, spellcheck: "false" }),
      h("div", { class: "perms" }, perms),
      h("button", { type: "button", class: "small", onclick: () => { element.remove(); list.dispatchEvent(new Event("input", { bubbles: true })); } }, "Remove"));
    return element;
  };
  list.append(...told.acl.map(line));
  const read = () => [...list.querySelectorAll("[data-entry]")].map((entry) => {
    const [scheme, ...rest] = entry.querySelector("input:not([type])").value.split(":");
    return { scheme, id: rest.join(":"), perms: [...entry.querySelectorAll("input:checked")].map((box) => box.value).join("") };
  });
  const yes = await question("Who may do what", [
    h("p", { class: "hint" }, "As scheme:identity, such as world:anyone, ip:10.0.0.0/8, digest:me:hash, or auth: for who is signed in."),
    list, h("button", { type: "button", class: "small", onclick: () => { list.append(line({ scheme: "world", id: "anyone", perms: "r" })); list.dispatchEvent(new Event("input", { bubbles: true })); } }, "Add"),
  ], { action: "Save", ready: () => { const entries = read(); return entries.length > 0 && entries.every((one) => one.scheme && one.perms); } });
  if (!yes) return;
  await ask(znode(path, "acl"), { method: "PUT", body: JSON.stringify(read()), headers: { "If-Match": `"${told.stat.aversion}"` } });
  toast("Saved.");
  await load();
}
