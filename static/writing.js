// Writing: what was pasted is followed, words are counted. Drafts, time and submits are those of the labeling page.
import { careStart } from "./labeling/care.js";
import { fill, keptOpen, keptSend } from "./labeling/keeping.js";
import { sendingStart } from "./labeling/sending.js";

const words = JSON.parse(document.getElementById("words").textContent);
const PASTES = new Set(["insertFromPaste", "insertFromPasteAsQuotation", "insertFromDrop"]);
// As the server counts: where no spaces stand between words, each character is one.
const UNSPACED = "\\u0e00-\\u0eff\\u1000-\\u109f\\u3040-\\u30ff\\u3400-\\u9fff\\uf900-\\ufaff";
const WORD = new RegExp(`[${UNSPACED}]|[^\\s${UNSPACED}]+`, "gu");

function countStart(text, line) {
  const show = () => {
    const count = text.value.match(WORD)?.length ?? 0;
    line.textContent = fill(count === 1 ? words.one_word : words.many_words, { count: count.toLocaleString(document.documentElement.lang) });
  };
  text.addEventListener("input", show);
  show();
}

// Which stretches of the text were pasted: places only, never what was pasted. They move with what is typed before them.
function pasteStart(text, field) {
  let before = text.value;
  let stretches = [...field.value.matchAll(/(\d+)-(\d+)/g)].map(([, start, end]) => [Number(start), Number(end)]);

  text.addEventListener("input", (event) => {
    const now = text.value;
    const most = Math.min(before.length, now.length);
    let start = 0;
    while (start < most && before[start] === now[start]) start += 1;
    let same = 0;
    while (same < most - start && before[before.length - 1 - same] === now[now.length - 1 - same]) same += 1;
    const [removed, added] = [before.length - same, now.length - same];
    const moved = (place) => place + added - removed;
    stretches = stretches.flatMap(([from, to]) => [
      [from, Math.min(to, start)],
      [moved(Math.max(from, removed)), moved(to)],
    ]).filter(([from, to]) => from < to);
    if (PASTES.has(event.inputType) && start < added) stretches.push([start, added]);
    stretches.sort(([one], [other]) => one - other);
    field.value = stretches.map((stretch) => stretch.join("-")).join(" ");
    before = now;
  });
}

function hidden(form, name) {
  const field = Object.assign(document.createElement("input"), { type: "hidden", name, value: "" });
  return form.elements[name] ?? form.appendChild(field);
}

function keysStart(form) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit(document.getElementById("submit"));
  });
}

function answerStart(form) {
  const text = form.elements.answer;
  const { signal } = new AbortController();
  const stretches = hidden(form, "pasted");
  const kept = keptOpen(form); // fills in what this browser had kept
  pasteStart(text, stretches);
  countStart(text, document.getElementById("count"));
  const { time, status } = careStart(form, words, signal);
  keysStart(form);
  const show = () => window.location.assign(form.dataset.next);
  sendingStart(form, words, { kept, ranking: null, time, status, ahead: null, show, signal });
  keptSend(form);
  window.addEventListener("online", () => keptSend(form));
}

function promptStart(form) {
  let last = Date.now();
  let paid = 0;
  let unsent = false;
  form.addEventListener("input", () => { unsent = true; });
  window.addEventListener("beforeunload", (event) => { if (unsent) event.preventDefault(); });
  const count = () => { const now = Date.now(); paid += Math.min(now - last, 600_000); last = now; };
  for (const kind of ["input", "keydown", "pointerdown"]) document.addEventListener(kind, count, { passive: true });
  form.addEventListener("submit", () => { unsent = false; count(); form.elements.paid_seconds.value = String(Math.round(paid / 1000)); });
}

const form = document.getElementById("task");
if (form) answerStart(form);
const prompt = document.getElementById("prompt");
if (prompt) promptStart(prompt);
