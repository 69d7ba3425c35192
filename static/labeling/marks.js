// Where the ranking and what was said of each completion disagree, both completions say so: in words, beside them, and
// that is all. In the control group nothing is shown, but what stood in the form at that moment is kept all the same.
import { element, fill } from "./keeping.js";

const PAUSE = 300; // a letter on its way up the ranking passes places where it is not meant to stay
const MOST = 2; // sentences on one card

/** Start the marks of a form; without a group (`data-marks`) there are none. */
export function marksStart(form, words, ranking, signal) {
  const group = form.dataset.marks;
  if (!group) return;
  const severe = form.dataset.severe.split(",").filter(Boolean);
  const gap = form.dataset.points === "2" ? 1 : 2;
  const before = form.elements.namedItem("before_marks");
  const said = form.querySelector("#said");
  let timer = null;
  let last = "";

  const rating = (letter) => Number(form.querySelector(`input[name="likert-${letter}"]:is(:checked, [type="hidden"])`)?.value ?? 0);
  const answers = (letter) => [...new FormData(form)].filter(([name]) => name.startsWith(`answer-${letter}-`));
  const flags = (letter) => answers(letter).filter(([name, value]) => value === "yes" && severe.includes(name.slice(9))).map(([name]) => name.slice(9));
  // Whoever was not asked about is not clean, only unknown.
  const asked = (letter) => Boolean(form.querySelector(`[name^="answer-${letter}-"]`));

  function contradictions() {
    if (!ranking.isComplete()) return [];
    const tiers = ranking.tiers();
    const found = [];
    tiers.forEach((higher, place) => {
      for (const above of higher) for (const below of tiers.slice(place + 1).flat()) found.push(...between(above, below));
    });
    return found.sort((one, other) => other.weight - one.weight);
  }

  function between(above, below) {
    const found = [];
    const [one, other] = [rating(above), rating(below)];
    if (one && other && other - one >= gap) {
      const sentence = gap === 1 ? words.mark_thumbs : words.mark_rating;
      found.push({ above, below, weight: other - one, text: fill(sentence, { above, below, count: String(other - one) }) });
    }
    if (asked(below) && flags(above).length && !flags(below).length) {
      found.push({ above, below, weight: 10, text: fill(words.mark_flag, { above, below }) });
    }
    return found;
  }

  // What was entered at the moment of the first mark, before it could change anybody's mind.
  function keepBefore() {
    if (before.value) return;
    const fields = [...new FormData(form)].filter(([name, value]) => value && /^(ranking$|preference$|likert-|answer-)/.test(name));
    before.value = JSON.stringify(Object.fromEntries(fields));
    before.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const line = (text) => element("p", { class: "mark" }, text);

  function drawCards(found) {
    for (const box of form.querySelectorAll("[data-marks-of]")) {
      const about = found.filter(({ above, below }) => [above, below].includes(box.dataset.marksOf));
      const more = about.length > MOST ? [element("p", { class: "mark" }, fill(words.mark_more, { count: String(about.length - MOST) }))] : [];
      box.replaceChildren(...about.slice(0, MOST).map(({ text }) => line(text)), ...more);
      box.hidden = about.length === 0;
    }
  }

  function drawBoard(found) {
    const marked = new Set(found.flatMap(({ above, below }) => [above, below]));
    for (const chip of form.querySelectorAll("#tiers [data-chip]")) chip.toggleAttribute("data-marked", marked.has(chip.dataset.chip));
    for (const old of form.querySelectorAll("[data-board-marks]")) old.remove();
    const place = form.querySelector("#tiers") ?? form.querySelector(".scale");
    if (found.length && place) place.after(element("div", { class: "marks", "data-board-marks": "" }, ...found.slice(0, 4).map(({ text }) => line(text))));
  }

  function look() {
    const found = contradictions();
    if (found.length) keepBefore();
    if (group !== "shown") return;
    drawCards(found);
    drawBoard(found);
    const text = found.map((each) => each.text).join(" ");
    if (text && text !== last) said.textContent = text;
    last = text;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  }

  form.addEventListener("input", later, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  later();
}
