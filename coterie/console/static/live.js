// What the members say, asked every two seconds while the page is looked at, and its last minutes.

import { ask } from "/static/api.js";

const EVERY_MS = 2000;
export const SPAN_MS = 180000;

export const live = { state: null, error: null, history: new Map() };
const listeners = new Set();

export function onLive(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function key(member) {
  return member.id === null || member.id === undefined ? member.address : `server ${member.id}`;
}

function keep(member, now) {
  const samples = live.history.get(key(member)) ?? [];
  const last = samples.at(-1);
  const sample = { at: now, received: member.received, zxid: member.zxid };
  if (member.received !== undefined) {
    sample.connections = member.connections;
    sample.outstanding = member.outstanding;
    sample.latency = member.latency_ms?.[1];
    if (last?.received !== undefined && now > last.at) {
      sample.rate = Math.max(0, member.received - last.received) / ((now - last.at) / 1000);
    }
  }
  samples.push(sample);
  while (samples[0].at < now - SPAN_MS - 2 * EVERY_MS) samples.shift();
  live.history.set(key(member), samples);
  member.rate = sample.rate;
}

async function poll() {
  if (!document.hidden || live.state === null) {
    try {
      const state = await ask("/console/state");
      const now = Date.now();
      for (const member of state.members) keep(member, now);
      live.state = state;
      live.error = null;
    } catch (error) {
      live.error = error.message;
    }
    for (const listener of listeners) listener();
  }
  setTimeout(poll, EVERY_MS);
}

export function begin() {
  poll();
}

export const SERVES = new Set(["leader", "follower", "observer", "standalone"]);
