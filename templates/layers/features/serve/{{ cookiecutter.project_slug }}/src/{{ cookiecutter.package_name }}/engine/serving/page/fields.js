// A field of the form for each property of a model's row, by what its JSON Schema says it is.
//
// Each has `element`, `name`, `value()` (undefined: not given), `isNullable`, `problem()` ('' if there
// is none), `write(value)`, `showProblem(text)`, `focus()`, and where it is a list `suggest(values)`.

import { make } from "./dom.js";
import { makeImageControl } from "./image_field.js";
import { makeListControl } from "./list_field.js";
import { formatNumber, t, translate } from "./texts.js";

export function makeField(name, schema, isListed) {
  const id = `field-${name}`;
  const isNullable = typesOf(schema).includes("null"); // then null says that it is not known
  const required = isListed && !isNullable;
  const control = chooseControl(schema)({ id, name, schema, required });
  const hint = make("p", { className: "hint", id: `${id}-hint` }, control.hint ?? describe(schema));
  const error = make("p", { className: "error", id: `${id}-error`, hidden: true });
  control.input.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
  const isEntry = control.input.matches("input, select, textarea"); // not the button of an image
  if (required && isEntry) control.input.setAttribute("aria-required", "true");
  const mark = isListed ? [] : [make("span", { className: "soft" }, ` (${t("optional")})`)];
  const label = make(isEntry ? "label" : "p", { className: "label", id: `${id}-label` }, translate(schema.title ?? name), mark);
  if (isEntry) label.htmlFor = id;
  const element = make("div", { className: `field ${control.wide ? "wide" : ""}` }, label, control.element, hint, error);

  function showProblem(text) {
    error.textContent = text;
    error.hidden = !text;
    if (isEntry) control.input.setAttribute("aria-invalid", String(Boolean(text)));
  }
  element.addEventListener("input", () => showProblem(""));
  function problem() {
    return control.problem?.() || (required && control.value() === undefined ? t("missing") : "");
  }
  return {
    name, element, showProblem, problem, isNullable,
    value: control.value,
    suggest: control.suggest,
    write: value => { control.write(value); showProblem(""); },
    focus: () => control.input.focus(),
  };
}

const typesOf = schema => [schema.type ?? []].flat();
export const isImage = schema => (schema.contentMediaType ?? "").startsWith("image/");
export const isText = schema => schema.contentMediaType === "text/plain";
export const isList = schema => typesOf(schema).includes("array");

function chooseControl(schema) {
  const types = typesOf(schema);
  if (isImage(schema)) return makeImageControl;
  if (isText(schema)) return makeTextControl;
  if (isList(schema)) return makeListControl;
  if (schema.enum || types.includes("boolean")) return makeChoiceControl;
  if (types.includes("number") || types.includes("integer")) return makeNumberControl;
  if (schema.format === "date" || schema.format === "date-time") return makeDateControl;
  return makeWordControl;
}

/** What a person may enter, in words: the description and the range. */
function describe(schema) {
  const range = describeRange(schema);
  return [translate(schema.description), range].filter(Boolean).join(" · ");
}

function describeRange(schema) {
  const { minimum: low, maximum: high, "x-unit": unit = "" } = schema;
  const values = { low: low !== undefined && formatNumber(low), high: high !== undefined && formatNumber(high), unit };
  if (low !== undefined && high !== undefined) return t("range", values);
  if (low !== undefined) return t("atLeast", values);
  if (high !== undefined) return t("atMost", values);
  return unit;
}

function makeTextControl({ id, schema }) {
  const input = make("textarea", { id, rows: 6, spellcheck: true });
  const hint = [translate(schema.description), t("submitHint")].filter(Boolean).join(" · ");
  if (schema.maxLength) input.maxLength = schema.maxLength;
  return {
    input, hint, element: input, wide: true,
    value: () => (input.value.trim() ? input.value : undefined),
    write: value => { input.value = value ?? ""; },
  };
}

function makeNumberControl({ id, schema }) {
  const whole = typesOf(schema).includes("integer");
  const input = make("input", { id, type: "number", step: whole ? "1" : "any", inputMode: whole ? "numeric" : "decimal" });
  if (schema.default !== undefined) input.placeholder = schema.default;
  if (schema.minimum !== undefined) input.min = schema.minimum;
  if (schema.maximum !== undefined) input.max = schema.maximum;
  const unit = schema["x-unit"] ?? "";
  const element = make("div", { className: "with-unit" }, input, unit && make("span", { className: "unit", "aria-hidden": "true" }, unit));
  function problem() {
    const { badInput, rangeUnderflow, rangeOverflow, stepMismatch } = input.validity;
    if (badInput) return t("notANumber");
    if (rangeUnderflow) return t("tooLow", { low: formatNumber(schema.minimum), unit });
    if (rangeOverflow) return t("tooHigh", { high: formatNumber(schema.maximum), unit });
    return stepMismatch ? t("notWhole") : "";
  }
  return {
    input, element, problem,
    value: () => (input.value === "" ? undefined : input.valueAsNumber),
    write: value => { input.value = value ?? ""; },
  };
}

function makeChoiceControl({ id, schema, required }) {
  const values = (schema.enum ?? [true, false]).filter(value => value !== null);
  const name = value => (typeof value === "boolean" ? t(value ? "yes" : "no") : String(value));
  const input = make("select", { id },
    make("option", { value: "" }, t(required ? "choose" : "none")),
    values.map((value, place) => make("option", { value: String(place) }, name(value))));
  return {
    input, element: input,
    value: () => (input.value === "" ? undefined : values[Number(input.value)]),
    write: value => { input.value = values.includes(value) ? String(values.indexOf(value)) : ""; },
  };
}

function makeDateControl({ id, schema }) {
  const input = make("input", { id, type: schema.format === "date" ? "date" : "datetime-local" });
  return {
    input, element: input,
    problem: () => (input.validity.badInput ? t("notADate") : ""),
    value: () => input.value || undefined,
    write: value => { input.value = value ?? ""; },
  };
}

/** A word or an id, with the schema's examples as suggestions. */
function makeWordControl({ id, schema }) {
  const input = make("input", { id, type: "text", autocomplete: "off", spellcheck: false });
  const options = make("datalist", { id: `${id}-options` }, (schema.examples ?? []).map(value => make("option", { value })));
  if (options.children.length) input.setAttribute("list", options.id);
  if (schema.maxLength) input.maxLength = schema.maxLength;
  return {
    input, element: make("div", {}, input, options), wide: true,
    value: () => input.value.trim() || undefined,
    write: value => { input.value = value ?? ""; },
  };
}
