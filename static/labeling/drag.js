// Dragging on the ranking board, by mouse and finger: into a place, between two places, or out of the ranking.

let library = null;

async function sortable() {
  library ??= import("../vendor/Sortable-1.15.6.min.js").then(() => window.Sortable);
  return library.catch((failed) => { library = null; throw failed; });
}

/** Make the board's boxes take each other's chips. `dropped(tiers)` gets the letters of each box; */
export async function dragStart(board, dropped, signal) {
  const Sortable = await sortable();
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let made = [];

  function end() {
    board.removeAttribute("data-dragging");
    const boxes = [...board.querySelectorAll("[data-drop]:not([data-rest])")];
    const tiers = boxes.map((box) => [...box.querySelectorAll("[data-chip]")].map((chip) => chip.dataset.chip));
    // The library still has work to do with the boxes that drawing would take away.
    setTimeout(() => { if (!signal.aborted) dropped(tiers.filter((tier) => tier.length)); });
  }

  const options = {
    group: "ranking",
    draggable: ".ranked",
    handle: ".grip, .letter",
    animation: still.matches ? 0 : 120,
    // A finger that scrolls is not a finger that drags: it has to rest on the handle first.
    delay: 120,
    delayOnTouchOnly: true,
    touchStartThreshold: 6,
    // The browser's own dragging knows no touch, and looks different everywhere.
    forceFallback: true,
    fallbackOnBody: true,
    fallbackTolerance: 3,
    emptyInsertThreshold: 12,
    onStart: () => board.setAttribute("data-dragging", ""),
    onEnd: end,
  };

  function clear() {
    for (const each of made) each.destroy();
    made = [];
  }

  function attach() {
    clear();
    made = [...board.querySelectorAll("[data-drop]")].map((box) => Sortable.create(box, options));
  }

  signal.addEventListener("abort", clear);
  return { attach };
}
