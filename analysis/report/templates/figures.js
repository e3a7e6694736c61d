// Draws the figures in the colours of the page's theme, with the traces and points that pass the filters.
const plots = [...document.querySelectorAll(".plot")];
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A layout in the colours of the theme. */
function themed(layout) {
  const axes = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name)).map((name) => [name, {
    ...layout[name], color: color("--soft"), gridcolor: color("--grid"), linecolor: color("--line"), tickcolor: color("--line"),
    tickfont: { color: color("--soft") }, fixedrange: true, // no zoom: a drag scrolls the page
    title: { ...layout[name].title, font: { color: color("--soft"), size: 12.5 } } }]);
  return { ...layout, ...Object.fromEntries(axes),
    font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12.5 },
    hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } } };
}

const pick = (list, kept) => (Array.isArray(list) ? kept.map((index) => list[index]) : list);

/** The part of a trace that passes the filters: points, or rows and columns of a map; null for nothing. */
function part(trace) {
  const { points, whole, grid, ...all } = trace.meta ?? {};
  if (!passes(all) || (whole && !whole.every(passes))) return null;
  const indices = (list) => [...list.keys()].filter((index) => passes(list[index]));
  if (points) {
    const kept = indices(points);
    const lists = Object.fromEntries(["x", "y", "hovertext"].map((name) => [name, pick(trace[name], kept)]));
    return kept.length ? { ...trace, ...lists } : null;
  }
  if (grid) {
    const [rows, columns] = [indices(grid.rows), indices(grid.columns)];
    if (!rows.length || !columns.length) return null;
    const lists = Object.fromEntries(["z", "text", "hovertext"].map(
      (name) => [name, rows.map((row) => pick(trace[name][row], columns))]));
    return { ...trace, ...lists, x: [...columns.keys()], y: [...rows.keys()] };
  }
  return trace;
}

/** A figure's layout without the labels of hidden parts; the height of a map fits its rows. */
function partLayout(figure) {
  const layout = { ...figure.layout };
  const grid = figure.data[0].meta?.grid;
  if (grid) {
    const fit = (axis, list) => {
      const kept = [...list.keys()].filter((index) => passes(list[index]));
      layout[axis] = { ...layout[axis], tickvals: [...kept.keys()], ticktext: pick(layout[axis].ticktext, kept) };
      return list.length - kept.length;
    };
    layout.height -= grid.height * fit("yaxis", grid.rows);
    fit("xaxis", grid.columns);
  }
  const labels = layout.meta?.labels;
  if (labels) layout.annotations = layout.annotations?.filter((_, index) => passes(labels[index]));
  return layout;
}

const figures = new Map(); // by plot: the whole figure, and the part that is drawn

let written = []; // every figure, and the rows of folded tables, as JSON
const read = unpackElement("on-demand").then((text) => { written = text?.split("\n") ?? []; });

/** Hide a figure without visible parts; return whether it is visible. */
function show(plot) {
  if (!figures.has(plot)) figures.set(plot, { whole: JSON.parse(written[plot.dataset.figure]) });
  const figure = figures.get(plot);
  figure.data = figure.whole.data.map(part);
  const panel = plot.closest(".panel");
  panel.hidden = !passes(panel.dataset) || !figure.data.some(Boolean);
  return !panel.hidden;
}

/** Draw the visible part of a figure, as wide as its container or as given. */
function draw(plot, width) {
  const { whole, data } = figures.get(plot);
  const layout = { ...themed(partLayout(whole)), ...(width && { width }) };
  return Plotly.react(plot, data.filter(Boolean), layout, { responsive: true, displayModeBar: false });
}

let lastCall = 0; // an earlier call that is still drawing stops
async function drawAll() {
  const call = ++lastCall;
  document.documentElement.dataset.drawn = "no";
  await read;
  const distance = (plot) => {
    const box = plot.getBoundingClientRect();
    return box.bottom < 0 ? -box.bottom : Math.max(0, box.top);
  };
  const visible = plots.filter((plot) => !plot.closest("details:not([open])") && show(plot) && plot.clientWidth).sort((a, b) => distance(a) - distance(b)); // those on the screen come first, folded ones later
  for (const plot of visible) {
    const figure = figures.get(plot);
    const state = JSON.stringify([figure.data.map((trace) => trace && [trace.x, trace.y, trace.z]), dark.matches, plot.clientWidth]);
    if (figure.drawn === state) continue;
    await draw(plot);
    figure.drawn = state;
    await new Promise((done) => setTimeout(done)); // the page stays responsive while many are drawn
    if (call !== lastCall) return;
  }
  document.documentElement.dataset.drawn = "yes";
}

dark.addEventListener("change", () => drawAll());
for (const details of document.querySelectorAll("details:has(.plot)")) details.addEventListener("toggle", () => drawAll());
for (const details of document.querySelectorAll("details:has(table[data-rows])")) details.addEventListener("toggle", () => {
  if (details.open) read.then(() => drawTables(details));
});

// On paper the page has one width and light colours, nothing is folded, and figures not drawn yet are drawn immediately.
let folded = [];
window.addEventListener("beforeprint", () => {
  lastCall += 1;
  document.documentElement.classList.add("printing");
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
  drawTables(document);
  for (const plot of plots.filter(show)) draw(plot, plot.clientWidth);
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  for (const details of folded) details.open = false;
  for (const figure of figures.values()) figure.drawn = undefined;
  drawAll();
});
