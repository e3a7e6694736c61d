// Lays out all that is known of one trial: the one that the address names, or that is chosen.
const told = JSON.parse(document.getElementById("dossiers")?.textContent ?? "null");
const grids = JSON.parse(document.getElementById("grids")?.textContent ?? "{}");

/** A new element with text or elements in it: what comes from outside is always text. */
function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

/** A part of a configuration, in words. */
function spell(value) {
  if (value === null || value === "") return "none";
  if (Array.isArray(value)) return value.map(spell).join(", ") || "none";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, each]) => `${name.replaceAll("_", " ")} ${spell(each)}`).join("; ");
}

function listed(pairs) {
  const known = pairs.filter(([, value]) => value);
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function image(path, name) {
  const src = grids[path] ?? document.querySelector(`#samples img[data-path="${CSS.escape(path)}"]`)?.src;
  const caption = src ? name : `${name}: not in this page; in the store it is ${path}`;
  const parts = src ? [make("img", { src, alt: `Grid of images. ${name}` })] : [];
  return make("figure", {}, ...parts, make("figcaption", {}, caption));
}

/** At least three round ticks of a logarithmic axis, as few as that allows, as the other figures have them. */
function logTicks(values) {
  const [low, high] = [Math.min(...values) / 1.12, Math.max(...values) * 1.12];
  let shown = [];
  for (const digits of [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]]) {
    if (shown.length > 2) break;
    shown = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++)
      shown.push(...digits.map((digit) => Number(`${digit}e${decade}`)).filter((tick) => tick >= low && tick <= high));
  }
  return { tickvals: shown, ticktext: shown.map(String) };
}

/** The curve of one metric, with those of the trial's cell behind it in grey. */
function curve(trial, embedding, metric, plot) {
  const peers = told.trials.filter((other) => other.cell && other.cell === trial.cell && other !== trial);
  const of = (one) => ({ steps: one.curves[embedding]?.steps ?? [], values: one.curves[embedding]?.metrics[metric] ?? [] });
  const rungs = [...new Set([trial, ...peers].flatMap((one) => of(one).steps))].sort((a, b) => a - b);
  const line = (one, style) => ({ x: of(one).steps.map((step) => rungs.indexOf(step)), y: of(one).values, ...style });
  const grey = { x: [], y: [], mode: "lines", line: { color: "#808080", width: 1 }, opacity: 0.4, hoverinfo: "skip" };
  for (const peer of peers) {
    const { x, y } = line(peer);
    grey.x.push(...x, null);
    grey.y.push(...y, null);
  }
  const own = line(trial, { mode: "lines+markers", line: { color: color("--link"), width: 3 }, marker: { size: 8 },
    hovertext: of(trial).steps.map((step, index) => `step ${step}: ${of(trial).values[index]}`), hoverinfo: "text" });
  const values = [...grey.y, ...own.y].filter((value) => value !== null);
  const log = Math.min(...values) > 0 && Math.max(...values) > 3 * Math.min(...values);
  const kept = rungs.map((_, index) => index).filter((index) => (rungs.length - 1 - index) % Math.ceil(rungs.length / 9) === 0);
  const printing = document.documentElement.classList.contains("printing");
  return Plotly.react(plot, [grey, own], themed({
    ...(printing && { width: plot.clientWidth }), height: 320, showlegend: false, margin: { l: 8, r: 14, t: 14, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
    xaxis: { automargin: true, tickvals: kept, ticktext: kept.map((index) => String(rungs[index])), zeroline: false,
      title: { text: "generator step" } },
    yaxis: { automargin: true, type: log ? "log" : "linear", ...(log ? logTicks(values) : { nticks: 6 }), zeroline: false,
      title: { text: told.labels[metric] } } }),
  { responsive: true, displayModeBar: false });
}

function measured(trial) {
  return Object.entries(trial.curves).flatMap(([embedding, { steps, metrics }]) => {
    const names = Object.keys(metrics).sort((a, b) => (b === "fid") - (a === "fid") || a.localeCompare(b));
    const plot = make("div", { role: "img", "aria-label": `Curve of ${trial.name}; the table beneath has its numbers` });
    const options = names.map((name) => make("option", { value: name }, told.labels[name]));
    const choice = make("select", { "aria-label": "Metric of the curve" }, ...options);
    choice.addEventListener("change", () => curve(trial, embedding, choice.value, plot));
    const heads = ["step", ...names.map((name) => told.labels[name])].map((name) => make("th", { scope: "col", class: "number" }, name));
    const rows = steps.map((step, index) => make("tr", {}, make("th", { scope: "row", class: "number" }, step.toLocaleString("en")),
      ...names.map((name) => make("td", { class: "number" }, metrics[name][index] ?? ""))));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    plot.draw = () => curve(trial, embedding, choice.value, plot);
    return [make("h4", {}, "Measured in the embedding ", make("code", {}, embedding)),
      make("p", { class: "pick" }, "Curve of ", choice, trial.cell ? " (grey: the other trials of its cell)" : ""), plot,
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Measurements of ${trial.name}` }, table)];
  });
}

function lay(trial) {
  const parent = told.trials.find((other) => other.key === trial.parent);
  const from = trial.parent && (parent ? make("a", { href: `#trial=${parent.key}` }, parent.name) : trial.parent);
  const place = document.getElementById("dossier");
  place.replaceChildren(
    make("h3", {}, trial.name),
    listed([["Outcome", make("span", { class: `status ${trial.status}` }, trial.status)], ["Reason", trial.why],
      ["Steps", `${Math.max(0, trial.steps ?? 0).toLocaleString("en")} of ${trial.budget.toLocaleString("en")}`], ["Cost", trial.cost],
      ["Started from", from], ["Sweep", trial.sweep], ["Key", make("code", {}, trial.key)]]),
    ...measured(trial),
    ...(trial.samples ? [make("h4", {}, "Samples"), make("div", { class: "grids" }, image(trial.samples, "Its last samples"),
      ...(trial.real ? [image(trial.real, "Real images")] : []))] : []),
    make("h4", {}, "Configuration"),
    listed(Object.entries(trial.config).map(([name, index]) => [name.replaceAll("_", " "), spell(told.values[index])])),
    make("h4", {}, "Environment"),
    trial.environment in told.environments ? listed(told.environments[trial.environment]) : make("p", {}, "none recorded"));
  redraw();
}

const redraw = () => document.querySelectorAll("#dossier [role=img]").forEach((plot) => plot.draw());

function choose(key) {
  const trial = told.trials.find((other) => other.key === key);
  document.getElementById("pick").value = trial ? key : "";
  if (trial) lay(trial);
  else document.getElementById("dossier").replaceChildren(make("p", { class: "notice" }, `This page has no trial ${key}.`));
}

/** Show the trial that the address names, and go there. */
function follow() {
  const key = new URLSearchParams(location.hash.slice(1)).get("trial");
  if (key === null) return;
  choose(key);
  document.querySelector("#trial h2").focus({ preventScroll: true });
  document.getElementById("trial").scrollIntoView();
}

if (told) {
  const pick = document.getElementById("pick");
  pick.append(...told.trials.map((trial) => make("option", { value: trial.key }, `${trial.name} (${trial.status})`)));
  pick.addEventListener("change", () => { // the keyboard stays, which may be on its way to another one
    if (!pick.value) return;
    choose(pick.value);
    history.pushState(null, "", `#trial=${pick.value}`);
    remember();
  });
  window.addEventListener("hashchange", follow);
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", redraw);
  window.addEventListener("afterprint", redraw);
  follow();
}
