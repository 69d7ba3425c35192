// Keys and buttons of a task: which completion is meant, digits rate it, letters flag it, and what else a person's map
// of keys names. Also what the fields do beyond what the browser gives them: answers can be taken back.
import { fill } from "./keeping.js";

const LONG = 60; // lines, beyond which a text can be folded

/** The key that was pressed, as maps of keys write it: `j`, `Shift+n`, `=`, `Control+Enter`. */
function pressed(event) {
  let { key } = event;
  if (key.length === 1 && key > "~") key = plain(event) || key;
  const single = [...key].length === 1;
  const letter = single && key.toLowerCase() !== key.toUpperCase();
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Control");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (letter || !single)) parts.push("Shift");
  parts.push(letter ? key.toLowerCase() : key);
  return parts.join("+");
}

// On a keyboard of another script, the key that stands where the Latin letter or digit would.
const plain = ({ code }) => /^(?:Key([A-Z])|(?:Digit|Numpad)([0-9]))$/.exec(code ?? "")?.slice(1).join("").toLowerCase();

const SIGNS = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Control: "Ctrl", Shift: "⇧" };
const shown = (key) => key.split(/\+(?=.)/).map((part) => SIGNS[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ");

const writes = (target) =>
  target.matches?.("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=button], [type=submit])");

/** Start the keys and buttons of a form. */
export function keysStart(form, words, ranking, signal) {
  const map = JSON.parse(document.getElementById("shortcuts")?.textContent || "{}") ?? {};
  const on = Object.keys(map).length > 0;
  const letters = [...form.dataset.letters];
  const listen = (target, kind, heard, options = {}) => target.addEventListener(kind, heard, { ...options, signal });
  const fields = fieldsStart(form, words, listen);
  let current = -1;

  // --- Which completion is meant

  const cardOf = (letter) => form.querySelector(`#completion-${letter}`);

  function mean(index) {
    current = index;
    for (const card of form.querySelectorAll(".completion[aria-current]")) card.removeAttribute("aria-current");
    cardOf(letters[index])?.setAttribute("aria-current", "true");
  }

  // The page moves only when little of the card is in sight: who reads is not torn away.
  function show(card) {
    const { top, bottom, height } = card.getBoundingClientRect();
    const floor = form.querySelector(".bar")?.getBoundingClientRect().top ?? window.innerHeight;
    const seen = Math.min(bottom, floor) - Math.max(top, 0);
    if (seen < Math.min(height, 200)) card.scrollIntoView({ block: "start", behavior: "instant" });
  }

  function choose(index) {
    mean((index + letters.length) % letters.length);
    const card = cardOf(letters[current]);
    card.focus({ preventScroll: true });
    show(card);
  }

  const letter = () => {
    if (current < 0) mean(0);
    return letters[current];
  };

  const rated = (each) => form.querySelector(`input[name="likert-${each}"]:checked`);

  function rate(digit) {
    const radio = form.querySelector(`input[type="radio"][name="likert-${letter()}"][value="${digit || 10}"]`);
    if (!radio) return false;
    fields.check(radio, true);
    const order = [...letters.slice(current + 1), ...letters.slice(0, current)];
    const next = order.find((each) => form.querySelector(`input[name="likert-${each}"]`) && !rated(each));
    if (next) choose(letters.indexOf(next));
    return true;
  }

  function flag(key) {
    const field = cardOf(letter())?.querySelector(`[data-flag-key="${CSS.escape(key)}"]`);
    const yes = field?.querySelector('input[value="yes"]');
    if (!yes) return false;
    fields.check(yes, !yes.checked);
    const how = yes.checked ? words.flag_set : words.flag_cleared;
    fields.say(fill(how, { letter: letter(), question: field.querySelector("legend").lastChild.textContent.trim() }));
    return true;
  }

  // --- What keys do

  const leave = form.querySelector("#leave");

  function skip() {
    leave.open = true;
    leave.querySelector("button")?.focus();
  }

  // Offline it may not come: that is said, and the next press tries again.
  const panel = (how, argument) => import("./panel.js").then((module) => module[how](form, words, argument), () => fields.say(words.panel_failed));

  // The two that are compared: the completion that is meant, and the one before it in the ranking or on the page.
  function diff() {
    const order = ranking.tiers().flat();
    const all = order.length === letters.length ? order : letters;
    const at = Math.max(all.indexOf(letters[Math.max(current, 0)]), 1);
    panel("diffShow", [all[at - 1], all[at]]);
  }

  const acts = {
    next_completion: () => choose(current + 1),
    previous_completion: () => choose(current < 0 ? -1 : current - 1),
    move_up: () => ranking.move(letter(), "up"),
    move_down: () => ranking.move(letter(), "down"),
    tie: () => ranking.move(letter(), "tie"),
    all_equal: () => ranking.allEqual(),
    rank: () => form.querySelector('input[type="text"][name="ranking"], [name="preference"]:checked, [type="radio"][name="preference"]')?.focus({ preventScroll: true }),
    lean_first: () => ranking.lean(-1),
    lean_second: () => ranking.lean(1),
    none_apply: () => fields.noneApply([letter()]),
    none_apply_all: () => fields.noneApply(letters),
    diff: () => { if (letters.length > 1) diff(); },
    submit: () => form.requestSubmit(form.querySelector("#submit")),
    skip,
    distressing: () => form.requestSubmit(form.querySelector('[name="reason"][value="distressing"]')),
    guidelines: () => panel("guidelinesShow"),
    help: () => panel("guidelinesShow"),
  };
  const actions = new Map(Object.entries(map).filter(([name]) => acts[name]).map(([name, key]) => [key, acts[name]]));

  function keyed(event) {
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return;
    if (event.key === "Escape") { escaped(event); return; }
    if (event.key === "Enter" && event.target.name === "note") { event.preventDefault(); return; } // the reason is a button
    if (["Backspace", "Delete"].includes(event.key) && fields.takeBack(event.target)) { event.preventDefault(); return; }
    const key = pressed(event);
    if (!on || (writes(event.target) && key !== map.submit)) return;
    if (event.target.closest?.("#panel, dialog") && key !== map.help && key !== map.submit) return;
    const act = actions.get(key);
    if (act) { event.preventDefault(); act(); return; }
    if (event.repeat || key.length !== 1) return;
    if (/[0-9]/.test(key) ? rate(Number(key)) : flag(key)) event.preventDefault();
  }

  // Out of the ranking's field, back to the completion that is read.
  function escaped({ target }) {
    if (target.name === "ranking") cardOf(letter())?.focus({ preventScroll: true });
  }

  listen(document, "keydown", keyed);
  listen(form, "focusin", ({ target }) => {
    const card = target.closest(".completion");
    if (card) mean(letters.indexOf(card.dataset.letter));
  });

  // --- Buttons

  const buttons = {
    "[data-none]": (button) => fields.noneApply([button.dataset.none]),
    "[data-none-all]": () => fields.noneApply(letters),
    "[data-all-equal]": () => ranking.allEqual(),
    "[data-diff]": diff,
    "[data-edit]": () => fields.edit(ranking.tiers()),
  };
  for (const [selector, act] of Object.entries(buttons)) {
    for (const button of form.querySelectorAll(selector)) {
      button.hidden = false;
      listen(button, "click", () => act(button));
    }
  }
  signal.addEventListener("abort", () => {
    const shownBeside = document.querySelector('#panel[data-shows="diff"]:not([hidden]) [data-close]');
    shownBeside?.click(); // it shows the completions of the task that goes
  });
  const guidelines = form.querySelector("[data-guidelines]");
  if (guidelines) listen(guidelines, "click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own, as asked
    event.preventDefault();
    panel("guidelinesShow");
  });

  form.classList.toggle("keys-on", on);
  lettersFree(form, Object.values(map));
  for (const sign of document.querySelectorAll("[data-key-of]")) sign.textContent = map[sign.dataset.keyOf] ? shown(map[sign.dataset.keyOf]) : "";
  orderShow(form, ranking);
  foldLong(form, words, listen);
}

// Somebody's own map may have taken a question's letter: then the question gets another that is free.
function lettersFree(form, taken) {
  const asked = [...form.querySelectorAll("[data-flag-key]")];
  const used = new Set([...taken, ...asked.map((field) => field.dataset.flagKey)]);
  const others = new Map();
  for (const field of asked.filter((each) => taken.includes(each.dataset.flagKey))) {
    const { key } = field.dataset;
    if (!others.has(key)) others.set(key, [..."qwertyuiopasdfghjklzxcvbnm"].find((each) => !used.has(each)) ?? "");
    used.add(others.get(key));
    field.dataset.flagKey = others.get(key);
    field.querySelector("kbd").textContent = others.get(key).toUpperCase();
  }
}

// With two completions the bar says in words what the scale says.
function orderShow(form, ranking) {
  const order = form.querySelector("#order");
  if (!order) return;
  const draw = () => { order.textContent = form.querySelector('[name="preference"]:checked + * + .scale-words')?.textContent ?? ""; };
  ranking.onChange(draw);
  draw();
}

// Folding is for the few texts that are very long, and comes only with them.
function foldLong(form, words, listen) {
  const look = async () => {
    // The box of a text is as high as that of its neighbours; what it holds is what counts.
    const lines = ({ firstElementChild: held }) => (held ? held.offsetHeight / parseFloat(getComputedStyle(held).lineHeight) : 0);
    const long = [...form.querySelectorAll("[data-text]:not([data-fold])")].filter((text) => lines(text) > LONG);
    if (long.length) await import("./folding.js").then(({ foldingStart }) => foldingStart(form, words, long), () => {}); // offline: once online
  };
  listen(window, "online", look);
  const veil = form.querySelector(".veil");
  if (veil) listen(veil, "toggle", look);
  look();
}

// --- Fields --------------------------------------------------------------------------------------------------------------

function fieldsStart(form, words, listen) {
  const said = form.querySelector("#said");
  const bulk = (letter) => form.elements.namedItem(`bulk-${letter}`);
  const keysIn = (field) => (field?.value ? field.value.split(",") : []);
  const tell = (field) => field.dispatchEvent(new Event("input", { bubbles: true }));
  let before = null;

  function say(text) { said.textContent = text; }

  function check(radio, wanted) {
    radio.checked = wanted;
    tell(radio);
  }

  // Only faults that are not answered yet: what was answered one by one stays, and so do questions that are no faults.
  function noneApply(letters) {
    let count = 0;
    for (const letter of letters.filter(bulk)) {
      const open = [...form.querySelectorAll(`#completion-${letter} [data-polarity="bad"]`)].filter((field) => !field.querySelector(":checked"));
      for (const field of open) field.querySelector('[value="no"]').checked = true;
      bulk(letter).value = [...keysIn(bulk(letter)), ...open.map((field) => field.dataset.key)].join(",");
      count += open.length;
      if (open.length) tell(bulk(letter));
      drawBulk(letter);
    }
    say(fill(words.none_set, { count: String(count), letters: letters.join(", ") }));
  }

  // Answers set in bulk look lighter than those given one by one.
  function drawBulk(letter) {
    const keys = keysIn(bulk(letter));
    for (const field of form.querySelectorAll(`#completion-${letter} [data-key]`)) field.toggleAttribute("data-bulk", keys.includes(field.dataset.key));
  }

  function answered({ target }) {
    const [, letter, key] = /^answer-([A-Z])-(.+)$/.exec(target.name ?? "") ?? [];
    if (!letter || !bulk(letter)) return;
    bulk(letter).value = keysIn(bulk(letter)).filter((each) => each !== key).join(",");
    drawBulk(letter);
  }

  // An answer can be taken back: by pressing it again, or with Backspace.
  const canTakeBack = (radio) => radio?.type === "radio" && /^(answer|confidence|likert|preference)/.test(radio.name);

  function takeBack(radio) {
    if (!canTakeBack(radio)) return false;
    const checked = [...form.querySelectorAll(`[name="${CSS.escape(radio.name)}"]`)].find((each) => each.checked);
    if (checked) check(checked, false);
    return Boolean(checked);
  }

  const aim = ({ target }) => { before = canTakeBack(target) && target.checked && target.name.startsWith("answer") ? target : null; };
  listen(form, "pointerdown", aim);
  listen(form, "keydown", (event) => { if (event.key === " ") aim(event); });
  listen(form, "click", ({ target }) => {
    if (target === before) check(target, false);
    before = null;
  });
  listen(form, "input", answered);
  for (const letter of form.dataset.letters) if (bulk(letter)) drawBulk(letter);

  // The text to improve: of the completion chosen, else of the best one.
  function edit(tiers) {
    const { edit: text, edit_of: of } = form.elements;
    of.value ||= tiers[0]?.[0] ?? form.dataset.letters[0];
    const source = form.querySelector(`#raw-${of.value}`).value;
    if (text.value.trim() && text.value !== source && !window.confirm(words.edit_again)) return;
    text.value = source;
    tell(text);
    text.focus();
  }

  return { check, say, noneApply, takeBack, edit };
}
