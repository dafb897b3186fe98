// The page: a conversation with a model that answers chats, or texts that another one continues.

import "./words.js";
import { byId, make, showText } from "../dom.js";
import { withKey } from "../keys.js";
import { hasKey, loadExamples, ServiceError } from "../service.js";
import * as texts from "../texts.js";
import { loadWriters, write } from "./stream.js";
import { addTurn, appendText, drawActions, endTurn, setText, Speaker } from "./turns.js";

const { t } = texts;
const DEFAULT_TOKENS = 256;

let models = [];
let model = null; // the selected one
let turns = []; // of the conversation
let writing = null; // ends the answer that is being written
let nextExample = 0;

async function start() {
  byId("form").addEventListener("submit", event => { event.preventDefault(); submit(); });
  byId("prompt").addEventListener("keydown", sendOnEnter);
  byId("prompt").addEventListener("input", fitPrompt);
  byId("stop").addEventListener("click", () => { writing?.abort(); byId("prompt").focus(); });
  byId("restart").addEventListener("click", () => { restart(); byId("prompt").focus(); });
  byId("example").addEventListener("click", fillExample);
  byId("model").addEventListener("change", () => chooseModel(models[byId("model").selectedIndex]));
  byId("language").addEventListener("click", switchLanguage);
  byId("api").hidden = hasKey();
  drawWords();
  try {
    models = await waitForModels();
    chooseModel(models[0]);
  } catch (error) {
    showText(byId("form-error"), describe(error));
  }
}

async function waitForModels() {
  let found = await withKey(loadWriters);
  while (!found.length) {
    showText(byId("form-error"), t("loading"));
    await new Promise(resolve => setTimeout(resolve, 1000));
    found = await withKey(loadWriters);
  }
  return found;
}

function chooseModel(next) {
  model = next;
  nextExample = 0;
  byId("max-tokens").max = model.max_tokens;
  byId("max-tokens").value = Math.min(DEFAULT_TOKENS, model.max_tokens);
  byId("example").hidden = false;
  restart();
  drawWords();
}

function restart() {
  writing?.abort();
  turns = [];
  byId("turns").replaceChildren();
  byId("status").textContent = "";
  showText(byId("form-error"), "");
  drawEmpty();
}

// === Words ===

function drawWords() {
  texts.translatePage();
  const isChat = model?.has_chat ?? true;
  document.title = model ? `${model.id} · ${t("page")}` : t("page");
  byId("title").textContent = model?.id ?? t("page");
  byId("prompt-label").textContent = t(isChat ? "message" : "beginning");
  byId("send").textContent = t(isChat ? "send" : "continue");
  byId("empty-text").textContent = t(isChat ? "emptyChat" : "emptyText");
  byId("system-field").hidden = !isChat;
  if (!model) return;
  byId("version").textContent = t("version", { version: model.version });
  byId("max-tokens-hint").textContent = t("maxTokensHint", { most: texts.formatNumber(model.max_tokens) });
  byId("model").replaceChildren(...models.map(one => make("option", { selected: one === model }, one.id)));
  byId("model-choice").hidden = models.length < 2;
  showText(byId("notice"), texts.translate(model.notice ?? ""));
  drawEmpty();
}

function drawEmpty() {
  byId("empty").hidden = turns.length > 0;
  byId("restart").hidden = !turns.length;
}

function switchLanguage() {
  texts.setLanguage(texts.otherLanguage());
  drawWords();
  const last = turns.at(-1);
  if (last && !writing) drawLast(last);
}

// === Writing ===

function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
}

/** The box grows with its text; how far, the style sheet says. */
function fitPrompt() {
  const box = byId("prompt");
  box.rows = Math.min(12, Math.max(2, box.value.split("\n").length));
}

function setPrompt(text) {
  byId("prompt").value = text;
  fitPrompt();
}

async function fillExample() {
  try {
    model.examples ??= await withKey(() => loadExamples({ name: model.id }));
  } catch (error) {
    return showText(byId("form-error"), describe(error));
  }
  const prompts = model.examples.map(readPrompt).filter(Boolean);
  if (!prompts.length) return showText(byId("form-error"), t("failed", { status: "example" }));
  setPrompt(prompts[nextExample++ % prompts.length]);
  byId("prompt").focus();
}

/** The prompt of a row, or what a user asks in it last. */
function readPrompt(row) {
  const asked = (row.messages ?? []).filter(message => message.role === "user");
  return row.prompt ?? asked.at(-1)?.content;
}

function submit() {
  if (writing || !model) return;
  const text = byId("prompt").value;
  const problem = text.trim() ? findWrongSetting() : t("nothingToSend");
  showText(byId("form-error"), problem);
  if (problem) return text.trim() || byId("prompt").focus();
  const own = addTurn(model.has_chat ? "you" : "text");
  setText(own, text);
  turns.push(own);
  setPrompt("");
  answer();
}

/** What is wrong with a setting, in words; '' for nothing. */
function findWrongSetting() {
  for (const [id, name] of [["temperature", "temperature"], ["max-tokens", "maxTokens"], ["seed", "seed"]]) {
    const input = byId(id);
    const isWrong = id === "temperature" ? input.validity.rangeOverflow || input.validity.rangeUnderflow
      || input.validity.badInput || input.validity.valueMissing : !input.checkValidity();
    input.setAttribute("aria-invalid", String(isWrong));
    if (!isWrong) continue;
    byId("settings").open = true;
    input.focus();
    return t("wrongSetting", { name: t(name), hint: byId(`${id}-hint`).textContent });
  }
  return "";
}

function makeRequest() {
  const seed = byId("seed").value;
  const settings = {
    model: model.id,
    temperature: Number(byId("temperature").value),
    max_tokens: Number(byId("max-tokens").value),
    ...(seed && { seed: Number(seed) }),
  };
  if (!model.has_chat) return ["v1/completions", { ...settings, prompt: turns.at(-1).content }];
  const system = byId("system").value.trim();
  // A question that got no word says nothing to the model.
  const asked = turns.filter((turn, place) => turn.content && (turns[place + 1]?.content ?? true));
  const messages = asked.map(turn => ({ role: turn.role === "you" ? "user" : "assistant", content: turn.content }));
  if (system) messages.unshift({ role: "system", content: system });
  return ["v1/chat/completions", { ...settings, messages }];
}

/** Write the answer to the last turn. */
async function answer() {
  const [path, body] = makeRequest();
  const question = turns.at(-1);
  const turn = addTurn("assistant");
  if (!model.has_chat) turn.element.classList.add("continuation");
  turns.push(turn);
  drawEmpty();
  setBusy(new AbortController());
  const speaker = new Speaker();
  const { signal } = writing;
  byId("status").textContent = t("writing");
  scrollTo(0, document.documentElement.scrollHeight);
  try {
    const show = piece => { appendText(turn, piece); speaker.add(piece); };
    const end = await withKey(() => write(path, body, signal, show));
    const note = end.reason === "length" ? t("cutOff") : turn.content ? "" : t("nothingWritten");
    endTurn(turn, note, end.tokens);
    speaker.end(note || t("finished"));
  } catch (error) {
    if (!turns.includes(turn)) return; // a new chat was begun
    if (signal.aborted && !turn.content) {
      takeBack(question, turn);
    } else if (signal.aborted) {
      endTurn(turn, t("stopped"));
      speaker.end(t("stopped"));
    } else if (turn.content) {
      endTurn(turn, t("brokenOff", { reason: describe(error) }));
      speaker.end(t("brokenOff", { reason: describe(error) }));
    } else {
      takeBack(question, turn);
      showText(byId("form-error"), describe(error));
    }
  } finally {
    setBusy(null);
    if (turns.at(-1) === turn) drawLast(turn);
  }
}

/** Put a question that was not answered back into the box. */
function takeBack(...unanswered) {
  byId("status").textContent = "";
  for (const turn of unanswered) turn.element.remove();
  turns = turns.filter(turn => !unanswered.includes(turn));
  if (!byId("prompt").value) setPrompt(unanswered[0].content);
  if (turns.length) drawLast(turns.at(-1));
  drawEmpty();
  byId("prompt").focus();
}

function drawLast(turn) {
  const actions = [["tryAgain", tryAgain]];
  if (!model.has_chat) actions.push(["goOn", goOn]);
  drawActions(turn, actions);
}

function tryAgain() {
  if (writing) return;
  const problem = findWrongSetting();
  showText(byId("form-error"), problem);
  if (problem) return;
  turns.pop().element.remove();
  byId("prompt").focus();
  answer();
}

/** The text so far is the beginning of the next one. */
function goOn() {
  if (writing) return;
  setPrompt(turns.at(-2).content + turns.at(-1).content);
  byId("prompt").focus();
}

function setBusy(controller) {
  writing = controller;
  byId("conversation").setAttribute("aria-busy", String(Boolean(controller)));
  byId("send").hidden = Boolean(controller);
  byId("stop").hidden = !controller;
}

/** The words of an error. */
function describe(error) {
  if (error.code === "context_length_exceeded") return t("tooLong", { context: texts.formatNumber(model.context_length) });
  return error instanceof ServiceError ? error.message : t("failed", { status: error.message });
}

start();
