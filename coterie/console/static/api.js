// How the page asks its server, and as whom. The password stays in this page's memory.

let header = null;
let user = null;

export function who() {
  return user;
}

export function signIn(name, password) {
  user = name;
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  header = `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

export function signOut() {
  user = header = null;
}

export class Refused extends Error {
  constructor(status, told) {
    super(told.detail ?? told.title ?? `the server answered ${status}`);
    this.status = status;
    this.told = told;
  }
}

async function send(address, { method = "GET", body, headers = {}, signal } = {}) {
  const all = { "X-Requested-By": "console", ...headers };
  if (header) all.Authorization = header;
  let answer;
  try {
    answer = await fetch(address, { method, body, headers: all, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "the server does not answer" });
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

export async function ask(address, options) {
  const answer = await send(address, options);
  return answer.status === 204 ? null : answer.json();
}

export function znode(path, query = "") {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `/znodes${encoded}${query ? `?${query}` : ""}`;
}

/** Hear of every change of a znode, until the function that this gives is called.
 *  A page that nobody looks at does not listen: a browser has few connections to one server. */
export function watch(path, told) {
  let listening = null;
  const begin = (again) => {
    if (document.hidden || listening) return;
    listening = new AbortController();
    listen(path, told, listening.signal);
    if (again) told("again", path);
  };
  const stop = () => {
    listening?.abort();
    listening = null;
  };
  const seen = () => (document.hidden ? stop() : begin(true));
  document.addEventListener("visibilitychange", seen);
  begin(false);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    stop();
  };
}

async function listen(path, told, signal) {
  let pause = 500;
  while (!signal.aborted) {
    try {
      const answer = await send(znode(path, "watch"), { signal });
      pause = 500;
      await read(answer.body.getReader(), (name, where) => { if (!signal.aborted) told(name, where); });
    } catch (error) {
      if (signal.aborted || [401, 403, 404].includes(error.status)) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 15000);
    if (!signal.aborted) told("again", path);
  }
}

async function read(reader, told) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part);
      const data = /^data: (.*)$/m.exec(part);
      if (name && data) told(name[1], JSON.parse(data[1]).path);
    }
  }
}
