// All applications, and a form that registers another one.
import { get, post } from "./api.js";
import { h } from "./dom.js";
import { showTop, signedIn, sorry } from "./top.js";

const INPUT_TYPES = ["file", "text", "integer", "number"];
const OUTPUT_TYPES = ["file", "text", "json", "csv"];

function puts(kind, list) {
  return list.map((one) =>
    h(
      "span",
      { class: "tag plain", title: one.description ?? "" },
      `${one.name}: ${one.type}${kind === "input" && one.required === false ? "?" : ""}`,
    ),
  );
}

function card(application) {
  const place = `/applications/${encodeURIComponent(application.name)}`;
  return h(
    "article",
    { class: "card stack", "data-application": application.name },
    h("div", { class: "spread" },
      h("h2", {}, application.name, " ", h("span", { class: "muted small" }, application.version)),
      h("span", { class: "tag plain" }, application.flavor)),
    h("p", {}, application.description),
    h("div", { class: "command", tabindex: 0, "aria-label": "Command" },
      application.command.join(" ")),
    h("div", { class: "row" }, h("span", { class: "muted small" }, "takes"),
      puts("input", application.inputs)),
    h("div", { class: "row" }, h("span", { class: "muted small" }, "gives"),
      puts("output", application.outputs)),
    h("div", {}, h("a", { class: "button primary", href: place,
      "aria-label": `New experiment with ${application.name}` }, "New experiment")),
  );
}

const labelled = (text, field) => {
  field.setAttribute("aria-label", text);
  field.setAttribute("placeholder", text);
  return field;
};

const choice = (name, values) => h("select", { name, "aria-label": name },
  values.map((value) => h("option", { value }, value)));

function inputRow() {
  const row = h("div", { class: "put" });
  row.append(
    labelled("input name", h("input", { name: "name", required: true })),
    choice("type", INPUT_TYPES),
    h("label", {}, h("input", { type: "checkbox", name: "required", checked: true }), " required"),
    labelled("default", h("input", { name: "default" })),
    labelled("description", h("input", { name: "description" })),
    h("button", { type: "button", class: "quiet", "aria-label": "Remove this input",
      onclick: () => row.remove() }, "✕"),
  );
  return row;
}

function outputRow() {
  const row = h("div", { class: "put output" });
  row.append(
    labelled("output file name", h("input", { name: "name", required: true })),
    choice("type", OUTPUT_TYPES),
    labelled("description", h("input", { name: "description" })),
    h("button", { type: "button", class: "quiet", "aria-label": "Remove this output",
      onclick: () => row.remove() }, "✕"),
  );
  return row;
}

function readInput(row) {
  const value = (name) => row.querySelector(`[name=${name}]`).value.trim();
  const type = value("type");
  const input = {
    name: value("name"), type, required: row.querySelector("[name=required]").checked,
    description: value("description"),
  };
  const given = value("default");
  if (given && type !== "file") input.default = type === "text" ? given : Number(given);
  return input;
}

function readOutput(row) {
  const value = (name) => row.querySelector(`[name=${name}]`).value.trim();
  return { name: value("name"), type: value("type"), description: value("description") };
}

function registerForm(done) {
  const inputs = h("div", { class: "puts", id: "inputs" }, inputRow());
  const outputs = h("div", { class: "puts", id: "outputs" }, outputRow());
  const told = h("div", {});
  const field = (name, label, hint, control) =>
    h("div", { class: "field" }, h("label", { for: `new-${name}` }, label), control,
      hint ? h("span", { class: "hint" }, hint) : null);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    told.replaceChildren();
    try {
      await post("/applications", {
        name: form.elements["new-name"].value.trim(),
        version: form.elements["new-version"].value.trim(),
        flavor: form.elements["new-flavor"].value,
        description: form.elements["new-description"].value.trim(),
        command: form.elements["new-command"].value.split("\n").map((word) => word.trim())
          .filter((word) => word),
        inputs: [...inputs.children].map(readInput),
        outputs: [...outputs.children].map(readOutput),
      });
      await done();
    } catch (error) {
      told.replaceChildren(sorry(error));
    }
  };
  return h(
    "form",
    { class: "stack", id: "register", onsubmit: submit },
    h("div", { class: "grid" },
      field("name", "Name", "small letters", h("input", { id: "new-name", required: true })),
      field("version", "Version", "as of a Python package", 
        h("input", { id: "new-version", value: "1.0.0", required: true })),
      field("flavor", "Runs on", "", h("select", { id: "new-flavor" },
        h("option", { value: "local" }, "local: a folder of its own on one machine"),
        h("option", { value: "dask" }, "dask: the Dask cluster"))),
      field("description", "What it does", "", h("input", { id: "new-description" }))),
    field("command", "Command", "One word on each line. {name} stands for an input or an output; "
      + "no shell reads it.",
    h("textarea", { id: "new-command", rows: 5, required: true, spellcheck: "false" })),
    h("section", { class: "stack" },
      h("div", { class: "spread" }, h("h3", {}, "Inputs"),
        h("button", { type: "button", class: "small",
          onclick: () => inputs.append(inputRow()) }, "Add an input")),
      inputs),
    h("section", { class: "stack" },
      h("div", { class: "spread" }, h("h3", {}, "Outputs"),
        h("button", { type: "button", class: "small",
          onclick: () => outputs.append(outputRow()) }, "Add an output")),
      outputs),
    told,
    h("div", {}, h("button", { class: "primary" }, "Register")),
  );
}

async function page(main) {
  const list = h("div", { class: "grid", id: "applications" });
  const more = h("details", { class: "card" });
  const fill = async () => {
    const all = await get("/applications");
    list.replaceChildren(...all.map(card));
    if (!all.length) list.append(h("p", { class: "empty" }, "There are no applications yet."));
  };
  more.append(h("summary", {}, h("b", {}, "Register another application")), registerForm(async () => {
    await fill();
    more.open = false;
  }));
  main.append(
    h("div", {}, h("h1", {}, "Applications"),
      h("p", { class: "lead" }, "A command line with typed inputs and outputs. Choose one, give it "
        + "your files, and a manager of its flavor runs it.")),
    list, more,
  );
  try {
    await fill();
  } catch (error) {
    list.replaceChildren(sorry(error));
  }
}

showTop("/applications");
signedIn(document.querySelector("main"), page);
