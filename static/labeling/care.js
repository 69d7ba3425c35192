// Care for the person at work: what they are told, how their time is counted, whether they are still there, breaks.
import { clock, element, fill, post } from "./keeping.js";

const ACTIVE = 60_000; // at work: input within a minute, on a visible page
const PAID = 600_000; // paid: input within ten minutes, other tabs included; as long the lease is kept, too
const LEASE = 270_000; // of five minutes, for the last heartbeat may be half a minute old
const STRETCH = 50 * 60; // seconds of work after which a break is offered
const BREAK = 600; // seconds of it that are paid
const LOOK = 5_000;
const WORK = "prefloop:work:";
const INPUT = ["pointerdown", "keydown", "wheel", "scroll", "input"];

/** Start both for a form: `time` counts, `status` says. */
export function careStart(form, words, signal) {
  const note = noteStart(form);
  const status = statusStart(form, words, note);
  const time = timeStart(form, words, note, signal);
  return { time, status };
}

// A line of its own in the bar, polite, with buttons.
function noteStart(form) {
  const box = element("div", { class: "bar-note", role: "status" });
  (form.querySelector(".bar") ?? form).prepend(box);
  let said = "";
  return {
    say(text, buttons, tone = "warn") {
      const made = buttons.map(([label, pressed]) => {
        const button = element("button", { type: "button", class: "btn-small" }, label);
        button.addEventListener("click", pressed);
        return button;
      });
      said = text;
      box.dataset.tone = tone;
      box.replaceChildren(element("span", {}, text), ...made);
    },
    /** Empty it, if it (still) says this. */
    clear: (text = said) => { if (text === said) box.replaceChildren(); },
  };
}

// --- What became of the entered ----------------------------------------------------------------------------------------------

function statusStart(form, words, note) {
  const line = document.getElementById("saved");
  // What is on its way is seen, but not read aloud at each change.
  const pending = element("span", { class: "saved", id: "unsaved", "aria-hidden": "true", hidden: "" });
  line.after(pending);
  let signedOut = false;
  let away = false;

  function say(text, tone = "") {
    signedOut = false;
    pending.hidden = true;
    line.classList.remove("visually-hidden");
    line.dataset.tone = tone;
    line.dataset.state = "";
    if (line.textContent !== text) line.textContent = text;
  }

  function unsaved(text) {
    if (!["good", "away", ""].includes(line.dataset.tone ?? "")) return; // something weightier stands there
    line.classList.add("visually-hidden");
    line.dataset.state = "";
    pending.textContent = text;
    pending.hidden = false;
  }

  function button(label, pressed) {
    const made = element("button", { type: "button", class: "btn-small" }, label);
    made.addEventListener("click", pressed);
    return made;
  }

  return {
    say,
    unsaved: (kept) => unsaved(kept ? words.unsaved : words.unkept),
    saved(at, held, newer) {
      away = !held;
      const text = fill(words.saved, { time: clock(at) });
      say(away ? `${text}. ${words.given_away}` : text, away ? "warn" : "good");
      if (newer) unsaved(words.unsaved); else line.dataset.state = "saved";
    },
    seat(held) {
      if (!held && !away) say(words.given_away, "warn");
      away = !held;
    },
    outdated(problem) {
      say(problem, "bad");
      line.append(" ", button(words.reload, () => window.location.reload()));
    },
    strange(take, leave) {
      say(words.newer, "warn");
      line.append(" ", button(words.use_mine, take), " ", button(words.drop_mine, () => { leave(); say(""); }));
    },
    signedOut() {
      if (signedOut) return;
      say("", "warn");
      signedOut = true;
      const link = element("a", { href: form.dataset.loginUrl, target: "_blank", rel: "noopener" }, words.sign_in);
      line.append(element("span", {}, `${words.signed_out} `, link));
    },
    thank(text) {
      note.say(text, [], "good");
      setTimeout(() => note.clear(text), 10_000);
    },
    signedIn() { if (signedOut) say(words.signed_in, "good"); },
  };
}

// --- Time ----------------------------------------------------------------------------------------------------------------

function timeStart(form, words, note, signal) {
  const listen = (target, kind, heard, options = {}) => target.addEventListener(kind, heard, { ...options, signal });
  const field = (name) => form.elements[name] ?? form.appendChild(element("input", { type: "hidden", name, value: "0" }));
  const stage = { rate: "active_rate", rank: "active_rank" }[form.dataset.stage];
  const counted = Object.fromEntries(["active_seconds", "paid_seconds", ...(stage ? [stage] : [])].map((name) => [name, Number(field(name).value) * 1000]));
  const rest = breakStart(form, words, note, signal);
  const title = document.title;
  let last = Date.now();
  let input = Date.now();
  let asked = false;
  let back = () => {};

  // Counts what has passed since it was last called; also right after hours of sleep, of which little is counted.
  function count(visible = !document.hidden) {
    const now = Date.now();
    const worked = Math.max(0, Math.min(now, input + ACTIVE) - last);
    const paid = Math.max(0, Math.min(now, input + PAID) - last);
    last = now;
    if (rest.now()) return;
    if (visible) for (const name of ["active_seconds", stage]) if (name) counted[name] += worked;
    counted.paid_seconds += paid;
    rest.worked(visible ? paid / 1000 : 0);
  }

  function touched() {
    count();
    input = Date.now();
    if (!asked) return;
    asked = false;
    document.title = title;
    note.clear();
    rest.again();
    back();
  }

  function look() {
    count();
    show();
    const quiet = Date.now() - input;
    if (rest.look() || quiet < PAID) return;
    const lapses = input + PAID + LEASE;
    const text = Date.now() < lapses ? fill(words.still_there, { time: clock(lapses) }) : words.still_there_late;
    if (asked === text) return;
    asked = text;
    document.title = `(!) ${title}`;
    note.say(text, [[words.here, touched]]);
  }

  const line = document.getElementById("clock") ?? element("span", { id: "clock", class: "small muted" });
  if (!line.isConnected) document.getElementById("saved").after(line);
  line.title = words.clock_about;
  const minutes = (name) => fill(words.minutes, { count: Math.floor(counted[name] / 60_000) });
  function show() {
    const text = fill(words.clock, { active: minutes("active_seconds"), paid: minutes("paid_seconds") });
    if (line.textContent !== text) line.textContent = text;
  }

  for (const kind of INPUT) listen(document, kind, touched, { passive: true, capture: true });
  listen(form, "input", rest.end);
  // The page was seen until now, or was not; coming back to it is a sign of life.
  listen(document, "visibilitychange", () => { count(document.hidden); if (!document.hidden) touched(); });
  listen(window, "pageshow", (event) => { if (event.persisted) { last = Date.now(); touched(); } });
  const looking = setInterval(look, LOOK);
  signal.addEventListener("abort", () => { clearInterval(looking); document.title = title; });
  show();

  return {
    /** Put the seconds into the form. */
    write() {
      count();
      for (const [name, value] of Object.entries(counted)) field(name).value = String(Math.round(value / 1000));
    },
    idleSeconds: () => Math.round((Date.now() - input) / 1000),
    /** Call `then` when somebody who was asked whether they are there says so. */
    onReturn(then) { back = then; },
  };
}

// --- Breaks --------------------------------------------------------------------------------------------------------------
// How long somebody has worked at a stretch goes from task to task, and so does their break.

function breakStart(form, words, note, signal) {
  const { person, breakUrl } = form.dataset;
  const key = WORK + person;
  let state = { seconds: 0, last: Date.now(), since: 0, owed: 0 };
  try { state = { ...state, ...JSON.parse(localStorage.getItem(key)) }; } catch { /* a new stretch begins */ }
  let said = "";

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* then it is forgotten with the page */ }
  }

  function say(text, buttons) {
    if (said === text) return;
    said = text;
    note.say(text, buttons, "info");
  }

  function clear() {
    if (said) note.clear();
    said = "";
  }

  function take() {
    state.since = Date.now();
    keep();
    look();
  }

  function end() {
    if (!state.since) return;
    state.owed = Math.min(BREAK, Math.round((Date.now() - state.since) / 1000));
    Object.assign(state, { since: 0, seconds: 0, last: Date.now() });
    keep();
    clear();
    pay();
  }

  async function pay() {
    if (!state.owed || !breakUrl) return;
    try {
      const response = await post(breakUrl, new URLSearchParams({ seconds: String(state.owed) }));
      if (response.status >= 500 || response.status === 401) return;
      state.owed = 0;
      keep();
    } catch { /* with the next task */ }
  }

  /** Whether the break has something to say, which stands before other notes. */
  function look() {
    if (!person || !breakUrl) return false;
    if (state.since) {
      const until = state.since + BREAK * 1000;
      say(Date.now() < until ? fill(words.break_now, { time: clock(until) }) : words.break_over, [[words.break_end, end]]);
      return true;
    }
    if (state.seconds < STRETCH) {
      clear();
      return false;
    }
    const later = () => { state.seconds = 0; keep(); clear(); };
    say(fill(words.break_offer, { minutes: STRETCH / 60 }), [[words.break_take, take], [words.break_later, later]]);
    return false;
  }

  signal.addEventListener("abort", keep);
  pay();
  look();
  return {
    now: () => Boolean(state.since),
    worked(seconds) {
      if (!seconds) return;
      if (Date.now() - state.last > PAID) state.seconds = 0; // they have rested
      state.seconds += seconds;
      state.last = Date.now();
    },
    look() { keep(); return look(); },
    /** Say it again, for something else stood in its place. */
    again() { said = ""; look(); },
    end,
  };
}
