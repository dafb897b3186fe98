// The page: it makes a form from the schema of a model, asks the service, and draws the answer.

import { drawAnswer, summarize, viewOf } from "./answer.js";
import { byId, make, makeButton, showText } from "./dom.js";
import { drawFeedback } from "./feedback.js";
import { makeField } from "./fields.js";
import { drawHistory, forget, remember } from "./history.js";
import { withKey } from "./keys.js";
import { hasKey, loadExamples, loadFeedback, loadModels, predict, ServiceError, writeCurl } from "./service.js";
import * as texts from "./texts.js";

const { t } = texts;

let models = [];
let model = null; // the selected one
let fields = []; // of the form
let result = null; // the answer on the page, with its request
let feedback = { enabled: false };
let nextExample = 0;
let filling = null; // the promise of an example that is on its way to the form

async function start() {
  texts.translatePage();
  byId("form").addEventListener("submit", event => { event.preventDefault(); submit(); });
  byId("form").addEventListener("keydown", event => { if (event.ctrlKey && event.key === "Enter") submit(); });
  byId("clear").addEventListener("click", clear);
  byId("example").addEventListener("click", () => { filling = fillExample(); });
  byId("model").addEventListener("change", () => chooseModel(models[byId("model").selectedIndex]));
  byId("language").addEventListener("click", switchLanguage);
  byId("forget").addEventListener("click", () => { forget(); showHistory(); byId("predict").focus(); });
  // A file dropped beside the field must not replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, event => event.preventDefault());
  byId("api").hidden = hasKey();
  drawResult();
  try {
    models = await waitForModels();
    feedback = await withKey(loadFeedback);
    chooseModel(models[0]);
  } catch (error) {
    showText(byId("form-error"), describe(error));
  }
}

async function waitForModels() {
  let found = await withKey(loadModels);
  while (!found.length) {
    showText(byId("form-error"), t("loading"));
    await new Promise(resolve => setTimeout(resolve, 1000));
    found = await withKey(loadModels);
  }
  return found;
}

// === The form ===

function chooseModel(next) {
  model = next;
  result = null;
  nextExample = 0;
  drawHead();
  drawFields();
  drawResult();
}

function drawHead() {
  const title = model.name;
  document.title = `${title} · ${t("page")}`;
  byId("title").textContent = title;
  byId("version").textContent = t("version", { version: model.version });
  const choice = byId("model");
  choice.replaceChildren(...models.map(one => make("option", { selected: one === model }, one.name)));
  byId("model-choice").hidden = models.length < 2;
  showText(byId("notice"), texts.translate(model.notice ?? ""));
}

function drawFields() {
  const { properties, required = [], examples = [] } = model.schema;
  fields = Object.entries(properties).map(([name, schema]) => makeField(name, schema, required.includes(name)));
  byId("fields").replaceChildren(...fields.map(field => field.element));
  showText(byId("fields-hint"), fields.some(field => field.isNullable) ? t("nullable") : "");
  byId("example").hidden = !examples.length;
  byId("explain-choice").hidden = !model.explains;
  showText(byId("form-error"), "");
}

function fillRow(row) {
  for (const field of fields) field.write(row[field.name]);
  showText(byId("form-error"), "");
}

async function fillExample() {
  const examples = await findExamples();
  const example = Object.entries(examples[nextExample % examples.length]);
  // A mean has more digits than anybody reads; what is sent is what the form has.
  fillRow(Object.fromEntries(example.map(([name, value]) => [name, typeof value === "number" ? Number(value.toPrecision(6)) : value])));
  nextExample += 1;
}

function clear() {
  fillRow({});
  result = null;
  drawResult();
  fields[0]?.focus();
}

/** True examples of the model; those of its schema if there are none. */
async function findExamples() {
  try {
    model.examples ??= await withKey(() => loadExamples(model));
  } catch {
    model.examples = model.schema.examples;
  }
  return model.examples;
}

/** The row of the form, without what was not given; null if something is wrong with it. */
function readRow() {
  const row = {};
  for (const field of fields) {
    const value = field.value();
    if (value !== undefined) row[field.name] = value;
    else if (field.isNullable) row[field.name] = null;
  }
  const problems = fields.map(field => field.problem());
  if (Object.values(row).every(value => value === null)) problems[0] ||= t("nothingGiven");
  fields.forEach((field, place) => field.showProblem(problems[place]));
  const first = problems.findIndex(Boolean);
  showText(byId("form-error"), first >= 0 && fields.length > 1 ? t("wrongFields") : "");
  if (first < 0) return row;
  fields[first].focus();
  return null;
}

// === Asking ===

let isBusy = false;

async function submit() {
  await filling; // "Predict" right after "Try an example" means that example
  if (isBusy || !model) return;
  const row = readRow();
  if (!row) return;
  setBusy(true);
  try {
    const request = { model, row, explain: model.explains && byId("explain").checked };
    const answer = await withKey(() => predict(model, row, request.explain));
    result = remember({ ...request, answer });
    drawResult();
    showHistory();
    suggestAnswers();
    byId("status").textContent = `${t("answer")}: ${summarize(result)}`;
    revealAnswer();
  } catch (error) {
    showError(error);
  } finally {
    setBusy(false);
  }
}

function setBusy(busy) {
  isBusy = busy;
  byId("form").setAttribute("aria-busy", String(busy));
  byId("predict").textContent = t(busy ? "predicting" : "predict");
  if (busy) byId("status").textContent = t("predicting");
}

/** What was recommended can be taken into a history. */
function suggestAnswers() {
  if (viewOf(model) !== "items") return;
  for (const field of fields) field.suggest?.(Object.keys(result.answer.scores));
}

/** Show an error beside the field that it speaks of. */
function showError(error) {
  byId("status").textContent = "";
  const field = fields.find(one => one.name === error.field) ?? (fields.length === 1 ? fields[0] : null);
  if (!field || !(error instanceof ServiceError) || error.status === 0) {
    showText(byId("form-error"), describe(error));
    return;
  }
  field.showProblem(describe(error));
  field.focus();
}

/** The words of an error; the service begins them with the name of the field. */
function describe(error) {
  if (!(error instanceof ServiceError)) return t("failed", { status: error.message });
  const start = `${error.field}: `;
  const text = error.message.startsWith(start) ? error.message.slice(start.length) : error.message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// === The answer ===

function drawResult() {
  const place = byId("answer");
  if (!result) {
    place.replaceChildren(make("div", { className: "empty soft" }, make("p", {}, t("nothingYet")), make("p", {}, t("tryOne"))));
    return;
  }
  const parts = [drawAnswer(result)];
  if (feedback.enabled) parts.push(drawFeedback(result, feedback.verdictOnly));
  parts.push(make("div", { className: "actions" }, makeButton(t("copyCurl"), copyCurl, { className: "quiet" })));
  place.replaceChildren(...parts);
}

/** On a phone the answer is below the form. */
function revealAnswer() {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const { top, bottom } = byId("answer").getBoundingClientRect();
  if (top > 0.6 * innerHeight || bottom < 0) {
    byId("answer-title").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  }
}

async function copyCurl(event) {
  const button = event.target;
  const command = writeCurl(result.model, result.row, result.explain);
  const hasFile = Object.values(result.row).some(value => value instanceof Blob);
  const note = make("pre", { tabIndex: 0, "aria-label": t("curlText") }, command);
  button.parentElement.parentElement.querySelector(".curl")?.remove();
  button.parentElement.after(make("div", { className: "curl" }, note, hasFile ? make("p", { className: "hint" }, t("curlImage")) : ""));
  try {
    await navigator.clipboard.writeText(command);
    button.textContent = t("copied");
  } catch {
    note.focus(); // without permission, or over plain HTTP: it can be marked and copied
  }
}

function showHistory() {
  drawHistory(one => {
    if (one.model !== model) chooseModel(one.model);
    result = one;
    fillRow(one.row);
    drawResult();
    byId("answer-title").scrollIntoView({ block: "nearest" });
    byId("status").textContent = `${t("answer")}: ${summarize(one)}`;
  });
}

// === Language ===

function switchLanguage() {
  texts.setLanguage(texts.otherLanguage());
  texts.translatePage();
  if (!model) return drawResult();
  const row = Object.fromEntries(fields.map(field => [field.name, field.value()]));
  drawHead();
  drawFields();
  fillRow(row);
  drawResult();
  showHistory();
}

start();
