// Draws the figures in the colours of the page's theme, keeps them in step with the key, and sorts the table of trials.
"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function theme(layout) {
    const update = { "font.color": color("--ink"), "font.family": getComputedStyle(document.body).fontFamily, "font.size": 12.5,
      "hoverlabel.bgcolor": color("--panel"), "hoverlabel.bordercolor": color("--line"), "hoverlabel.font.color": color("--ink") };
    for (const axis of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      update[`${axis}.color`] = color("--soft");
      update[`${axis}.gridcolor`] = color("--grid");
      update[`${axis}.linecolor`] = color("--line");
      update[`${axis}.tickcolor`] = color("--line");
      update[`${axis}.tickfont.color`] = color("--soft");
      update[`${axis}.title.font.color`] = color("--soft");
      update[`${axis}.fixedrange`] = true; // no zoom: a drag scrolls the page
    }
    return update;
  }

  async function draw(plot) {
    const data = plot.querySelector("script");
    if (!data) return; // drawn for a printer meanwhile
    const figure = JSON.parse(data.textContent);
    plot.textContent = "";
    await Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displayModeBar: false });
    await Plotly.relayout(plot, theme(plot.layout));
  }

  async function drawAll() {
    for (const plot of plots) {
      await draw(plot);
      await new Promise((done) => setTimeout(done)); // the page stays responsive while many are drawn
    }
    document.documentElement.dataset.drawn = "yes";
  }

  const repaint = () => plots.forEach((plot) => plot.layout && Plotly.relayout(plot, theme(plot.layout)));
  dark.addEventListener("change", repaint);

  // On paper the page has one width and light colours, nothing is folded, and what is not drawn yet is drawn at once.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
    for (const plot of plots) {
      draw(plot);
      Plotly.relayout(plot, { ...theme(plot.layout), width: plot.clientWidth });
    }
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    for (const each of folded) each.open = false;
    for (const plot of plots) Plotly.relayout(plot, { ...theme(plot.layout), width: null, autosize: true });
  });

  // The key is one filter for all figures: an entry that is off hides its strategy or source everywhere.
  const off = { strategy: new Set(), source: new Set() };
  const shown = (trace) => !(trace.meta && (off.strategy.has(trace.meta.strategy) || off.source.has(trace.meta.source)));
  const entries = [...document.querySelectorAll(".key button")];
  for (const entry of entries) {
    entry.addEventListener("click", () => {
      const { kind, name } = entry.dataset;
      if (!off[kind].delete(name)) off[kind].add(name);
      for (const twin of entries) twin.setAttribute("aria-pressed", String(!off[twin.dataset.kind].has(twin.dataset.name)));
      for (const plot of plots) if (plot.data) Plotly.restyle(plot, { visible: plot.data.map(shown) });
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const value = (row) => { const cell = row.cells[column]; return cell.dataset.sort ?? cell.textContent; };
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last, either way
        return sign * (heading.classList.contains("number") || column === 0 ? x - y : x.localeCompare(y));
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    }));
  }

  if (plots.length) drawAll();
})();
