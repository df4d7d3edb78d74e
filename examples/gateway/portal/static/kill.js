// The button that kills: the first press asks, the second does it.
const ASKS_MS = 4000;

/** Let an element be such a button. `relabel(sure)` shows which press the next one is. */
export function deadly(element, relabel, kill) {
  let timer = null;
  const set = (sure) => {
    clearTimeout(timer);
    timer = sure ? setTimeout(() => set(false), ASKS_MS) : null;
    element.classList.toggle("sure", sure);
    relabel(sure);
  };
  const press = (event) => {
    event.preventDefault();
    event.stopPropagation();
    const sure = timer !== null;
    set(!sure);
    if (sure) kill();
  };
  element.addEventListener("click", press);
  if (element.localName !== "button") {
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") press(event);
    });
  }
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") set(false);
  });
  set(false);
}

/** Ask the portal for it; what went wrong, or null. */
export async function killProcess(name) {
  try {
    const answer = await fetch(`/live/kill/${encodeURIComponent(name)}`, {
      method: "POST", headers: { "X-Coterie-Kill": "1" },
    });
    if (answer.ok) return null;
    return (await answer.json()).error?.message ?? `HTTP ${answer.status}`;
  } catch {
    // The portal itself may have been killed before it could answer.
    return name.startsWith("portal") ? null : "The portal does not answer.";
  }
}
