// Runs before the first paint, so that a chosen theme never flashes. "" follows the system.
"use strict";
(() => {
  const KEY = "prefloop-theme";
  const THEMES = ["", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      const theme = localStorage.getItem(KEY) || "";
      return THEMES.includes(theme) ? theme : "";
    } catch {
      return ""; // storage is blocked: follow the system
    }
  }

  function apply(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  function describe(button, theme) {
    const name = button.dataset[theme || "system"];
    button.querySelector("span").textContent = name;
    button.title = name;
    const icon = button.querySelector("use");
    const sprite = icon.getAttribute("href").split("#")[0];
    icon.setAttribute("href", `${sprite}#${{ "": "contrast", light: "sun", dark: "moon" }[theme]}`);
  }

  function next(button) {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme || "") + 1) % THEMES.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // storage is blocked: the choice holds for this page
    }
    apply(theme);
    describe(button, theme);
  }

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.hidden = false;
      describe(button, stored());
      button.addEventListener("click", () => next(button));
    }
  });
})();
