// The labeling page: starts the parts of each task, and puts the next task in the place of the last without a page load.
// Without it the form still works by itself.
import { careStart } from "./care.js";
import { element, keptOpen, keptSend } from "./keeping.js";
import { keysStart } from "./keys.js";
import { rankingStart } from "./ranking.js";
import { sendingStart } from "./sending.js";

const words = JSON.parse(document.getElementById("words").textContent);
const announcer = element("div", { class: "visually-hidden", role: "status" });
document.body.append(announcer);

/** Start all parts on a form that stands in the page. `ahead` is the next task if it came with this one. */
export function taskStart(form, ahead = null) {
  const stop = new AbortController();
  const kept = keptOpen(form);
  const ranking = rankingStart(form, words, stop.signal);
  keysStart(form, words, ranking, stop.signal);
  marksSoon(form, ranking, stop.signal);
  const { time, status } = careStart(form, words, stop.signal);
  const show = (next, following, notice) => { stop.abort(); swap(form, next, following, notice); };
  sendingStart(form, words, { kept, ranking, time, status, ahead, show, signal: stop.signal });
}

// Marks need something that was entered, so they come with the first of it.
function marksSoon(form, ranking, signal) {
  if (!form.dataset.marks) return;
  let module = null;
  const begin = () => {
    module ??= import("./marks.js")
      .then(({ marksStart }) => { if (!signal.aborted) marksStart(form, words, ranking, signal); })
      .catch(() => { module = null; }); // offline: with the next input
  };
  form.addEventListener("input", begin, { signal });
  if (Number(form.dataset.revision)) begin();
}

function swap(old, next, ahead, notice) {
  const same = old.dataset.task === next.dataset.task;
  old.replaceWith(next);
  window.htmx?.process(next);
  history.replaceState(null, "", new URL("../", new URL(next.dataset.draftUrl, location.href)));
  for (const told of document.querySelectorAll("#messages .notice")) told.remove();
  taskStart(next, ahead);
  window.scrollTo({ top: 0, behavior: "instant" });
  focusFirst(next);
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = same ? words.next_step : words.next_task; });
  if (notice) tell(notice);
}

// Where reading begins: the prompt, or what veils it. Headings that are there only to be heard would jump into view.
function focusFirst(form) {
  const head = form.querySelector(".veil > summary") ?? form.querySelector("#prompt-head") ?? form;
  if (head.tabIndex < 0) head.tabIndex = -1;
  head.focus({ preventScroll: true });
}

function tell(text) {
  const close = element("button", { type: "button", "data-dismiss": "", "aria-label": words.dismiss }, "×");
  const notice = element("div", { class: "notice", "data-level": "info" }, element("p", {}, text), close);
  document.getElementById("messages").append(notice);
}

const form = document.getElementById("task");
if (form) {
  taskStart(form);
  keptSend(form);
  window.addEventListener("online", () => keptSend(document.getElementById("task")));
}
