// Small behaviour shared by all pages. Everything works without it, only less comfortably.
"use strict";
(() => {
  const says = document.body.dataset; // words in the language of the page: templates/components/words.html
  const OFFLINE = says.saysOffline;

  function notify(text, level) {
    const region = document.getElementById("messages");
    if (!region || [...region.querySelectorAll("p")].some((old) => old.textContent === text)) return;
    const notice = document.createElement("div");
    notice.className = "notice";
    notice.dataset.level = level;
    const line = document.createElement("p");
    line.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.dataset.dismiss = "";
    close.textContent = says.saysClose;
    notice.append(line, close);
    region.append(notice);
  }

  function forget(text) {
    for (const line of document.querySelectorAll("#messages p")) {
      if (line.textContent === text) line.closest(".notice").remove();
    }
  }

  async function copy(button) {
    const source = document.querySelector(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
      button.textContent = says.saysCopied;
    } catch {
      source.select?.();
      button.textContent = says.saysCopy;
    }
    setTimeout(() => (button.textContent = label), 2000);
  }

  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) menu.open = false;
    }
  }

  document.addEventListener("click", (event) => {
    closeMenus(event.target.closest("details.menu"));
    event.target.closest("[data-dismiss]")?.closest(".notice").remove();
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.querySelector("details.menu[open] summary")?.focus();
    closeMenus(null);
  });

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  document.addEventListener("htmx:sendError", () => notify(OFFLINE, "error"));
  document.addEventListener("htmx:afterOnLoad", () => forget(OFFLINE));
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (status === 401 || status === 403) notify(says.saysSignedOut, "error");
    else notify(`${says.saysFailed} ${status}`, "error");
  });

  // On a phone a row of tabs is longer than the window: show where one is.
  for (const here of document.querySelectorAll(".tabs [aria-current]")) here.scrollIntoView({ block: "nearest", inline: "center" });

  document.querySelector("[aria-invalid='true']")?.focus();
})();
