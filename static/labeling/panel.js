// The panel beside the task: guidelines with the list of keys, or the difference between two completions. It does not
// stand in the way of the task; Escape closes it and gives the focus back.
import { element } from "./keeping.js";

const panel = document.getElementById("panel");
const head = document.getElementById("panel-head");
const body = document.getElementById("panel-body");
let from = null;
let shown = "";

function open(title, what) {
  if (panel.hidden) from = document.activeElement;
  panel.hidden = false;
  panel.dataset.shows = what;
  document.documentElement.toggleAttribute("data-panel", true);
  head.textContent = title;
  head.focus({ preventScroll: true });
}

function close() {
  if (panel.hidden) return;
  panel.hidden = true;
  document.documentElement.removeAttribute("data-panel");
  const back = from?.isConnected && from !== document.body ? from : document.querySelector(".completion[aria-current]");
  (back ?? document.getElementById("main")).focus({ preventScroll: true });
}

async function load(url, words) {
  shown = "";
  body.replaceChildren(element("p", { class: "muted" }, words.panel_loading));
  try {
    const response = await fetch(url, { headers: { "HX-Request": "true", "X-Requested-With": "fetch" } });
    if (!response.ok) throw new Error(String(response.status));
    const answer = new DOMParser().parseFromString(await response.text(), "text/html");
    body.replaceChildren(...answer.body.childNodes);
    window.htmx?.process(body);
    const { module } = body.querySelector("[data-module]")?.dataset ?? {};
    shown = url;
    if (module) import(module).catch(() => { shown = ""; }); // offline: when it is opened again
  } catch {
    body.replaceChildren(element("p", { class: "error" }, words.panel_failed));
  }
}

/** Open the guidelines of the task's protocol, or close them when they are open. */
export async function guidelinesShow(form, words) {
  if (!panel.hidden && panel.dataset.shows === "guidelines") { close(); return; }
  const url = form.querySelector("[data-guidelines]")?.getAttribute("href");
  if (!url) return;
  open(words.panel_guidelines, "guidelines");
  if (shown !== url) await load(url, words);
}

function choice(label, letters, chosen, changed) {
  const select = element("select", { "aria-label": label }, ...[...letters].map((letter) => element("option", {}, letter)));
  select.value = chosen;
  select.addEventListener("change", changed);
  return select;
}

/** Open the word differences between two completions, or close them. */
export async function diffShow(form, words, [first, second]) {
  if (!panel.hidden && panel.dataset.shows === "diff") { close(); return; }
  open(words.panel_diff, "diff");
  const result = element("div", { "aria-live": "polite" });
  const change = () => {
    const query = new URLSearchParams({ a: from_.value, b: to.value });
    diffLoad(`${form.dataset.diffUrl}?${query}`, result, words);
  };
  const from_ = choice(words.diff_from, form.dataset.letters, first, change);
  const to = choice(words.diff_to, form.dataset.letters, second, change);
  shown = "";
  body.replaceChildren(element("div", { class: "cluster" }, from_, element("span", { "aria-hidden": "true" }, "→"), to), result);
  change();
}

async function diffLoad(url, result, words) {
  try {
    const response = await fetch(url, { headers: { "HX-Request": "true", "X-Requested-With": "fetch" } });
    if (!response.ok) throw new Error(String(response.status));
    result.replaceChildren(...new DOMParser().parseFromString(await response.text(), "text/html").body.childNodes);
  } catch {
    result.replaceChildren(element("p", { class: "error" }, words.panel_failed));
  }
}

panel.querySelector("[data-close]").addEventListener("click", close);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || panel.hidden) return;
  if (document.querySelector("details.menu[open], :popover-open")) return; // that closes first
  close();
});
