// A field for an image: dropped, pasted, chosen as a file, or taken with the camera.

import { byId, cloneIcon, fromBase64, make, makeButton } from "./dom.js";
import { t } from "./texts.js";

const isPhone = () => matchMedia("(pointer: coarse)").matches;

export function makeImageControl({ id, schema }) {
  let chosen, wrong = false;
  const input = make("input", { id, type: "file", accept: schema.contentMediaType, hidden: true });
  const phoneCamera = make("input", { type: "file", accept: "image/*", hidden: true });
  phoneCamera.setAttribute("capture", "environment");
  const preview = make("img", { alt: t("preview"), hidden: true });
  const size = make("p", { className: "hint" });
  const problem = make("p", { className: "hint", role: "status" });
  const hint = make("p", { className: "drop-hint" }, cloneIcon("image"), make("span", {}, t("drop")));
  const pick = makeButton(t("pick"), () => input.click());
  pick.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  const buttons = make("div", { className: "actions" }, pick);
  if (isPhone() || navigator.mediaDevices?.getUserMedia) buttons.append(makeButton(t("camera"), takePicture));
  const area = make("div", { className: "drop", role: "group", "aria-labelledby": `${id}-label` }, preview, size, hint, buttons, problem, input, phoneCamera);

  function write(value) {
    chosen = typeof value === "string" ? fromBase64(value) : value ?? undefined;
    wrong = chosen !== undefined && !chosen.type.startsWith("image/");
    if (wrong) chosen = undefined;
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = !chosen;
    size.textContent = problem.textContent = input.value = phoneCamera.value = "";
    if (chosen) preview.src = URL.createObjectURL(chosen);
    else preview.removeAttribute("src");
    area.classList.toggle("filled", Boolean(chosen));
  }

  function take(file) {
    write(file);
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.dispatchEvent(new CustomEvent("chosen", { bubbles: true }));
  }

  async function takePicture() {
    if (isPhone()) return phoneCamera.click();
    try {
      const picture = await photograph();
      if (picture) take(picture);
    } catch (error) {
      problem.textContent = t("noCamera", { reason: error.message });
    }
  }

  preview.addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height } = preview;
    preview.classList.toggle("pixels", Math.max(width, height) < 128);
    size.textContent = t("imageSize", { width, height, size: Math.max(1, Math.round(chosen.size / 1024)) });
  });
  for (const source of [input, phoneCamera]) {
    source.addEventListener("change", event => {
      event.stopPropagation();
      if (source.files.length) take(source.files[0]);
    });
  }
  area.addEventListener("dragover", event => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", event => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  // Anywhere on the page, as long as the field is there.
  document.addEventListener("paste", function paste(event) {
    if (!area.isConnected) return document.removeEventListener("paste", paste);
    const file = [...event.clipboardData.files].find(file => file.type.startsWith("image/"));
    if (file) take(file);
  });
  return {
    // What is described and marked is the button: the file input itself is not shown.
    input: pick, element: area, wide: true, write,
    value: () => chosen,
    problem: () => (wrong ? t("notAnImage") : ""),
  };
}

/** Show what the camera sees; return a picture once the button is pressed, or null. */
async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const dialog = byId("camera-dialog"), video = byId("video"), shutter = byId("shutter");
  shutter.disabled = true; // until there is something to take
  video.onloadeddata = () => { shutter.disabled = false; shutter.focus(); };
  video.srcObject = stream;
  dialog.showModal();
  try {
    return await new Promise(resolve => {
      shutter.onclick = () => resolve(draw(video));
      byId("camera-cancel").onclick = dialog.onclose = () => resolve(null);
    });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.close();
  }
}

function draw(video) {
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise(resolve => canvas.toBlob(resolve, "image/png"));
}
