// Why a model answers as it does, drawn from what `?explain=true` returns.

import { isolate, make } from "./dom.js";
import { formatPercent, formatSigned, t, translate } from "./texts.js";

const SHOWN = 8; // strongest parts
const NEGLIGIBLE = 0.02; // share of the strongest value
const ROUGH = 0.01; // share that the values may miss, as the service computes them

/** Draw an explanation. `view` says what the parts are: "image", "text", "columns" or "items". */
export function drawExplanation(explanation, view, row) {
  const target = explanation.target;
  const parts = explanation.parts ?? [];
  const drawn = make("section", { className: "explanation" }, make("h3", {}, heading(view, target)));
  if (explanation.note) drawn.append(make("p", {}, translate(explanation.note)));
  if (explanation.heatmap && row instanceof Blob) drawn.append(drawHeatmap(row, explanation));
  if (view === "text" && parts.length) drawn.append(drawMarks(parts), drawLegend());
  if (parts.some(part => part.value)) drawn.append(drawBars(parts, view));
  if (explanation.error > ROUGH) drawn.append(make("p", { className: "hint" }, t("rough", { error: formatPercent(explanation.error) })));
  drawn.append(make("p", { className: "hint" }, t("method", { method: translate(explanation.method) })));
  return drawn;
}

function heading(view, target) {
  if (view === "image") return t("heatmap", { target });
  return view === "columns" ? t("reason") : t("reasonOf", { target });
}

/** The image with colours where it speaks for the answer, and a box to see it without them. */
function drawHeatmap(image, explanation) {
  const picture = make("img", { alt: "" });
  const canvas = make("canvas", { role: "img", "aria-label": translate(explanation.summary) });
  const box = make("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => { canvas.hidden = !box.checked; });
  picture.addEventListener("load", () => {
    picture.classList.toggle("pixels", Math.max(picture.naturalWidth, picture.naturalHeight) < 128);
    URL.revokeObjectURL(picture.src);
  });
  picture.src = URL.createObjectURL(image);
  paint(canvas, explanation.heatmap);
  return make("figure", {},
    make("div", { className: "heatmap" }, picture, canvas),
    make("label", { className: "check" }, box, make("span", {}, t("showHeatmap"))),
    make("figcaption", { className: "hint" }, translate(explanation.summary)));
}

/** One pixel for each number of the grid; the browser enlarges and smooths the canvas. */
function paint(canvas, grid) {
  canvas.height = grid.length;
  canvas.width = grid[0].length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grid.flat().forEach((value, place) => pixels.data.set(heat(value), 4 * place));
  context.putImageData(pixels, 0, 0);
}

/** From transparent over red to yellow. */
const heat = value => [220 + 35 * value, 40 + 190 * value ** 2, 40, 215 * Math.sqrt(value)];

function drawMarks(parts) {
  const largest = Math.max(...parts.map(part => Math.abs(part.value)), Number.MIN_VALUE);
  return make("p", { className: "marks" }, parts.map(part => {
    if (Math.abs(part.value) <= NEGLIGIBLE * largest) return part.text;
    const mark = make("mark", { className: part.value > 0 ? "cool" : "warm", title: formatSigned(part.value) }, part.text);
    mark.style.setProperty("--strength", Math.abs(part.value) / largest);
    return mark;
  }));
}

const drawLegend = () => make("p", { className: "hint legend" },
  make("mark", { className: "cool" }, t("speaksFor")), " ", make("mark", { className: "warm" }, t("speaksAgainst")));

/** The strongest parts as bars, to the right where they speak for the answer or raise the risk. */
function drawBars(parts, view) {
  const largest = Math.max(...parts.map(part => Math.abs(part.value)));
  const strongest = parts.filter(part => Math.abs(part.value) > NEGLIGIBLE * largest && part.text.trim())
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, SHOWN);
  const isRisk = view === "columns";
  const [raises, lowers] = isRisk ? [t("raises"), t("lowers")] : [t("speaksFor"), t("speaksAgainst")];
  const head = make("p", { className: "hint sides", "aria-hidden": "true" }, make("span", {}, `← ${lowers}`), make("span", {}, `${raises} →`));
  const rows = strongest.map(part => {
    const isUp = part.value > 0;
    const bar = make("span", { className: `bar ${isUp ? "right" : "left"} ${isUp === isRisk ? "warm" : "cool"}` });
    bar.style.width = `${50 * Math.abs(part.value) / largest}%`;
    return make("li", {},
      isolate(part.text.trim()),
      make("span", { className: "track signed", "aria-hidden": "true" }, bar),
      make("data", { value: part.value }, formatSigned(part.value)),
      make("span", { className: "hidden-text" }, isUp ? raises : lowers));
  });
  return make("div", { className: "contributions" }, head, make("ol", { className: "bars", "aria-label": t("strongest") }, rows));
}

/** The items because of which another one is recommended, in a line. */
export function drawBecause(explanation) {
  const reasons = (explanation.parts ?? []).filter(part => part.value > 0)
    .sort((a, b) => b.value - a.value).slice(0, 3);
  if (!reasons.length) return null;
  return make("p", { className: "hint because" }, t("because"), " ", reasons.map(part =>
    make("span", { className: "reason" }, isolate(part.text), ` ${formatSigned(part.value)}`)));
}
