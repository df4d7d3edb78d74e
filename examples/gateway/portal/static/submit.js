// A form for one application, made of its typed inputs.
import { get, postForm } from "./api.js";
import { h } from "./dom.js";
import { showTop, signedIn, sorry } from "./top.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);

function control(input) {
  const id = `input-${input.name}`;
  const attributes = { id, name: input.name, required: input.required !== false
    && (input.default === undefined || input.default === null) };
  const filled = input.default ?? "";
  if (input.type === "file") return h("input", { ...attributes, type: "file" });
  const step = { integer: 1, number: "any" }[input.type];
  return h("input", { ...attributes, type: step ? "number" : "text", step, value: filled });
}

function field(input) {
  const optional = input.required === false ? " (optional)" : "";
  return h(
    "div",
    { class: "field" },
    h("label", { for: `input-${input.name}` }, input.name,
      h("span", { class: "hint" }, ` ${input.type}${optional}`)),
    control(input),
    input.description ? h("span", { class: "hint" }, input.description) : null,
  );
}

function useSample(form, sample) {
  for (const [key, value] of Object.entries(sample.fields ?? {})) {
    if (form.elements[key]) form.elements[key].value = value;
  }
  for (const [key, one] of Object.entries(sample.files ?? {})) {
    if (!form.elements[key]) continue;
    const transfer = new DataTransfer();
    transfer.items.add(new File([one.text], one.name, { type: "text/plain" }));
    form.elements[key].files = transfer.files;
  }
}

async function page(main) {
  const application = (await get("/applications")).find((one) => one.name === name);
  if (!application) {
    main.append(h("h1", {}, "There is no such application"),
      h("p", {}, h("a", { href: "/applications" }, "All applications")));
    return;
  }
  const sample = (await get("/samples")).find((one) => one.application === name);
  const told = h("div", {});
  const button = h("button", { class: "primary" }, "Run the experiment");
  const submit = async (event) => {
    event.preventDefault();
    told.replaceChildren();
    button.disabled = true;
    const form = new FormData();
    form.append("application", application.name);
    form.append("version", application.version);
    for (const input of application.inputs) {
      const element = event.target.elements[input.name];
      if (input.type !== "file") {
        if (element.value !== "") form.append(input.name, element.value);
      } else if (element.files.length) form.append(input.name, element.files[0]);
    }
    try {
      const made = await postForm("/experiments", form);
      location.assign(`/experiments/${encodeURIComponent(made.id)}`);
    } catch (error) {
      told.replaceChildren(sorry(error));
      button.disabled = false;
    }
  };
  const form = h("form", { class: "stack", id: "submit", onsubmit: submit },
    application.inputs.map(field), told, h("div", { class: "row" }, button));
  main.append(
    h("div", {}, h("h1", {}, `New experiment: ${application.name}`),
      h("p", { class: "lead" }, application.description)),
    h("section", { class: "card stack" },
      h("div", { class: "spread" },
        h("h2", {}, "Inputs"),
        sample
          ? h("button", { type: "button", id: "sample", onclick: () => useSample(form, sample) },
            "Use the sample")
          : null),
      form),
    h("p", { class: "muted small" }, `Version ${application.version}, run by a manager of flavor `,
      h("b", {}, application.flavor), "; it gives ",
      application.outputs.map((one) => one.name).join(", "), "."),
  );
}

showTop("/applications");
document.title = name;
signedIn(document.querySelector("main"), (main) => {
  page(main).catch((error) => main.append(sorry(error)));
});
