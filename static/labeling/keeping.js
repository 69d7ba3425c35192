// What the server has not acknowledged waits in the browser's localStorage, until it has or 30 days have passed.
// An entry belongs to one person, one task and one opening of the page. `base` is the revision of the server's draft that
// it grew from: what the server has beyond that, unless the same page wrote it, was entered elsewhere.

const PREFIX = "prefloop:unsent:";
const DAYS = 30;
const CHARACTERS = 300_000;
// Of the form, but not of what was entered.
const APART = new Set(["csrfmiddlewaretoken", "seating", "revision", "page", "stage", "ahead"]);

// --- What the other modules use too ----------------------------------------------------------------------------------

/** An element with attributes and children. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A sentence with its {names} filled in. */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** The hour and minute of a moment, in the page's language, as the person's country writes it. */
export function clock(moment) {
  const language = (document.documentElement.lang || "en").split("-")[0];
  const place = navigator.languages.find((each) => each.split("-")[0] === language) ?? language;
  return new Date(moment).toLocaleTimeString(place, { hour: "2-digit", minute: "2-digit" });
}

/** The token against forged requests. Signing in, also in another tab, changes it: the cookie counts, not the page. */
export const token = () =>
  /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? document.querySelector("[name=csrfmiddlewaretoken]").value;

const PATIENCE = 20_000;

/** POST to the server. A redirect is not followed: reading the next page here would take its seat and its messages. */
export async function post(url, body, signal) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), PATIENCE);
  signal?.addEventListener("abort", () => limit.abort(), { once: true });
  body.set("csrfmiddlewaretoken", token());
  try {
    const headers = { "X-Requested-With": "fetch" };
    return await fetch(url, { method: "POST", body, headers, redirect: "manual", signal: limit.signal });
  } finally {
    clearTimeout(timer);
  }
}

// --- Entries -------------------------------------------------------------------------------------------------------------

function keys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch { return []; }
}

function read(key) {
  try {
    const entry = JSON.parse(localStorage.getItem(key));
    if (Array.isArray(entry.fields) && Array.isArray(entry.adopted) && Date.now() - entry.at < DAYS * 86_400_000) return { ...entry, key };
  } catch { /* half of one */ }
  drop(key);
  return null;
}

const all = () => keys().map(read).filter(Boolean).sort((one, other) => other.at - one.at);

const ofPerson = (person) => (person ? all().filter((entry) => entry.person === person) : []);

function drop(key) {
  try { localStorage.removeItem(key); } catch { /* nothing was kept */ }
}

// The oldest give way where there is too much. Returns whether it is kept.
function write({ key, ...entry }) {
  const text = JSON.stringify(entry);
  let room = CHARACTERS - text.length;
  if (room < 0) return false;
  try {
    for (const other of all()) {
      if (other.key === key) continue;
      room -= localStorage.getItem(other.key).length;
      if (room < 0) drop(other.key);
    }
    localStorage.setItem(key, text);
    return true;
  } catch { return false; }
}

/**
 * What this browser has of the form: filled in, unless the server's draft was changed elsewhere since.
 *
 * Returns `page` (a name for this opening), `adopted` (the openings whose work goes on here: what they sent as they
 * closed may arrive late), `revision` (the last one that was sent), `restored`, `strange` (entries that the newer draft
 * is not made of), and how to keep more.
 */
export function keptOpen(form) {
  const { person, task, stage = "", draftUrl: url } = form.dataset;
  const page = [...crypto.getRandomValues(new Uint32Array(3))].map((part) => part.toString(36)).join("");
  const key = `${PREFIX}${person}:${task}:${page}`;
  const field = form.elements.page ?? form.appendChild(element("input", { type: "hidden", name: "page" }));
  const before = { page: field.value, revision: Number(form.dataset.revision) };
  const mine = () => ofPerson(person).filter((entry) => entry.task === task);
  field.value = page;

  const strange = [];
  let former = null;
  for (const entry of mine()) {
    if (entry.stage !== stage && entry.base < before.revision) drop(entry.key); // the server took that stage
    else if (!former && (entry.base === before.revision || [entry.page, ...entry.adopted].includes(before.page))) former = entry;
    else strange.push(entry);
  }
  if (former) fillIn(form, former.fields);

  return {
    page,
    adopted: former ? [former.page, ...former.adopted].slice(0, 9) : [],
    revision: Math.max(before.revision, former?.revision ?? 0),
    restored: Boolean(former),
    strange: former ? [] : strange,
    /** Keep the form as it stands; says whether that worked. */
    keep({ base, revision, adopted, submitting }) {
      if (!person || !url) return false;
      const entered = [...new FormData(form)].filter(([name, value]) => !APART.has(name) && typeof value === "string");
      const seating = form.elements.seating.value;
      const at = Date.now();
      const grown = { page, stage, base, revision, adopted };
      const done = write({ key, person, task, url, seating, ...grown, submitting, at, fields: entered });
      if (done && former && former.key !== key) drop(former.key);
      return done;
    },
    /** The server has all of it. */
    drop() {
      drop(key);
      if (former) drop(former.key);
    },
    /** The task is done with: nothing of it is wanted any more, from whichever tab. */
    dropAll: () => mine().forEach((entry) => drop(entry.key)),
    /** Put the newest strange entry on top of the server's draft, when the page opens again. */
    takeStrange() {
      write({ ...strange[0], base: before.revision, refused: false, at: Date.now() });
      window.location.reload();
    },
    dropStrange: () => strange.forEach((entry) => drop(entry.key)),
  };
}

function fillIn(form, entered) {
  const values = new Map();
  for (const [name, value] of entered) values.set(name, [...(values.get(name) ?? []), value]);
  for (const field of form.elements) {
    if (!field.name || APART.has(field.name) || field.type === "submit") continue;
    const given = values.get(field.name) ?? [];
    if (["radio", "checkbox"].includes(field.type)) field.checked = given.includes(field.value);
    else if (given.length) field.value = given[0];
  }
}

/** Send what the person entered into tasks that are not on the page. What the server says no to is not sent again. */
export async function keptSend(form) {
  for (const entry of ofPerson(form.dataset.person)) {
    if (entry.task === document.getElementById("task").dataset.task || entry.refused) continue;
    const { seating, page, base, adopted, stage } = entry;
    const body = new FormData();
    for (const [name, value] of entry.fields) body.append(name, value);
    const apart = { seating, page, base, adopted, revision: entry.revision + 1, ...(stage ? { stage } : {}) };
    for (const [name, value] of Object.entries(apart)) body.set(name, value);
    try {
      const response = await post(entry.url, body);
      if (response.ok || (entry.submitting && response.status === 409)) drop(entry.key);
      else if (response.status >= 500 || response.status === 401 || response.status === 429) return;
      else write({ ...entry, refused: true });
    } catch { return; }
  }
}
