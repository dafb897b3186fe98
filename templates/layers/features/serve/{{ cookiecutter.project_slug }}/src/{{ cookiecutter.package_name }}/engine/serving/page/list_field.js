// A field for a list, such as the history of a user: typed, or built from suggestions.

import { isolate, make, makeButton } from "./dom.js";
import { t } from "./texts.js";

const SHOWN = 12; // suggestions as buttons; the rest appears while typing

const findKnown = schema => schema.items?.enum ?? schema.items?.examples ?? [...new Set((schema.examples ?? []).flat())];

export function makeListControl({ id, schema }) {
  const items = [];
  const options = make("datalist", { id: `${id}-options` });
  const input = make("input", { id, type: "text", autocomplete: "off", spellcheck: false, list: options.id });
  const list = make("ol", { className: "chips", "aria-labelledby": `${id}-label` });
  const empty = make("p", { className: "hint" }, t("emptyList"));
  const suggestions = make("div", { className: "chips", role: "group", "aria-label": t("suggestions") });
  const element = make("div", { className: "list" },
    make("div", { className: "row" }, input, makeButton(t("add"), addTyped, { className: "firm" }), options), list, empty, suggestions);

  function show() {
    list.replaceChildren(...items.map((item, place) => make("li", { className: "chip" }, isolate(item),
      makeButton("×", () => remove(place), { "aria-label": t("remove", { item }) }))));
    list.hidden = !items.length;
    empty.hidden = Boolean(items.length);
  }
  function suggest(values) {
    const known = [...new Set([...values, ...findKnown(schema)])];
    options.replaceChildren(...known.map(value => make("option", { value })));
    suggestions.replaceChildren(...known.slice(0, SHOWN).map(value =>
      makeButton(["+ ", isolate(value)], () => add(value), { className: "chip" })));
  }
  function add(item) {
    items.push(item);
    show();
    element.dispatchEvent(new Event("input", { bubbles: true }));
  }
  function addTyped() {
    const typed = input.value.split(",").map(part => part.trim()).filter(Boolean);
    input.value = "";
    typed.forEach(add);
    input.focus();
  }
  function remove(place) {
    items.splice(place, 1);
    show();
    (list.querySelectorAll("button")[place] ?? input).focus();
  }
  input.addEventListener("keydown", event => {
    if (event.key === "Enter" && input.value.trim() && !event.ctrlKey) { event.preventDefault(); addTyped(); }
    if (event.key === "Backspace" && !input.value && items.length) remove(items.length - 1);
  });
  show();
  suggest([]);
  return {
    input, element, wide: true, suggest,
    value: () => { if (input.value.trim()) addTyped(); return items.length ? [...items] : undefined; },
    write: value => { items.splice(0, items.length, ...(value ?? [])); show(); },
  };
}
