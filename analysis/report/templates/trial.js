// Shows the details of one trial: the one that the address names or that is chosen.
const store = JSON.parse(document.getElementById("trial-details")?.textContent ?? "null");
const grids = JSON.parse(document.getElementById("grids")?.textContent ?? "{}");

/** A new element with text or elements in it; strings become text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}


/** A part of a configuration as text. */
function spell(value) {
  if (value === null || value === "") return "none";
  if (Array.isArray(value)) return value.map(spell).join(", ") || "none";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, part]) => `${name.replaceAll("_", " ")} ${spell(part)}`).join("; ");
}

/** A list of terms and values, without empty values. */
function list(pairs) {
  const present = pairs.filter(([, value]) => value);
  return make("dl", {}, ...present.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function image(path, name) {
  const src = grids[path] ?? document.querySelector(`#samples img[data-path="${CSS.escape(path)}"]`)?.src;
  const caption = src ? name : `${name}: not in this page; the store has it as ${path}`;
  const parts = src ? [make("img", { src, alt: `Grid of images. ${name}` })] : [];
  return make("figure", {}, ...parts, make("figcaption", {}, caption));
}

/** Round ticks of a logarithmic axis: the fewest that are at least three, as in the other figures. */
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

/** Draw the curve of one metric, with those of the other trials of its cell in grey. */
function curve(trial, embedding, metric, plot) {
  const peers = store.trials.filter((other) => other.cell && other.cell === trial.cell && other !== trial);
  const measurements = ({ curves }) => ({ steps: curves[embedding]?.steps ?? [], values: curves[embedding]?.metrics[metric] ?? [] });
  const rungs = [...new Set([trial, ...peers].flatMap((other) => measurements(other).steps))].sort((a, b) => a - b);
  const line = (other, style) => {
    const { steps, values } = measurements(other);
    return { x: steps.map((step) => rungs.indexOf(step)), y: values, ...style };
  };
  const grey = { x: [], y: [], mode: "lines", line: { color: "#808080", width: 1 }, opacity: 0.4, hoverinfo: "skip" };
  for (const peer of peers) {
    const { x, y } = line(peer);
    grey.x.push(...x, null);
    grey.y.push(...y, null);
  }
  const highlighted = line(trial, { mode: "lines+markers", line: { color: color("--link"), width: 3 }, marker: { size: 8 },
    hovertext: measurements(trial).steps.map((step, index) => `step ${step}: ${measurements(trial).values[index]}`), hoverinfo: "text" });
  const values = [...grey.y, ...highlighted.y].filter((value) => value !== null);
  const log = Math.min(...values) > 0 && Math.max(...values) > 3 * Math.min(...values);
  const kept = rungs.map((_, index) => index).filter((index) => (rungs.length - 1 - index) % Math.ceil(rungs.length / 9) === 0);
  const printing = document.documentElement.classList.contains("printing");
  return Plotly.react(plot, [grey, highlighted], themed({
    ...(printing && { width: plot.clientWidth }), height: 320, showlegend: false, margin: { l: 8, r: 14, t: 14, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
    xaxis: { automargin: true, tickvals: kept, ticktext: kept.map((index) => String(rungs[index])), zeroline: false,
      title: { text: "generator step" } },
    yaxis: { automargin: true, type: log ? "log" : "linear", ...(log ? logTicks(values) : { nticks: 6 }), zeroline: false,
      title: { text: store.labels[metric] } } }),
  { responsive: true, displayModeBar: false });
}

/** For each embedding, a trial's curve of a metric that can be chosen, and its measurements. */
function measured(trial) {
  return Object.entries(trial.curves).flatMap(([embedding, { steps, metrics }]) => {
    const names = Object.keys(metrics).sort((a, b) => (b === "fid") - (a === "fid") || a.localeCompare(b));
    const plot = make("div", { role: "img", "aria-label": `Curve of ${trial.name}; the table below has its numbers` });
    const options = names.map((name) => make("option", { value: name }, store.labels[name]));
    const choice = make("select", { "aria-label": "Metric of the curve" }, ...options);
    choice.addEventListener("change", () => curve(trial, embedding, choice.value, plot));
    const heads = ["step", ...names.map((name) => store.labels[name])]
      .map((name) => make("th", { scope: "col", class: "number" }, name));
    const rows = steps.map((step, index) => make("tr", {}, make("th", { scope: "row", class: "number" }, step.toLocaleString("en")),
      ...names.map((name) => make("td", { class: "number" }, metrics[name][index] ?? ""))));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    plot.draw = () => curve(trial, embedding, choice.value, plot);
    return [make("h4", {}, "Measured in the embedding ", make("code", {}, embedding)),
      make("p", { class: "pick" }, "Curve of ", choice, trial.cell ? " (grey: the other trials of its cell)" : ""), plot,
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Measurements of ${trial.name}` }, table)];
  });
}

/** Show a trial. */
function lay(trial) {
  const parent = store.trials.find((other) => other.key === trial.parent);
  const from = trial.parent && (parent ? make("a", { href: `#trial=${parent.key}` }, parent.name) : trial.parent);
  const place = document.getElementById("details");
  place.replaceChildren(
    make("h3", {}, trial.name),
    list([["Outcome", make("span", { class: `status ${trial.status}` }, trial.status)], ["Reason", trial.why],
      ["Steps", `${Math.max(0, trial.steps ?? 0).toLocaleString("en")} of ${trial.budget.toLocaleString("en")}`], ["Cost", trial.cost],
      ["Started from", from], ["Sweep", trial.sweep], ["Key", make("code", {}, trial.key)]]),
    ...measured(trial),
    ...(trial.samples ? [make("h4", {}, "Samples"), make("div", { class: "grids" }, image(trial.samples, "Its last samples"),
      ...(trial.real ? [image(trial.real, "Real images")] : []))] : []),
    make("h4", {}, "Configuration"),
    list(Object.entries(trial.config).map(([name, index]) => [name.replaceAll("_", " "), spell(store.values[index])])),
    make("h4", {}, "Environment"),
    trial.environment in store.environments ? list(store.environments[trial.environment]) : make("p", {}, "none recorded"));
  redraw();
}

const redraw = () => document.querySelectorAll("#details [role=img]").forEach((plot) => plot.draw());

function choose(key) {
  const trial = store.trials.find((other) => other.key === key);
  document.getElementById("pick").value = trial ? key : "";
  if (trial) lay(trial);
  else document.getElementById("details").replaceChildren(make("p", { class: "notice" }, `This page has no trial ${key}.`));
}

/** Show the trial that the address names, and scroll to it. */
function follow() {
  const key = new URLSearchParams(location.hash.slice(1)).get("trial");
  if (key === null) return;
  unfold("trial");
  choose(key);
  document.querySelector("#trial h2").focus({ preventScroll: true });
  document.getElementById("trial").scrollIntoView();
}

if (store) {
  const pick = document.getElementById("pick");
  pick.append(...store.trials.map((trial) => make("option", { value: trial.key }, `${trial.name} (${trial.status})`)));
  pick.addEventListener("change", () => { // the focus stays, so that the arrow keys can go on to another one
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
