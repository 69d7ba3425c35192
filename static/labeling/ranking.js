// The ranking. What is typed is the record ("D C A=B", best first); the board, the tray in the bar and the places on the
// cards are drawn from it. Two completions may have a scale of steps instead, which is a plain group of radio buttons.
import { element, fill } from "./keeping.js";

const PAUSE = 400; // a preference that stands so long is one; the arrow keys pass over others on their way

/** The tiers that a text names, best first; blanks may be left out, and what is no letter or comes twice is passed over. */
export function parse(text, letters) {
  const tiers = [];
  let tie = false;
  for (const sign of text.normalize("NFKC").toUpperCase()) {
    if (sign === "=") tie = tiers.length > 0;
    if (!letters.includes(sign) || tiers.flat().includes(sign)) continue;
    if (tie) tiers.at(-1).push(sign);
    else tiers.push([sign]);
    tie = false;
  }
  return tiers;
}

/** Tiers as they are typed. */
export const written = (tiers) => tiers.filter((tier) => tier.length).map((tier) => tier.join("=")).join(" ");

/** Where a letter goes: out of a tie first, then past the next tier; "tie" joins the tier above; "remove" takes it out. */
export function moved(tiers, letter, how) {
  const at = tiers.findIndex((tier) => tier.includes(letter));
  if (at < 0) return how === "remove" ? tiers : [...tiers, [letter]];
  const alone = tiers[at].length === 1;
  const next = tiers.map((tier) => tier.filter((other) => other !== letter));
  if (how === "tie") {
    if (at === 0) next[0] = [letter, ...next[0]];
    else next[at - 1].push(letter);
  } else if (how === "up") {
    next.splice(alone ? Math.max(at - 1, 0) : at, 0, [letter]);
  } else if (how === "down") {
    next.splice(alone ? at + 2 : at + 1, 0, [letter]);
  }
  return next.filter((tier) => tier.length);
}

/** Start the ranking of a form, in whichever way it asks for one. */
export function rankingStart(form, words, signal) {
  const letters = [...form.dataset.letters];
  const heard = [];
  const given = { form, words, signal, letters, onChange: (fn) => heard.push(fn), changed: () => heard.forEach((fn) => fn()) };
  const input = form.elements.namedItem("ranking");
  if (input?.type === "text") return typedStart(given, input);
  const steps = [...form.querySelectorAll('input[type="radio"][name="preference"]')];
  return steps.length ? scaleStart(given, steps) : unranked(given);
}

// Ratings alone: the answer is whole when each completion has its rating.
function unranked({ form, letters, onChange }) {
  const isComplete = () => letters.every((letter) => form.querySelector(`[name="likert-${letter}"]:checked`));
  return { tiers: () => [], write() {}, move() {}, lean() {}, allEqual() {}, isComplete, onChange };
}

// --- Two completions on a scale ------------------------------------------------------------------------------------------

function scaleStart({ form, signal, onChange, changed }, steps) {
  const first = form.elements.first_ranking;
  let timer = null;
  const at = () => steps.findIndex((radio) => radio.checked);

  function tiers() {
    if (at() < 0) return [];
    if (steps.length === 9 && at() === 4) return [["A", "B"]];
    return at() < 4 ? [["A"], ["B"]] : [["B"], ["A"]];
  }

  function choose(step) {
    const radio = steps[Math.min(Math.max(step, 0), steps.length - 1)];
    radio.checked = true;
    radio.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Towards the first (-1) or the second (+1); the first press is the weakest step on that side.
  function lean(side) {
    if (at() >= 0) choose(at() + side);
    else choose(side < 0 ? 3 : steps.length - 4);
  }

  function noteFirst() {
    clearTimeout(timer);
    first.value ||= written(tiers());
  }

  function chosen() {
    clearTimeout(timer);
    timer = setTimeout(noteFirst, PAUSE);
    changed();
  }

  for (const radio of steps) radio.addEventListener("input", chosen, { signal });
  form.addEventListener("submit", noteFirst, { signal, capture: true });
  return {
    tiers,
    lean,
    write: (wanted) => (wanted.length === 1 ? choose(4) : lean(wanted[0][0] === "A" ? -1 : 1)),
    move: (letter, how) => lean((letter === "A") === (how === "up") ? -1 : 1),
    allEqual: () => { if (steps.length === 9) choose(4); },
    isComplete: () => at() >= 0,
    onChange,
  };
}

// --- Any number, typed or on the board -----------------------------------------------------------------------------------

function typedStart({ form, words, signal, letters, onChange, changed }, input) {
  const board = form.querySelector("#tiers");
  const tray = form.querySelector("#tray");
  const said = form.querySelector("#ranking-said");
  const help = form.querySelector("#ranking-help");
  const ties = form.dataset.ties === "yes";
  const first = form.elements.first_ranking;
  const places = words.places.split(" ");
  const place = (index) => places[index] ?? String(index + 1);
  let drag = null;
  let dragging = null;

  const tiers = () => parse(input.value, letters);
  const rest = (ranked) => letters.filter((letter) => !ranked.flat().includes(letter));
  const isComplete = () => rest(tiers()).length === 0;

  function write(wanted) {
    input.value = written(ties ? wanted : wanted.flat().map((letter) => [letter]));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function move(letter, how) {
    if (how === "tie" && !ties) return;
    write(moved(tiers(), letter, how));
  }

  // --- Drawing

  function button(letter, how, label, mark) {
    const attributes = { type: "button", class: "btn-quiet btn-icon btn-small", "data-move": how, "data-letter": letter };
    return element("button", { ...attributes, "aria-label": label, title: label }, mark);
  }

  const sign = (letter) => element("span", { class: "letter", "aria-hidden": "true" }, letter);
  const grip = () => element("span", { class: "grip", "aria-hidden": "true" }, "⠿");

  function ranked(letter, index) {
    const named = (key) => fill(words[key], { letter });
    const chip = element("div", { class: "ranked", role: "group", "aria-label": letter, "data-chip": letter });
    chip.append(grip(), sign(letter), button(letter, "up", named("rank_higher"), "↑"));
    chip.append(button(letter, "down", named("rank_lower"), "↓"));
    if (ties && index > 0) chip.append(button(letter, "tie", named("rank_tie"), "="));
    chip.append(button(letter, "remove", named("rank_remove"), "×"));
    return chip;
  }

  function waiting(letter) {
    const attributes = { type: "button", class: "btn-quiet btn-small", "data-move": "add", "data-letter": letter };
    const label = fill(words.rank_next, { letter });
    const chip = element("div", { class: "ranked", "data-chip": letter });
    chip.append(grip(), sign(letter), element("button", { ...attributes, "aria-label": label }, words.rank));
    return chip;
  }

  // Room between two places, to drop into; it says nothing to who listens.
  const gap = () => element("div", { class: "tier-gap", "data-drop": "", "aria-hidden": "true" });

  function tier(name, chips, attributes = {}, box = {}) {
    const items = element("div", { class: "tier-items", "data-drop": "", ...box }, ...chips);
    return element("div", { class: "tier", role: "listitem", ...attributes }, element("span", { class: "tier-name" }, name), items);
  }

  function drawBoard(now, left) {
    const list = element("div", { class: "tiers", role: "list" }, gap());
    now.forEach((letters, index) => {
      list.append(tier(place(index), letters.map((letter) => ranked(letter, index)), { "data-tier": letters.join("") }), gap());
    });
    if (left.length) list.append(tier(words.unranked, left.map(waiting), { "data-left": "" }, { "data-rest": "" }));
    board.replaceChildren(list);
    board.hidden = false;
    drag?.attach();
  }

  // Letters that wait stand in the bar, in reach while one reads: one press each, best first.
  function drawTray(left) {
    tray.replaceChildren(...left.map((letter) =>
      element("button", { type: "button", class: "tray-letter", "data-move": "add", "data-letter": letter, "aria-label": fill(words.rank_put, { letter }) }, letter)));
    tray.hidden = left.length === 0;
  }

  function drawCards(now) {
    for (const spot of form.querySelectorAll("[data-place]")) {
      const index = now.findIndex((tier) => tier.includes(spot.dataset.place));
      const tied = index >= 0 && now[index].length > 1;
      spot.textContent = index < 0 ? "" : `${tied ? "= " : ""}${place(index)}`;
      spot.hidden = index < 0;
    }
  }

  function inWords(now, left) {
    const order = now.map((tier, index) => `${place(index)}: ${tier.join(" = ")}`).join(", ");
    if (!left.length) return fill(words.ranking_whole, { order });
    return now.length ? fill(words.ranking_part, { order, left: left.join(", ") }) : "";
  }

  // What was typed and is no letter of this task is said where one types; all else is left to the reader of the form.
  function drawHelp() {
    const typed = input.value.normalize("NFKC").toUpperCase();
    const strange = [...new Set(typed.replace(/[\s=,;>]/g, ""))].filter((each) => !letters.includes(each));
    const fault = fill(words.rank_strange, { strange: strange.join(", "), first: letters[0], last: letters.at(-1) });
    help.textContent = strange.length ? fault : help.dataset.help;
    help.className = strange.length ? "error" : "help";
    if (!strange.length) input.removeAttribute("aria-invalid");
  }

  function draw() {
    const active = document.activeElement;
    const focus = active?.dataset?.move ? { ...active.dataset, box: active.closest("#tiers, #tray") } : null;
    const now = tiers();
    const left = rest(now);
    drawBoard(now, left);
    drawTray(left);
    drawCards(now);
    if (!left.length) first.value ||= written(now);
    if (focus?.box) refocus(focus);
  }

  function refocus({ letter, move, box }) {
    const again = box.querySelector(`[data-letter="${letter}"][data-move="${move}"]`);
    (again ?? box.querySelector(`[data-letter="${letter}"]`) ?? box.querySelector("[data-move]") ?? input).focus({ preventScroll: true });
  }

  // --- Listening

  function entered() {
    draw();
    drawHelp();
    said.textContent = inWords(tiers(), rest(tiers()));
    changed();
  }

  function pressed(event) {
    const move_ = event.target.closest("[data-move]");
    if (move_) move(move_.dataset.letter, move_.dataset.move);
  }

  // "dca=b" is written as "D C A=B" once one leaves the field, unless there is something in it that has to be said.
  function tidy() {
    const clean = written(tiers());
    if (clean !== input.value && help.className !== "error" && clean) input.value = clean;
  }

  // The library for dragging is not needed to read, type or press: it comes with the first touch or move of a pointer.
  function dragOnce() {
    dragging ??= import("./drag.js").then(({ dragStart }) => dragStart(board, write, signal))
      .then((started) => { drag = started; if (!signal.aborted) drag.attach(); })
      .catch(() => { dragging = null; }); // offline: with the next press
  }

  input.addEventListener("input", entered, { signal });
  input.addEventListener("change", tidy, { signal });
  form.addEventListener("submit", tidy, { signal, capture: true });
  board.addEventListener("click", pressed, { signal });
  tray.addEventListener("click", pressed, { signal });
  document.addEventListener("pointermove", dragOnce, { signal, once: true, passive: true });
  document.addEventListener("pointerdown", dragOnce, { signal, passive: true });
  draw();
  return { tiers, write, move, lean() {}, allEqual: () => { if (ties) write([letters]); }, isComplete, onChange };
}
