// Which page is shown, how the ensemble is, and as whom znodes are asked for.

import { signIn, signOut, who } from "/static/api.js";
import { audit } from "/static/audit.js";
import { h, question } from "/static/dom.js";
import { SERVES, begin, live, onLive } from "/static/live.js";
import { overview } from "/static/overview.js";
import { sessions } from "/static/sessions.js";
import { storage } from "/static/storage.js";
import { tree } from "/static/tree.js";

const main = document.getElementById("main");
let leave = () => {};

function route() {
  const hash = location.hash || "#/overview";
  if (!hash.startsWith("#/")) return main.focus();
  leave();
  const dialog = document.getElementById("dialog");
  if (dialog.open) dialog.close("");
  const [, page, ...rest] = hash.split("/");
  const pages = { audit, overview, sessions, storage };
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.getAttribute("href").split("/")[1] === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `Coterie · ${page}`;
  if (page === "tree") leave = tree(main, `/${rest.map(decodeURIComponent).filter(Boolean).join("/")}`);
  else leave = (pages[page] ?? overview)(main, rest.map(decodeURIComponent).join("/"));
}

function head() {
  const place = document.getElementById("state");
  const members = live.state?.members ?? [];
  const served = members.filter((member) => SERVES.has(member.mode)).length;
  const lead = members.length === 1 || members.some((member) => member.mode === "leader");
  const text = live.error ? "not reached" : members.length ? `${served} of ${members.length} serving` : "connecting";
  place.className = `tag ${live.error || !served || !lead ? "bad" : served < members.length ? "warn" : "good"}`;
  if (place.textContent !== text) place.textContent = text;
  document.getElementById("readonly").hidden = !live.state?.read_only;
}

function name() {
  document.getElementById("who").textContent = who() ? `${who()} · sign out` : "Sign in";
}

document.getElementById("who").addEventListener("click", async () => {
  if (who()) {
    signOut();
  } else {
    const user = h("input", { id: "user", autocomplete: "username" });
    const password = h("input", { id: "password", type: "password", autocomplete: "current-password" });
    const yes = await question("Sign in", [
      h("p", { class: "hint" }, "A user and a password of the digest scheme: znodes are then asked for as that identity. They stay in this page, until it is closed."),
      h("div", { class: "field" }, h("label", { for: "user" }, "User"), user),
      h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password),
    ], { action: "Sign in", ready: () => user.value !== "" && !user.value.includes(":") });
    if (!yes) return;
    signIn(user.value, password.value);
  }
  name();
  route();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select")) return;
  const pages = { 1: "#/overview", 2: "#/tree/", 3: "#/sessions", 4: "#/storage", 5: "#/audit" };
  if (event.key in pages) location.hash = pages[event.key];
  const field = document.querySelector('input[type="search"]');
  if (event.key === "/" && field) {
    event.preventDefault();
    field.focus();
  }
});

// What may be changed is known with the first answer: nothing is shown before it.
const first = onLive(() => {
  first();
  head();
  name();
  route();
  onLive(head);
  addEventListener("hashchange", route);
});
begin();
