// Requests to the service. Addresses are relative, so the page also works below a path of a proxy.

import { t } from "./texts.js";
import { toBase64 } from "./dom.js";

const KEY = "api-key"; // in sessionStorage: forgotten with the tab, and never sent elsewhere

/** What the service says is wrong; `field` is the input that it speaks of, if any. */
export class ServiceError extends Error {
  constructor(status, text, field) {
    super(text);
    Object.assign(this, { status, field });
  }
}

export const useKey = key => sessionStorage.setItem(KEY, key);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

export async function loadModels() {
  const found = await send("schema");
  return found.models;
}

export const loadExamples = model => send(`models/${encodeURIComponent(model.name)}/examples`);

/** Whether the service keeps feedback, and nothing but the verdict, as of patients. */
export const loadFeedback = () => send("feedback");

export const predict = async (model, row, explain) =>
  send(predictPath(model, explain), await encodeRow(model, row));

export const sendFeedback = async (model, verdict) =>
  send("feedback", encodeJson({ model: model.name, ...verdict }));

/** A row as JSON can hold it: files in base64. */
export async function encodeFiles(row) {
  const encoded = {};
  for (const [name, value] of Object.entries(row)) {
    encoded[name] = value instanceof Blob ? await toBase64(value) : value;
  }
  return encoded;
}

/** The same request for a terminal. */
export function writeCurl(model, row, explain) {
  const address = new URL(predictPath(model, explain), document.baseURI).href;
  const words = ["curl", quote(address)];
  if (sessionStorage.getItem(KEY)) words.push("-H", '"Authorization: Bearer $API_KEY"');
  const file = onlyFile(row);
  if (file) words.push("-H", quote(`Content-Type: ${file.type}`), "--data-binary", "@image");
  else words.push("-H", quote("Content-Type: application/json"), "--data-raw", quote(JSON.stringify(row)));
  return words.join(" ");
}

const quote = text => `'${text.replaceAll("'", "'\\''")}'`;

const predictPath = (model, explain) =>
  `models/${encodeURIComponent(model.name)}/predict${explain ? "?explain=true" : ""}`;

function onlyFile(row) {
  const values = Object.values(row);
  return values.length === 1 && values[0] instanceof Blob ? values[0] : null;
}

/** A file alone is sent as it is; anything else as JSON. */
async function encodeRow(model, row) {
  const file = onlyFile(row);
  if (file) return { method: "POST", headers: { "Content-Type": file.type }, body: file };
  return encodeJson(await encodeFiles(row));
}

export const encodeJson = value => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value),
});

/** Ask the service, with the key where there is one. */
export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ServiceError(0, t("unreachable"));
  }
}

async function send(path, options = {}) {
  const response = await ask(path, options);
  const content = await response.json().catch(() => null);
  if (!response.ok || !content || content.error) {
    const known = { 401: "keyNeeded", 413: "tooLarge", 503: "busy", 504: "slow" }[response.status];
    const text = known ? t(known) : content?.error ?? t("failed", { status: response.status });
    throw new ServiceError(response.status, text, content?.field);
  }
  return content;
}
