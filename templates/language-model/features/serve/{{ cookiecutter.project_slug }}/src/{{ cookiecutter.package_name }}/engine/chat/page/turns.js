// The turns of a conversation on the page. Text only ever becomes text.

import { byId, make, makeButton, showText } from "../dom.js";
import { formatNumber, t } from "../texts.js";

const SENTENCE = /^[\s\S]*(?:[.!?…](?=\s)|[。！？\n])/; // as much as can be read aloud

/** Draw a turn at the end of the conversation: who, what, and a note below it. */
export function addTurn(role) {
  const text = make("div", { className: "text", dir: "auto" });
  const note = make("p", { className: "note hint", hidden: true });
  const actions = make("div", { className: "actions" });
  const who = make("h3", {}, t(role));
  who.dataset.text = role;
  const element = make("li", { className: `turn ${role}` }, who, text, note, actions);
  byId("turns").append(element);
  return { role, element, text, note, actions, content: "" };
}

export function setText(turn, content) {
  turn.content = content;
  turn.text.textContent = content;
}

/** Append a piece, and keep the end in sight if it was. */
export function appendText(turn, piece) {
  const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  turn.content += piece;
  turn.text.append(piece);
  if (isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
}

/** Show how a turn has ended. */
export function endTurn(turn, note, tokens = 0) {
  const parts = [note, tokens ? t("tokens", { count: formatNumber(tokens) }) : ""];
  showText(turn.note, parts.filter(Boolean).join(" "));
}

/** Buttons below the last answer; those of answers before it are taken away, but for copying. */
export function drawActions(turn, actions) {
  for (const one of document.querySelectorAll(".turn .last-only")) one.remove();
  turn.actions.replaceChildren(
    makeButton(t("copyText"), event => copy(event.target, turn), { className: "quiet" }),
    ...actions.map(([name, act]) => makeButton(t(name), act, { className: "quiet last-only" })),
  );
}

async function copy(button, turn) {
  try {
    await navigator.clipboard.writeText(turn.content);
    button.textContent = t("copied");
  } catch {
    getSelection().selectAllChildren(turn.text); // without permission, or over plain HTTP
  }
}

/** Says an answer to screen readers, sentence by sentence while it is written. */
export class Speaker {
  rest = "";

  add(piece) {
    this.rest += piece;
    const [said] = SENTENCE.exec(this.rest) ?? [""];
    if (said.trim()) byId("status").textContent = said.trim();
    this.rest = this.rest.slice(said.length);
  }

  end(note) {
    byId("status").textContent = `${this.rest.trim()} ${note}`.trim();
  }
}
