// The labeling page: drafts, lease, ranking board, keys. Without it the form still works by itself.
"use strict";
(() => {
  const form = document.getElementById("task");
  if (!form) return;
  const letters = [...form.dataset.letters];
  const saved = document.getElementById("saved");
  const opened = Date.now();
  const before = { active: Number(form.elements.active_seconds.value), paid: Number(form.elements.paid_seconds.value) };
  let attempted = Number(form.dataset.revision); // revision of the last draft sent, whether its answer arrived or not
  let outdated = false; // another tab is ahead of this one: stop overwriting it
  let lastInput = Date.now();
  let idle = 0; // seconds cut from the paid time: no input for more than ten minutes
  let active = 0;
  let waiting = null;
  let sending = false;
  let dirty = false;
  let finished = false;
  let signedOut = false;

  function say(text, tone = "") {
    signedOut = false;
    saved.textContent = text;
    saved.dataset.tone = tone;
  }

  function saySignedOut() {
    if (signedOut) return;
    say("", "warn");
    signedOut = true;
    const link = element("a", { href: form.dataset.loginUrl, target: "_blank", rel: "noopener" }, "Sign in again in another tab");
    saved.append(element("span", {}, "You were signed out. ", link, "; your answer is kept here."));
  }

  const sayAway = () => say("The server does not answer. Your answer is kept here and sent again…", "warn");

  // Signing in, also in another tab, changes the token: what the cookie says now counts, not what the page came with.
  const token = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? form.elements.csrfmiddlewaretoken.value;

  // A redirect is not followed: reading the next page here would take its seat and its messages.
  function send(url, body) {
    body.set("csrfmiddlewaretoken", token());
    return fetch(url, { method: "POST", body, headers: { "X-Requested-With": "fetch" }, redirect: "manual" });
  }

  // --- Time ------------------------------------------------------------------------------------------------------
  setInterval(() => {
    const quiet = (Date.now() - lastInput) / 1000;
    if (quiet < 60 && document.visibilityState === "visible") active += 1;
    if (quiet > 600) idle += 1;
    form.elements.active_seconds.value = String(before.active + active);
    form.elements.paid_seconds.value = String(before.paid + Math.round((Date.now() - opened) / 1000) - idle);
  }, 1000);

  // --- Drafts: each change within a second, one request at a time, again until the server has it --------------------
  function draft() {
    noteFirstOrder();
    const body = new FormData(form);
    body.set("revision", String(++attempted));
    return body;
  }

  async function save() {
    waiting = null;
    if (outdated) return;
    if (sending || finished) { dirty = true; return; }
    sending = true;
    dirty = false;
    try {
      const response = await send(form.dataset.draftUrl, draft());
      if (response.ok) {
        const answer = await response.json();
        const time = new Date(answer.saved_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
        if (answer.seat === "held") say(`Saved ${time}`, "good");
        else say(`Saved ${time}. The task was given to somebody else; you may still submit.`, "warn");
      } else if (response.status === 401) {
        saySignedOut();
        later();
      } else if (response.status < 500) {
        outdated = response.status === 409;
        const isJson = response.headers.get("Content-Type")?.includes("json");
        say(isJson ? (await response.json()).problem : "This draft cannot be saved. Reload the page.", "bad");
      } else {
        again();
      }
    } catch {
      again();
    } finally {
      sending = false;
      if (dirty) schedule(0);
    }
  }

  function again() {
    say("Not saved yet, trying again…", "warn");
    later();
  }

  function later() {
    dirty = false;
    if (!waiting) waiting = setTimeout(save, 3000);
  }

  function schedule(delay = 400) {
    if (finished) return;
    clearTimeout(waiting);
    waiting = setTimeout(save, delay);
  }

  function touched() { lastInput = Date.now(); }
  for (const kind of ["pointerdown", "keydown", "wheel", "scroll"]) document.addEventListener(kind, touched, { passive: true });
  form.addEventListener("input", () => { touched(); schedule(); });

  // --- Lease -------------------------------------------------------------------------------------------------------
  setInterval(async () => {
    const idleSeconds = String(Math.round((Date.now() - lastInput) / 1000));
    try {
      const response = await send(form.dataset.heartbeatUrl, new URLSearchParams({ idle_seconds: idleSeconds }));
      if (response.status === 401) saySignedOut();
      else if (response.ok && signedOut) say("You are signed in again.", "good");
    } catch { /* drafts and submits say that the server is away */ }
  }, 30000);

  // --- Ranking board -----------------------------------------------------------------------------------------------
  const input = document.getElementById("ranking");
  const board = document.getElementById("tiers");
  const order = document.getElementById("order");

  function read() {
    if (!input) return [];
    const seen = new Set();
    const compact = input.value.toUpperCase().replace(/\s*=\s*/g, "=");
    const tiers = compact.split(/[\s,>;]+/).map((part) =>
      part.split("=").filter((letter) => letters.includes(letter) && !seen.has(letter) && seen.add(letter)));
    return tiers.filter((tier) => tier.length);
  }

  const unplaced = (tiers) => letters.filter((letter) => !tiers.flat().includes(letter));

  const written = (tiers) => tiers.filter((tier) => tier.length).map((tier) => tier.join("=")).join(" ");

  // The first complete order is kept beside the last: with two completions, the first preference that stood for a moment.
  function noteFirstOrder() {
    const first = form.elements.first_ranking;
    if (first.value) return;
    const tiers = read();
    if (input) first.value = unplaced(tiers).length ? "" : written(tiers);
    else first.value = preferred();
  }

  function preferred() {
    const steps = [...form.querySelectorAll('input[name="preference"]')];
    const step = steps.findIndex((radio) => radio.checked);
    if (step < 0) return "";
    if (steps.length === 9 && step === 4) return "A=B";
    return step < 4 ? "A B" : "B A";
  }

  function write(tiers) {
    input.value = written(tiers);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Moves one letter: up and down go to the next tier (out of a tie first), "tie" joins the tier above.
  function move(letter, how) {
    const tiers = read();
    const at = tiers.findIndex((tier) => tier.includes(letter));
    if (at < 0) { tiers.push([letter]); write(tiers); return; }
    const alone = tiers[at].length === 1;
    tiers[at] = tiers[at].filter((other) => other !== letter);
    if (how === "remove") { write(tiers); return; }
    if (how === "tie") {
      if (at === 0) tiers[0] = [letter, ...tiers[0]]; else tiers[at - 1].push(letter);
    } else if (how === "up") {
      tiers.splice(alone ? Math.max(at - 1, 0) : at, 0, [letter]);
    } else {
      tiers.splice(alone ? at + 2 : at + 1, 0, [letter]);
    }
    write(tiers);
  }

  const ORDINALS = ["1st", "2nd", "3rd"];
  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function button(letter, how, label, mark) {
    return element("button", { type: "button", class: "btn-quiet btn-icon btn-small", "data-move": how, "data-letter": letter, "aria-label": label, title: label }, mark);
  }

  function ranked(letter, place) {
    const chip = element("span", { class: "ranked" }, element("span", { class: "letter" }, letter));
    chip.append(button(letter, "up", `Rank ${letter} higher`, "↑"), button(letter, "down", `Rank ${letter} lower`, "↓"));
    if (form.dataset.ties === "yes" && place > 0) chip.append(button(letter, "tie", `${letter} is about equal to the one above`, "="));
    return chip;
  }

  function draw() {
    if (!input) return;
    const focus = document.activeElement?.dataset?.move ? { ...document.activeElement.dataset } : null;
    const tiers = read();
    const rest = unplaced(tiers);
    const list = element("ol", { class: "tiers" });
    tiers.forEach((tier, place) => list.append(element("li", { class: "tier" },
      element("span", { class: "tier-name" }, ORDINALS[place] ?? `${place + 1}th`),
      element("div", { class: "tier-items" }, ...tier.map((letter) => ranked(letter, place))))));
    if (rest.length) {
      list.append(element("li", { class: "tier tier-unranked" },
        element("span", { class: "tier-name" }, "Not ranked"),
        element("div", { class: "tier-items" }, ...rest.map((letter) =>
          element("button", { type: "button", class: "btn-small", "data-move": "add", "data-letter": letter, "aria-label": `Rank ${letter} next` }, element("span", { class: "letter" }, letter))))));
    }
    board.replaceChildren(list);
    board.hidden = false;
    order.textContent = tiers.map((tier) => tier.join(" = ")).join(" > ");
    noteFirstOrder();
    if (focus) (board.querySelector(`[data-letter="${focus.letter}"][data-move="${focus.move}"]`) ?? board.querySelector(`[data-letter="${focus.letter}"]`))?.focus();
  }

  if (input) {
    input.addEventListener("input", draw);
    board.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-move]");
      if (pressed) move(pressed.dataset.letter, pressed.dataset.move);
    });
    draw();
  }

  // --- Keys: J and K choose a completion, digits rate it, R ranks, Ctrl+Enter submits ----------------------------------
  let current = -1;
  function choose(index) {
    current = (index + letters.length) % letters.length;
    for (const card of form.querySelectorAll(".completion")) card.removeAttribute("aria-current");
    const card = document.getElementById(`completion-${letters[current]}`);
    card.setAttribute("aria-current", "true");
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  function rate(digit) {
    const radio = form.querySelector(`input[name="likert-${letters[Math.max(current, 0)]}"][value="${digit}"]`);
    if (!radio) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(document.getElementById("submit")); return; }
    const target = event.target;
    if (event.key === "Enter" && target.name === "note") { event.preventDefault(); return; } // the reason is a button
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("textarea, select, input:not([type=radio])")) return;
    const key = event.key.toLowerCase();
    if (key === "j") choose(current + 1);
    else if (key === "k") choose(current < 0 ? -1 : current - 1);
    else if (key === "r" && input) { event.preventDefault(); input.focus(); }
    else if (/^[1-9]$/.test(key)) { if (current < 0) choose(0); rate(key); }
  });

  // --- Submit: the form stays until the server has answered; a lost answer is asked for again under the same key --------
  form.addEventListener("submit", async (event) => {
    const action = event.submitter?.getAttribute("formaction") ?? form.action;
    const next = event.submitter?.dataset.next ?? form.dataset.next;
    event.preventDefault();
    if (finished) return;
    finished = true;
    clearTimeout(waiting);
    say("Sending…");
    noteFirstOrder();
    const body = new FormData(form, event.submitter);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await send(action, body);
        if (response.type === "opaqueredirect") { window.location.assign(next); return; }
        if (response.status === 401) saySignedOut();
        else if (response.status < 500) { show(await response.text()); return; }
        else sayAway();
      } catch { sayAway(); }
      await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 2 ** attempt, 10000)));
    }
  });

  // Replaces the document by the server's answer: the form with its problems, or the reason why it was not taken.
  function show(html) {
    const answer = new DOMParser().parseFromString(html, "text/html");
    const problems = answer.querySelector("[data-focus]") ?? answer.querySelector("main");
    finished = false;
    for (const old of form.querySelectorAll("[data-focus]")) old.remove();
    const notice = element("div", { class: "notice", "data-tone": "bad", role: "alert", tabindex: "-1", "data-focus": "" });
    notice.append(...problems.childNodes);
    form.prepend(notice);
    notice.focus();
    say("Not submitted", "bad");
    schedule(0);
  }

  window.addEventListener("pagehide", () => {
    if (!waiting || finished || outdated) return;
    const body = draft();
    body.set("csrfmiddlewaretoken", token());
    navigator.sendBeacon(form.dataset.draftUrl, body);
  });
})();
