// Choosing a key by pressing it. Without this script the fields take the key's name.

const LONE = new Set(["Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock", "Dead", "Process", "Unidentified"]);

/** The key as it is stored: modifiers, then the key as the browser names it; letters small, signs without Shift. */
function keyOf(event) {
  const single = [...event.key].length === 1;
  const letter = single && event.key.toLowerCase() !== event.key.toUpperCase();
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Control");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (letter || !single)) parts.push("Shift");
  parts.push(letter ? event.key.toLowerCase() : event.key);
  return parts.join("+");
}

function start(form) {
  const heard = form.querySelector("[data-heard]");
  for (const row of form.querySelectorAll("[data-shortcut]")) {
    const field = row.querySelector("input");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn-small";
    const rest = () => (button.textContent = form.dataset.press);
    const name = row.querySelector("label").textContent;
    button.setAttribute("aria-description", name);
    rest();
    button.addEventListener("click", () => {
      button.dataset.listening = "";
      heard.textContent = button.textContent = form.dataset.pressed;
    });
    button.addEventListener("blur", () => {
      delete button.dataset.listening;
      rest();
    });
    button.addEventListener("keydown", (event) => {
      if (!("listening" in button.dataset) || event.isComposing || LONE.has(event.key) || event.key === "Tab") return;
      event.preventDefault();
      event.stopPropagation();
      delete button.dataset.listening;
      rest();
      if (event.key === "Escape") return;
      field.value = keyOf(event);
      heard.textContent = `${name}: ${field.value}`;
    });
    row.querySelector(".shortcut-key").append(button);
  }
}

for (const form of document.querySelectorAll("[data-shortcuts]")) start(form);
