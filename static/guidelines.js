// Guidelines and practice: search as one types, and the time that reading takes. Everything works without it.

const PAUSE = 5 * 60_000; // longest stretch without a sign of life that still counts as reading
const GLANCE = 10_000; // a panel open for less than this was opened to look up a key
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "touchstart"];
const SHORTEST = 2;

function post(url, fields) {
  const headers = JSON.parse(document.body.getAttribute("hx-headers") ?? "{}");
  return fetch(url, { method: "POST", headers, body: new URLSearchParams(fields), keepalive: true }).catch(() => {});
}

// --- Time --------------------------------------------------------------------------------------------------------------

/** Counts the time that a page is in front of somebody; `seconds()` says how many so far. */
function clock(signal) {
  let total = 0;
  let last = performance.now();
  let away = document.hidden;

  function sign() {
    const now = performance.now();
    if (!away) total += Math.min(now - last, PAUSE);
    last = now;
    away = document.hidden;
  }

  for (const name of SIGNS) document.addEventListener(name, sign, { signal, passive: true, capture: true });
  document.addEventListener("visibilitychange", sign, { signal });
  return { seconds: () => (sign(), Math.round(total / 1000)) };
}

// A page that is left may come back, so each time it is left it says how long it was read in all; the highest counts.
function timeStart(root, signal) {
  const { opening, timeUrl } = root.dataset;
  const time = clock(signal);
  const report = () => post(timeUrl, { opening, seconds: time.seconds() });
  document.addEventListener("visibilitychange", () => document.hidden && report(), { signal });
  addEventListener("pagehide", report, { signal });
  root.addEventListener("submit", () => {
    const field = root.elements?.namedItem("seconds");
    if (field) field.value = time.seconds();
  }, { signal, capture: true });
}

function seenStart(root, signal) {
  const { seenUrl, protocol } = root.dataset;
  const timer = setTimeout(() => root.isConnected && root.checkVisibility() && post(seenUrl, { protocol }), GLANCE);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

// --- Search ------------------------------------------------------------------------------------------------------------

function unmark(root) {
  for (const mark of root.querySelectorAll("mark")) {
    const parent = mark.parentNode;
    mark.replaceWith(...mark.childNodes);
    parent.normalize();
  }
}

/** Put `mark` around what `pattern` finds in the text of an element; formulas stay whole. */
function markHits(element, pattern) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("math")) texts.push(walker.currentNode);
  for (const text of texts) {
    const hits = [...text.data.matchAll(pattern)];
    for (const hit of hits.reverse()) {
      const range = document.createRange();
      range.setStart(text, hit.index);
      range.setEnd(text, hit.index + hit[0].length);
      range.surroundContents(document.createElement("mark"));
    }
  }
}

function searchStart(root, form, signal) {
  const field = form.elements.namedItem("q");
  const found = form.querySelector("[data-found]");
  let at = -1;

  function look() {
    const words = field.value.trim().split(/\s+/u).map((word) => word.replace(/[\\^$.*+?()[\]{}|]/gu, "\\$&"));
    const sought = words.join("").length >= SHORTEST;
    unmark(root);
    at = -1;
    if (sought) {
      const pattern = new RegExp(words.join("\\s+"), "giu");
      for (const element of root.querySelectorAll("[data-searched]")) markHits(element, pattern);
    }
    for (const part of root.querySelectorAll("[data-part]")) part.hidden = sought && !part.querySelector("mark");
    const count = root.querySelectorAll("mark").length;
    const { none, one, many } = form.dataset;
    found.textContent = sought ? [none, one][count] ?? many.replace("NUMBER", count) : "";
  }

  // Enter goes from hit to hit.
  function step(event) {
    event.preventDefault();
    const marks = [...root.querySelectorAll("mark")];
    if (!marks.length) return;
    marks[at]?.removeAttribute("data-at");
    at = (at + 1) % marks.length;
    marks[at].dataset.at = "";
    marks[at].scrollIntoView({ block: "center" });
  }

  field.addEventListener("input", look, { signal });
  form.addEventListener("submit", step, { signal });
  if (field.value) look();
}

// --- Start -------------------------------------------------------------------------------------------------------------

/** Start what is in `root`; `signal` ends it. */
export function guidelinesStart(root, signal = new AbortController().signal) {
  if ("started" in root.dataset) return;
  root.dataset.started = "";
  const search = root.querySelector("[data-search]");
  if (search) searchStart(root, search, signal);
  if (root.dataset.opening) timeStart(root, signal);
  if (root.dataset.seenUrl) seenStart(root, signal);
}

const startAll = () => document.querySelectorAll("[data-reading]").forEach((root) => guidelinesStart(root));
startAll();
// A panel comes later, and may come again, when this script is not run a second time.
new MutationObserver(startAll).observe(document.body, { childList: true, subtree: true });
