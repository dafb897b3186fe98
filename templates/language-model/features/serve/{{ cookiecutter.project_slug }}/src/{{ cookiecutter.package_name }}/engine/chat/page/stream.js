// Requests to the routes below /v1, whose answers come piece by piece.

import { ask, encodeJson, ServiceError } from "../service.js";
import { t } from "../texts.js";

export async function loadWriters() {
  const response = await ask("v1/models");
  const content = await response.json().catch(() => null);
  if (!response.ok) throw asError(response.status, content?.error);
  return content.data.filter(model => model.context_length);
}

/**
 * Write an answer, and call `show` with each piece of text; resolves to how it ended and how many
 * tokens it has.
 */
export async function write(path, body, signal, show) {
  const content = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await ask(path, { ...encodeJson(content), signal });
  if (!response.ok) throw asError(response.status, (await response.json().catch(() => null))?.error);
  const end = { reason: null, tokens: 0 };
  for await (const event of readEvents(response.body)) {
    if (event.error) throw asError(500, event.error);
    if (event.usage) end.tokens = event.usage.completion_tokens;
    const [choice] = event.choices;
    if (!choice) continue;
    const text = choice.delta ? choice.delta.content : choice.text;
    if (text) show(text);
    end.reason = choice.finish_reason ?? end.reason;
  }
  if (!end.reason) throw new ServiceError(0, t("unreachable"));
  return end;
}

/** The objects of a stream of events (server-sent events), until [DONE]. */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (buffer + value).split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const data = event.slice(event.indexOf(":") + 1).trim();
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

function asError(status, error) {
  const known = { 401: "keyNeeded", 413: "tooLarge", 429: "busy", 503: "busy", 504: "slow" }[status];
  const reason = error?.message ?? String(status);
  const text = known ? t(known) : status < 500 ? t("refusedText", { reason }) : t("failed", { status });
  return Object.assign(new ServiceError(status, text, error?.param), { code: error?.code });
}
