// An answer of the service, drawn: classes with probabilities, a ranking, or a risk.

import { isolate, make, makeButton } from "./dom.js";
import { drawBecause, drawExplanation } from "./explanation.js";
import { isImage, isList, isText } from "./fields.js";
import { formatNumber, formatPercent, t } from "./texts.js";

const SHOWN = 10; // classes or items; a button shows the others

/** What a model is asked decides how its answers are drawn. */
export function viewOf(model) {
  const properties = Object.values(model.schema.properties);
  if (properties.some(isList)) return "items";
  if (properties.some(isImage)) return "image";
  return properties.some(isText) ? "text" : "columns";
}

export function drawAnswer({ model, row, answer }) {
  const view = viewOf(model);
  const drawn = make("div", { className: "drawn-answer" });
  if ("risk" in answer) drawn.append(...drawRisk(answer));
  else if (view === "items") drawn.append(...drawRanking(answer));
  else drawn.append(...drawClasses(answer));
  const explanations = [answer.explanation ?? []].flat();
  const selection = view === "items" ? explanations.slice(0, 1) : explanations;
  const image = Object.values(row).find(value => value instanceof Blob);
  drawn.append(...selection.map(one => drawExplanation(one, view, image)));
  return drawn;
}

/** An answer in a few words, for the history and for those who hear it. */
export function summarize({ answer }) {
  const score = answer.risk ?? answer.scores?.[answer.prediction];
  const isShare = score >= 0 && score <= 1 && !Array.isArray(answer.explanation);
  const name = nameOf(answer);
  return isShare ? `${name}, ${formatPercent(score)}` : name;
}

const nameOf = answer => answer.prediction || t("noClass");

function drawPrediction(answer, detail) {
  return make("p", { className: "prediction" }, isolate(nameOf(answer)), " ", detail);
}

function drawClasses(answer) {
  const scores = Object.entries(answer.scores).sort(([, a], [, b]) => b - a);
  const best = answer.scores[answer.prediction];
  const detail = best === undefined ? "" : make("data", { className: "soft", value: best }, formatPercent(best));
  const rows = scores.map(([name, score]) => drawScore(name, score));
  const list = make("ol", { className: "bars", "aria-label": t("probabilities") }, rows);
  return [drawPrediction(answer, detail), make("h3", {}, t("probabilities")), ...shorten(list)];
}

/** A list, and a button that shows what is beyond the first entries. */
function shorten(list) {
  const others = [...list.children].slice(SHOWN);
  if (!others.length) return [list];
  for (const entry of others) entry.hidden = true;
  const more = makeButton(t("showAll", { count: list.children.length }), () => {
    for (const entry of others) entry.hidden = false;
    more.remove();
    list.tabIndex = -1;
    list.focus();
  }, { className: "quiet" });
  return [list, more];
}

function drawScore(name, score) {
  const bar = make("span", { className: "bar" });
  bar.style.width = `${100 * score}%`;
  return make("li", {}, isolate(name),
    make("span", { className: "track", "aria-hidden": "true" }, bar),
    make("data", { value: score }, formatPercent(score)));
}

function drawRanking(answer) {
  const scores = Object.entries(answer.scores);
  if (!scores.length) return [make("p", { className: "prediction" }, t("nothingLeft"))];
  const list = [answer.explanation ?? []].flat();
  const explanations = new Map(list.length > 1 ? list.map(one => [one.target, one]) : []);
  const rows = scores.map(([item, score]) => make("li", {},
    make("div", { className: "row" }, isolate(item),
      make("data", { className: "soft", value: score }, t("score", { score: formatNumber(score) }))),
    explanations.has(item) ? drawBecause(explanations.get(item)) : null));
  return [make("h3", {}, t("ranking")), ...shorten(make("ol", { className: "ranking" }, rows))];
}

function drawRisk(answer) {
  const point = answer.operating_point;
  const isAbove = answer.risk >= point;
  const bar = make("span", { className: `bar ${isAbove ? "warm" : "cool"}` });
  bar.style.width = `${100 * answer.risk}%`;
  const threshold = make("span", { className: "threshold" });
  threshold.style.left = `${100 * point}%`;
  const label = make("span", { className: "threshold-label" }, t("operatingPoint", { point: formatPercent(point) }));
  label.style.setProperty("--place", `${100 * point}%`);
  const values = { point: formatPercent(point), prediction: nameOf(answer) };
  return [
    make("p", { className: "prediction" }, t("risk"), " ", make("data", { value: answer.risk }, formatPercent(answer.risk))),
    make("div", { className: "gauge", "aria-hidden": "true" }, make("span", { className: "track" }, bar, threshold),
      make("span", { className: "scale" }, make("span", {}, "0%"), label, make("span", {}, "100%"))),
    make("p", { className: "verdict" }, t(isAbove ? "riskAbove" : "riskBelow", values)),
    make("p", { className: "hint" }, t("provenance", answer)),
  ];
}
