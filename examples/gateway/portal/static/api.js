// The gateway's API, by way of the portal, as who is signed in.
//
// A write carries a key of its own, so that it may be sent again: what the API says can be tried
// again is tried again for a while.

const AT = "/api/v1";
const PATIENCE_MS = 20_000;

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = error.code ?? "unclear";
    this.retry = error.retry === true;
  }
}

const listeners = new Set();

export function user() {
  return localStorage.getItem("gateway-user");
}

export function whenUserChanges(listener) {
  listeners.add(listener);
}

function keep(name, token) {
  if (token === null) {
    localStorage.removeItem("gateway-token");
    localStorage.removeItem("gateway-user");
  } else {
    localStorage.setItem("gateway-token", token);
    localStorage.setItem("gateway-user", name);
  }
  for (const listener of listeners) listener();
}

export async function signIn(name) {
  const told = await post("/sign-in", { user: name });
  keep(told.user, told.token);
}

export function signOut() {
  keep(null, null);
}

async function once(method, path, headers, body) {
  const token = localStorage.getItem("gateway-token");
  const sent = { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(AT + path, { method, headers: sent, body });
  } catch {
    throw new ApiError(0, { code: "no-portal", message: "The portal does not answer.", retry: true });
  }
  if (answer.ok) return answer;
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // What is no JSON says nothing.
  }
  if (answer.status === 401 && token !== null) signOut();
  throw new ApiError(answer.status, error);
}

async function patiently(method, path, headers = {}, body = undefined) {
  const end = performance.now() + PATIENCE_MS;
  for (let pause = 300; ; pause = Math.min(pause * 2, 2000)) {
    try {
      return await once(method, path, headers, body);
    } catch (error) {
      if (!error.retry || performance.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

export async function get(path) {
  return (await patiently("GET", path)).json();
}

export async function file(path) {
  return (await patiently("GET", path)).blob();
}

export async function post(path, object) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
  return (await patiently("POST", path, headers, JSON.stringify(object))).json();
}

export async function postForm(path, form) {
  return (await patiently("POST", path, { "Idempotency-Key": crypto.randomUUID() }, form)).json();
}
