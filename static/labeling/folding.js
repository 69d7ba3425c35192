// Very long texts can be folded to their first lines; the browser remembers which are, by task and letter.
import { element } from "./keeping.js";

const PREFIX = "prefloop:folded:";

function remembered(key) {
  try { return localStorage.getItem(key) === "1"; } catch { return false; }
}

function remember(key, folded) {
  try {
    if (folded) localStorage.setItem(key, "1");
    else localStorage.removeItem(key);
  } catch { /* then it holds for this page */ }
}

/** Give each of these texts a button that folds it. */
export function foldingStart(form, words, texts) {
  for (const text of texts) {
    if ("fold" in text.dataset) continue;
    const key = `${PREFIX}${form.dataset.task}:${text.dataset.text}`;
    const button = element("button", { type: "button", class: "btn-quiet btn-small fold-button" });
    const draw = (folded) => {
      text.dataset.fold = folded ? "folded" : "open";
      button.textContent = folded ? words.unfold : words.fold;
      button.setAttribute("aria-expanded", String(!folded));
    };
    button.addEventListener("click", () => {
      const folded = text.dataset.fold !== "folded";
      remember(key, folded);
      draw(folded);
      if (folded) button.scrollIntoView({ block: "nearest", behavior: "instant" });
    });
    draw(remembered(key));
    const head = text.closest(".completion")?.querySelector("[data-copy]");
    if (head) head.before(button);
    else text.after(button);
  }
}
