// A page that does not exist.
import { h } from "./dom.js";
import { showTop } from "./top.js";

showTop("");
document.querySelector("main").append(
  h("h1", {}, "There is no such page"),
  h("p", {}, h("a", { href: "/" }, "To the live page")),
);
