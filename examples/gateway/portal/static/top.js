// The head of each page: where one is, and who one is.
import { signIn, signOut, user, whenUserChanges } from "./api.js";
import { h } from "./dom.js";

const PAGES = [["/", "Live"], ["/experiments", "Experiments"], ["/applications", "Applications"]];

export function showTop(here) {
  const who = h("div", { class: "who" });
  document.getElementById("top").append(
    h("a", { class: "brand", href: "/" }, h("img", { src: "/static/icon.svg", alt: "" }), "Gateway"),
    h(
      "nav",
      { "aria-label": "Pages" },
      PAGES.map(([path, name]) =>
        h("a", { href: path, "aria-current": path === here ? "page" : null }, name),
      ),
    ),
    who,
  );
  const fill = () => who.replaceChildren(...whoIsIt());
  whenUserChanges(fill);
  fill();
}

function whoIsIt() {
  if (user() === null) return [];
  const out = h("button", { class: "quiet", onclick: () => signOut() }, "Sign out");
  return [h("span", {}, "Signed in as ", h("b", { id: "user" }, user())), out];
}

/** Call `then` with an element to fill, now if somebody is signed in, else after they are. */
export function signedIn(main, then) {
  const fill = () => {
    main.replaceChildren();
    if (user() === null) main.append(signInCard());
    else then(main);
  };
  whenUserChanges(fill);
  fill();
}

function signInCard() {
  const name = h("input", {
    id: "name", name: "user", required: true, autocomplete: "username", maxlength: 40,
    autocapitalize: "none", spellcheck: "false",
  });
  const told = h("p", { role: "alert", class: "banner bad", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    told.hidden = true;
    try {
      await signIn(name.value.trim().toLowerCase());
    } catch (error) {
      told.textContent = error.message;
      told.hidden = false;
    }
  };
  return h(
    "section",
    { class: "card stack", "aria-labelledby": "sign-in" },
    h("div", {}, h("h1", { id: "sign-in" }, "Who are you?"),
      h("p", { class: "lead" }, "A demonstration: any short name will do, there is no password.")),
    h("form", { class: "row", onsubmit: submit },
      h("label", { for: "name" }, "Name"),
      h("div", {}, name), h("button", { class: "primary" }, "Sign in")),
    told,
  );
}

export function sorry(error) {
  return h("p", { class: "banner bad", role: "alert" }, error.message);
}
