// Thumbs up and down below an answer, if the service keeps feedback.

import { cloneIcon, make, makeButton } from "./dom.js";
import { encodeFiles, sendFeedback } from "./service.js";
import { t } from "./texts.js";

export function drawFeedback(result, isVerdictOnly) {
  const { model, answer } = result;
  const status = make("p", { className: "hint", role: "status" });
  const up = makeThumb("right", () => send("up"));
  const down = makeThumb("wrong", openForm);
  const more = make("div", { className: "correction", hidden: true });
  const drawn = make("section", { className: "feedback", "aria-label": t("rightQuestion") },
    make("div", { className: "row" }, make("span", {}, t("rightQuestion")), make("span", { className: "actions" }, up, down)),
    isVerdictOnly ? make("p", { className: "hint" }, t("privateHint")) : "", more, status);
  if (result.verdict) showKept();

  /** Ask what would have been right; of patients, that is kept nowhere. */
  function openForm() {
    if (isVerdictOnly) return send("down");
    const others = Object.keys(answer.scores).filter(name => name !== answer.prediction);
    const choice = make("select", { id: "correction" }, make("option", { value: "" }, t("iDoNotKnow")),
      others.map((name, place) => make("option", { value: String(place) }, name)));
    down.setAttribute("aria-pressed", "true");
    up.setAttribute("aria-pressed", "false");
    more.replaceChildren(make("label", { for: choice.id }, t("whatIsRight")),
      make("div", { className: "row" }, choice, makeButton(t("sendVerdict"), () => send("down", others[choice.value]))));
    more.hidden = false;
    choice.focus();
  }

  async function send(verdict, right) {
    const content = { verdict };
    if (!isVerdictOnly) {
      Object.assign(content, { prediction: answer.prediction, row: await encodeFiles(result.row) });
      if (right !== undefined) content.answer = right;
    }
    try {
      await sendFeedback(model, content);
      result.verdict = verdict;
      showKept();
    } catch (error) {
      status.className = "error";
      status.textContent = error.message;
    }
  }

  function showKept() {
    up.setAttribute("aria-pressed", String(result.verdict === "up"));
    down.setAttribute("aria-pressed", String(result.verdict === "down"));
    up.disabled = down.disabled = true;
    more.hidden = true;
    status.className = "hint";
    status.textContent = t(isVerdictOnly ? "keptPrivate" : "kept");
  }
  return drawn;
}

function makeThumb(name, act) {
  const thumb = makeButton(cloneIcon("thumb"), act, { className: `thumb ${name}`, title: t(name), "aria-label": t(name), "aria-pressed": "false" });
  return thumb;
}
