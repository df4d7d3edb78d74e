// Searches the headings; opens the contents where there is room for them.
"use strict";

const root = document.currentScript.dataset.root;
const field = document.getElementById("search");
const list = document.getElementById("found");
const navigation = document.getElementById("navigation");
const wide = window.matchMedia("(min-width: 50rem)");

function fit() {
  navigation.open = wide.matches;
}
wide.addEventListener("change", fit);
fit();

function score(words, [heading, page]) {
  const first = heading.toLowerCase();
  const both = `${first} ${page.toLowerCase()}`;
  if (!words.every((word) => both.includes(word))) return 0;
  return first.startsWith(words[0]) ? 3 : words.every((word) => first.includes(word)) ? 2 : 1;
}

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length
    ? HEADINGS.map((entry) => [score(words, entry), entry]).filter(([points]) => points)
    : [];
  found.sort(([one], [other]) => other - one);
  list.replaceChildren(
    ...found.slice(0, 12).map(([, [heading, page, where]]) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      const small = document.createElement("small");
      link.href = `${root}/${where}`;
      link.textContent = heading;
      small.textContent = page;
      link.append(" ", small);
      item.append(link);
      return item;
    }),
  );
  list.hidden = !found.length;
}

field.addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape") {
    field.value = "";
    search();
  } else if (event.key === "Enter" && document.activeElement === field) {
    list.querySelector("a")?.click();
  }
});
