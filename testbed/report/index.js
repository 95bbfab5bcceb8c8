"use strict";
// The table of runs: sorted by a click on a column's title, filtered by words and verdicts. Without this it is a table.
(() => {
  const table = document.getElementById("runs");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const titles = [...table.tHead.rows[0].cells];
  const tools = document.getElementById("tools");
  const find = tools.querySelector("input[type=search]");
  const boxes = [...tools.querySelectorAll("input[type=checkbox]")];
  const count = tools.querySelector("output");

  const value = (row, at, by) => {
    const cell = row.cells[at];
    return by === "number" ? Number(cell.dataset.value) : cell.textContent.toLowerCase();
  };
  const sort = (at) => {
    const title = titles[at];
    const way = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of titles) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    const keyed = rows.map((row) => [value(row, at, title.dataset.by), row]);
    keyed.sort(([one], [other]) => way * (one < other ? -1 : one > other ? 1 : 0));
    body.append(...keyed.map(([, row]) => row));
  };
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.has(row.dataset.shown) && words.every((word) => text.includes(word)));
      left += row.hidden ? 0 : 1;
    }
    count.textContent = `${left} of ${rows.length}`;
  };

  titles.forEach((title, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => sort(at));
  });
  for (const box of boxes) box.addEventListener("change", filter);
  find.addEventListener("input", filter);
  tools.hidden = false;
  filter();
})();
