// Small tools for elements. Text only ever becomes text: nothing here makes HTML of it.

/** Make an element: properties, attributes with a dash or "role", then children or texts. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "list" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
}

/** A button that calls a function. */
export function makeButton(text, act, properties = {}) {
  const made = make("button", { type: "button", ...properties }, text);
  made.addEventListener("click", act);
  return made;
}

/** A name that somebody else wrote: its direction of writing must not change what surrounds it. */
export const isolate = text => make("bdi", {}, String(text));

export const byId = id => document.getElementById(id);

export const cloneIcon = name => byId(`icon-${name}`).content.cloneNode(true);

/** Show a text, or hide the element where there is none. */
export function showText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

export const toBase64 = blob => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

/** The bytes of base64 as a blob, whose type is told by its first bytes. */
export function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const types = { 0x89: "image/png", 0xff: "image/jpeg", 0x47: "image/gif", 0x42: "image/bmp" };
  return new Blob([bytes], { type: types[bytes[0]] ?? "image/png" });
}
