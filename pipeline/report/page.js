// Interaction: sort and filter tables, hover over charts, select runs. Without scripts the page shows the same content.
"use strict";

const read = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};

// --- tables

const value = (row, column) => {
  const text = row.cells[column].innerText.replaceAll("−", "-").replaceAll(",", "").trim();
  return Number.isNaN(parseFloat(text)) ? text : parseFloat(text);
};

const order = (table, heading) => {
  const rising = heading.getAttribute("aria-sort") === "descending" || (!heading.ariaSort && heading.classList.contains("place"));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, heading.cellIndex), row]);
  rows.sort(([a], [b]) => (a === b ? 0 : (typeof a === typeof b ? a > b : typeof a === "string") === rising ? 1 : -1));
  table.tBodies[0].append(...rows.map(([, row]) => row));
};

const filter = (table, words) => {
  for (const row of table.tBodies[0].rows) {
    const text = ` ${row.textContent.toLowerCase().replace(/\s+/g, " ")}`;
    row.hidden = !words.toLowerCase().split(/\s+/).every((word) => text.includes(` ${word}`));
  }
};

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.innerHTML = `<button type="button">${heading.innerHTML}</button>`;
    heading.firstChild.addEventListener("click", () => order(table, heading));
  }
  const search = Object.assign(document.createElement("input"), { type: "search", placeholder: "Filter, e.g. adam 512" });
  search.setAttribute("aria-label", "Filter the rows of this table");
  search.addEventListener("input", () => filter(table, search.value));
  table.parentElement.before(search);
}

// --- charts

const fitted = (spec, width) => {
  const legend = Math.max(2, Math.min(8, Math.floor(width / 95)));
  const own = JSON.parse(JSON.stringify(spec).replaceAll('"columns":8', `"columns":${legend}`));
  if (own.facet) {
    const panels = new Set(own.data.values.map((row) => row.panel)).size;
    own.columns = Math.max(1, Math.min(own.columns, panels, Math.floor(width / 230)));
    own.spec.width = Math.min(320, Math.floor(width / own.columns) - 55);
  } else if (own.hconcat && width < 900) {
    own.vconcat = own.hconcat;
    delete own.hconcat;
    for (const part of own.vconcat) part.width = Math.min(420, width - 95);
  }
  return own;
};

const points = ([epochs, training, heldOut]) => Object.entries({ training, "held out": heldOut }).flatMap(([samples, [losses, accuracies]]) =>
  epochs.map((epoch, i) => ({ samples, epoch, loss: losses[i], accuracy: accuracies[i] })));

const explore = (view, runs, curves) => {
  const list = document.getElementById("run"), link = document.getElementById("run-link");
  const show = (run) => {
    const to = curves[run.key].at(-1);
    list.value = `${run.name}, ${run.panel}`;
    link.hidden = !to;
    if (to) link.href = to;
    document.getElementById("run-figures").textContent =
      `gap ${run.gap.toFixed(2)} points, held out ${run.held_out.toFixed(2)} %, test ${run.test.toFixed(2)} %`;
    view.data("points", points(curves[run.key])).run();
  };
  const named = Object.fromEntries(runs.map((run) => [`${run.name}, ${run.panel}`, run]));
  document.getElementById("runs").replaceChildren(...Object.keys(named).map((name) => new Option("", name)));
  list.onchange = () => named[list.value] && show(named[list.value]);
  view.addEventListener("click", (event, item) => item?.datum?.key && show(item.datum));
  document.getElementById("chosen").hidden = false;
  show(named[list.value] ?? runs.find((run) => run.key === view.data("run_store")[0].values[0]));
};

const draw = async (specs, curves) => {
  delete document.documentElement.dataset.drawn;
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  for (const [name, spec] of Object.entries(specs)) {
    const place = document.querySelector(`#${name} .chart`);
    if (!place) continue;
    const options = { mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1, tooltip: { theme } };
    const { view } = await vegaEmbed(place, fitted(spec, place.parentElement.clientWidth), options);
    if (name === "explorer") explore(view, spec.hconcat[0].data.values, curves);
  }
  document.documentElement.dataset.drawn = "yes";
};

(async () => {
  if (!document.getElementById("vega") || !window.DecompressionStream) return;
  const [code, data] = await Promise.all([read("vega"), read("data")]);
  document.head.append(Object.assign(document.createElement("script"), { textContent: code }));
  const { specs, curves } = JSON.parse(data);
  let width = innerWidth;
  await draw(specs, curves);
  addEventListener("resize", () => {
    if (Math.abs(innerWidth - width) > 60 && (width = innerWidth)) draw(specs, curves);
  });
})();
