// The dialog that asks for an API key where the service wants one.

import { byId, showText } from "./dom.js";
import { useKey } from "./service.js";
import { t } from "./texts.js";

/** Call the service; ask for a key and call again where it wants one. */
export async function withKey(call) {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await call();
    } catch (error) {
      if (error.status !== 401) throw error;
      byId("api").hidden = true; // a link sends no key
      const key = await askForKey(isFirst ? "" : t("keyWrong"));
      if (key === null) throw error;
      useKey(key);
    }
  }
}

function askForKey(problem) {
  const dialog = byId("key-dialog");
  byId("key").value = "";
  showText(byId("key-error"), problem);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise(resolve => {
    dialog.onclose = () => resolve(dialog.returnValue === "use" && byId("key").value ? byId("key").value : null);
  });
}
