// Practice: places and the typed ranking say the same; the answer is read from its heading on.

function start(form) {
  const ranking = form.elements.namedItem("ranking");
  const places = [...form.querySelectorAll('[name^="place-"]')];
  const letters = [...new Set(places.map((radio) => radio.name.slice(-1)))];

  function write() {
    const tiers = new Map();
    for (const radio of places) {
      if (radio.checked) tiers.set(radio.value, [...(tiers.get(radio.value) ?? []), radio.name.slice(-1)]);
    }
    ranking.value = [...tiers.keys()].sort().map((place) => tiers.get(place).join("=")).join(" ");
  }

  function read() {
    let place = 0;
    let tie = false;
    const placed = new Map();
    for (const sign of ranking.value.normalize("NFKC").toUpperCase()) {
      if (sign === "=") tie = place > 0;
      if (!letters.includes(sign) || placed.has(sign)) continue;
      if (!tie) place += 1;
      placed.set(sign, String(place));
      tie = false;
    }
    for (const radio of places) radio.checked = placed.get(radio.name.slice(-1)) === radio.value;
  }

  for (const radio of places) radio.addEventListener("change", write);
  ranking.addEventListener("input", read);
  if (ranking.value) read();
}

for (const form of document.querySelectorAll("[data-practice]")) start(form);
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "answer") event.target.querySelector("#answer-head")?.focus();
});
document.getElementById("answer-head")?.focus();
