// What was asked before, in the memory of this tab alone.

import { byId, isolate, make, makeButton } from "./dom.js";
import { summarize } from "./answer.js";
import { formatNumber, formatTime, t } from "./texts.js";

const MOST = 20;
const results = []; // the newest first

export function remember(one) {
  results.unshift({ ...one, time: new Date() });
  results.splice(MOST);
  return results[0];
}

export function forget() {
  results.length = 0;
}

export function drawHistory(show) {
  byId("history").hidden = !results.length;
  byId("history-list").replaceChildren(...results.map(one => {
    const input = describeRow(one.row), prediction = summarize(one);
    const button = makeButton([], () => show(one), { className: "quiet", "aria-label": t("showAgain", { input, prediction }) });
    button.append(make("time", { className: "soft" }, formatTime(one.time)),
      make("span", { className: "input-text" }, isolate(input)), make("strong", {}, isolate(prediction)));
    return make("li", {}, button);
  }));
}

/** A row in a few words. */
function describeRow(row) {
  const values = Object.values(row).filter(value => value !== null).map(value => {
    if (value instanceof Blob) return value.name ?? t("image");
    return typeof value === "number" ? formatNumber(value) : [value].flat().join(", ");
  });
  const text = values.join(" · ").replace(/\s+/g, " ");
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
