"use strict";
// Beside the ladder: what is known of the packet that has the focus. In the list: a filter. All else is HTML and CSS.
(() => {
  const panel = document.getElementById("inspector");
  const title = panel.querySelector("b");
  const link = panel.querySelector("a");
  const place = panel.querySelector("div");
  let chosen = null;

  const cardOf = (hash) => {
    const anchor = document.getElementById(hash.slice(1));
    return anchor && anchor.closest(".packets details");
  };
  const shown = () => [...document.querySelectorAll("#ladder a.row")].filter((row) => row.getClientRects().length);

  const close = () => {
    panel.hidden = true;
    if (chosen) chosen.classList.remove("chosen");
    chosen = null;
  };
  const inspect = (row) => {
    const card = cardOf(row.getAttribute("href"));
    if (!card) return;
    close();
    chosen = row;
    row.classList.add("chosen");
    title.textContent = row.getAttribute("aria-label");
    link.setAttribute("href", row.getAttribute("href"));
    const copy = card.querySelector(".about").cloneNode(true);
    for (const marked of copy.querySelectorAll("[id]")) marked.removeAttribute("id");
    place.replaceChildren(copy);
    panel.hidden = false;
    const covered = row.getBoundingClientRect().bottom - panel.getBoundingClientRect().top + 24;
    if (covered > 0) window.scrollBy(0, covered);
  };
  const move = (step) => {
    const rows = shown();
    const next = rows[rows.indexOf(chosen) + step];
    if (next) next.focus();
  };

  document.getElementById("ladder").addEventListener("click", (event) => {
    const row = event.target.closest("a.row");
    if (!row) return;
    event.preventDefault();
    row.focus();
    inspect(row);
  });
  document.getElementById("ladder").addEventListener("focusin", (event) => {
    const row = event.target.closest("a.row");
    if (row) inspect(row);
    else close();
  });
  document.addEventListener("keydown", (event) => {
    if (!chosen || panel.hidden) return;
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    }
  });
  panel.querySelector("button").addEventListener("click", close);
  link.addEventListener("click", close);

  const open = () => {
    const card = location.hash && cardOf(location.hash);
    if (card) card.open = true;
  };
  window.addEventListener("hashchange", open);
  open();

  const tools = document.getElementById("tools");
  if (!tools) return;
  const cards = [...document.querySelectorAll(".packets details")];
  const lines = cards.map((card) => card.firstElementChild.textContent.toLowerCase());
  const find = tools.querySelector("input");
  const count = tools.querySelector("output");
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    cards.forEach((card, at) => {
      card.hidden = !words.every((word) => lines[at].includes(word));
      left += card.hidden ? 0 : 1;
    });
    count.textContent = `${left} of ${cards.length}`;
  });
  tools.hidden = false;
})();
