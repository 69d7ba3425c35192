// What is entered reaches the server: drafts within a second, one at a time, until it has them; the submit, whose answer
// brings the next task; heartbeats that keep the seat. What the server has not acknowledged waits in the browser.
import { element, post, token } from "./keeping.js";

export { element, fill } from "./keeping.js";

const PAUSE = 400; // after the last change, but never later than LATEST after the first
const LATEST = 800;
const BEAT = 30_000;
const AHEAD_AFTER = 20_000;
const LANDING = 1500; // for a draft that is under way when the answer is submitted

/** Send this task's form until `signal` ends it. `show(form, ahead, notice)` puts the next one in its place. */
export function sendingStart(form, words, { kept, ranking, time, status, ahead, show, signal }) {
  const listen = (target, kinds, heard) => kinds.forEach((kind) => target.addEventListener(kind, heard, { signal }));
  const opened = Date.now();
  let base = Number(form.dataset.revision); // the server's draft as this page knows it
  let attempted = kept.revision; // of the last draft sent, whether its answer arrived or not
  let adopted = kept.adopted;
  let changed = 0; // counts changes
  let saved = 0; // that many of them the server has
  let since = 0; // when the first change was made that it has not
  let timer = null;
  let flight = null;
  let landed = Promise.resolve();
  let failures = 0;
  let beaten = Date.now();
  let outdated = false; // another tab or device is ahead: stop overwriting it
  let finished = false;
  let asked = false; // for the next task
  let stored = true;

  // -- Drafts

  function bodyNow(submitter) {
    time.write();
    const body = new FormData(form, submitter);
    for (const [name, value] of Object.entries({ base, adopted, ahead: ahead?.task ?? "" })) body.set(name, value);
    return body;
  }

  function keep(submitting = false) {
    time.write();
    stored = kept.keep({ base, revision: attempted, adopted, submitting });
  }

  function touched() {
    changed += 1;
    since ||= Date.now();
    keep();
    if (outdated || finished || !form.dataset.draftUrl) return; // a correction keeps no drafts
    status.unsaved(stored);
    if (!flight && !failures) schedule(Math.min(PAUSE, Math.max(0, since + LATEST - Date.now())));
    askAhead();
  }

  function schedule(delay) {
    clearTimeout(timer);
    timer = setTimeout(save, delay);
  }

  function draftBody() {
    attempted = Math.max(attempted, base) + 1;
    const body = bodyNow();
    body.set("revision", attempted);
    return body;
  }

  async function save() {
    clearTimeout(timer);
    timer = null;
    if (outdated || finished || flight || signal.aborted || !form.dataset.draftUrl) return;
    const upTo = changed;
    since = 0;
    flight = new AbortController();
    let land = null;
    landed = new Promise((resolve) => { land = resolve; });
    try {
      await answered(await post(form.dataset.draftUrl, draftBody(), flight.signal), upTo);
    } catch {
      failed(upTo);
    } finally {
      flight = null;
      land();
      if (changed > saved && !failures && !outdated && !finished && !timer) schedule(since ? PAUSE : 0);
    }
  }

  async function answered(response, upTo) {
    if (finished) return;
    if (response.status === 401 || response.status >= 500 || response.status === 429) { failed(upTo, response.status); return; }
    failures = 0;
    const isJson = response.headers.get("Content-Type")?.includes("json");
    const answer = isJson ? await response.json() : {};
    if (response.ok && answer.saved_at) {
      base = Math.max(base, answer.revision);
      adopted = [];
      saved = upTo;
      beaten = Date.now();
      if (changed === saved) kept.drop(); else keep();
      status.saved(answer.saved_at, answer.seat === "held", changed > saved);
      heldAhead(answer);
      return;
    }
    saved = upTo; // said no to these changes: the next one asks again
    keep();
    outdated = response.status === 409;
    if (outdated) status.outdated(answer.problem ?? words.elsewhere);
    else status.say(answer.problem ?? words.refused, "bad");
  }

  function failed(upTo, code = 0) {
    if (finished || signal.aborted) return;
    failures += 1;
    if (code === 401) status.signedOut();
    else status.say(navigator.onLine ? words.trying : words.offline, "warn");
    schedule(Math.min(1000 * 2 ** (failures - 1), 8000));
  }

  function atOnce() {
    if (changed === saved || outdated || finished) return;
    failures = 0;
    schedule(0);
  }

  // -- The next task, reserved

  async function askAhead() {
    const due = ranking?.isComplete?.() || Date.now() - opened >= AHEAD_AFTER;
    if (asked || ahead || finished || !due || !form.dataset.aheadUrl) return;
    asked = true;
    try {
      const headers = { "X-Requested-With": "fetch" };
      const response = await fetch(form.dataset.aheadUrl, { headers, redirect: "manual", signal });
      if (response.status === 200) ahead = taskIn(await response.text());
      else if (response.status !== 204) asked = false;
    } catch { asked = false; }
  }

  function heldAhead(answer) {
    if (answer.ahead !== "gone") return;
    ahead = null;
    asked = false;
  }

  // -- The seat

  async function beat() {
    if (finished || !form.dataset.heartbeatUrl || Date.now() - beaten < BEAT * 0.8) return;
    beaten = Date.now();
    try {
      const beat = new URLSearchParams({ idle_seconds: String(time.idleSeconds()), ahead: ahead?.task ?? "" });
      const response = await post(form.dataset.heartbeatUrl, beat, signal);
      if (finished || signal.aborted) return;
      if (response.status === 401) status.signedOut();
      if (!response.ok) return;
      const answer = await response.json();
      status.signedIn();
      status.seat(answer.seat === "held");
      heldAhead(answer);
    } catch { /* drafts and submits say that the server is away */ }
  }

  // -- Submit, skip, report, ask: the form stays until the server has answered; a lost answer is asked for again with
  // the same slip, under which the server stores once.

  async function submit(event) {
    event.preventDefault();
    if (finished) return;
    const submitter = event.submitter;
    const action = submitter?.getAttribute("formaction") ?? form.action;
    finished = true;
    failures = 0;
    clearTimeout(timer);
    keep(true);
    form.setAttribute("aria-busy", "true");
    status.say(words.sending);
    await Promise.race([landed, pause(LANDING)]); // one request at a time
    flight?.abort();
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        const response = await post(action, bodyNow(submitter), signal);
        if (response.status === 401) status.signedOut();
        else if (response.status < 500 && response.status !== 429) { await taken(response, submitter); return; }
        else status.say(words.sending_again, "warn");
      } catch {
        if (!signal.aborted) status.say(navigator.onLine ? words.sending_again : words.offline, "warn");
      }
      if (!signal.aborted) await pause(Math.min(1000 * 2 ** attempt, 10_000));
    }
  }

  // Waits, but not once the browser is online again or the person comes back to this tab.
  function pause(delay) {
    return new Promise((resolve) => {
      const wait = setTimeout(resolve, delay);
      const wake = () => { clearTimeout(wait); setTimeout(resolve, 50); };
      window.addEventListener("online", wake, { once: true, signal });
      document.addEventListener("visibilitychange", wake, { once: true, signal });
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  async function taken(response, submitter) {
    const next = submitter?.dataset.next ?? form.dataset.next;
    const how = response.headers.get("X-Show");
    if (response.type === "opaqueredirect" || how === "none") { kept.dropAll(); window.location.assign(next); return; }
    if (!response.ok) { refused(response.status, await response.text()); return; }
    if (!how) { finished = false; stays(submitter); return; }
    const notice = decodeURIComponent(response.headers.get("X-Notice") ?? "");
    const found = taskIn(await response.text());
    const shown = how === "ahead" ? ahead : found;
    if (!shown) { window.location.assign(next); return; }
    kept.dropAll();
    const following = how === "ahead" ? found : shown.task === form.dataset.task ? ahead : null;
    show(shown.form, following, notice);
  }

  // A report or a question that leaves the task where it is.
  function stays(submitter) {
    form.removeAttribute("aria-busy");
    const box = submitter?.closest("details, dialog, [popover]");
    for (const field of box?.querySelectorAll("textarea, input[type=text]") ?? []) field.value = "";
    if (box?.open) box.tagName === "DIALOG" ? box.close() : (box.open = false);
    status.thank(words.sent);
    touched();
  }

  // The form stays exactly as it is; above it stands what the server said about it.
  function refused(code, html) {
    finished = false;
    form.removeAttribute("aria-busy");
    const answer = new DOMParser().parseFromString(html, "text/html");
    const [problems] = ["[data-focus]", "main [role=alert]", "main", "body"].map((place) => answer.querySelector(place)).filter(Boolean);
    for (const old of form.querySelectorAll("[data-focus]")) old.remove();
    const notice = element("div", { class: "notice", "data-tone": problems.dataset.tone ?? "bad", role: "alert", tabindex: "-1", "data-focus": "" });
    notice.append(...problems.childNodes);
    if (code === 409) notice.append(element("a", { class: "btn", href: form.dataset.next }, words.to_next));
    form.prepend(notice);
    markProblems(answer);
    notice.focus();
    status.say(words.not_submitted, "bad");
    outdated ||= code === 409;
    if (!outdated) { changed += 1; schedule(0); }
  }

  function markProblems(answer) {
    for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
    for (const bad of answer.querySelectorAll("[aria-invalid=true]")) {
      const name = bad.name ?? bad.querySelector("[name]")?.name;
      const [here] = name ? form.querySelectorAll(`[name="${CSS.escape(name)}"]`) : [];
      (here?.type === "radio" ? here.closest("fieldset") : here)?.setAttribute("aria-invalid", "true");
    }
  }

  // -- Listening

  listen(form, ["input"], touched);
  listen(form, ["submit"], submit);
  listen(window, ["online", "focus"], atOnce);
  listen(document, ["visibilitychange"], () => { if (document.hidden ? !failures : true) atOnce(); });
  listen(window, ["pagehide"], () => {
    if (changed === saved || finished || outdated || !form.dataset.draftUrl) return;
    const body = draftBody();
    keep();
    body.set("csrfmiddlewaretoken", token());
    navigator.sendBeacon(form.dataset.draftUrl, body);
  });
  listen(window, ["beforeunload"], (event) => { if (changed > saved && !stored && !finished) event.preventDefault(); });
  time.onReturn(() => { beaten = 0; beat(); });
  const beating = [setInterval(beat, BEAT), setTimeout(askAhead, AHEAD_AFTER)];
  signal.addEventListener("abort", () => { beating.forEach(clearInterval); clearTimeout(timer); flight?.abort(); });

  if (kept.restored) { touched(); status.say(words.restored_here, "warn"); }
  else if (kept.strange.length) status.strange(kept.takeStrange, kept.dropStrange);
}

/** The task's form in a piece of HTML, or null. */
function taskIn(html) {
  const form = new DOMParser().parseFromString(html, "text/html").getElementById("task");
  return form ? { task: form.dataset.task, form: document.adoptNode(form) } : null;
}
