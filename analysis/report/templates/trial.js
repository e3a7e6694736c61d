// Shows the details of one trial, or of two side by side: those that the address names or that are chosen.
let store = null; // the trials as objects, and what they share
const grids = JSON.parse(document.getElementById("grids")?.textContent ?? "{}");

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

/** Draw the curve of one metric of a trial and of the one beside it, with those of the other trials of its cell in grey. */
function curve(trial, beside, embedding, metric, plot) {
  const peers = store.trials.filter((other) => other.cell && other.cell === trial.cell && other !== trial && other !== beside);
  const measurements = ({ curves }) => ({ steps: curves[embedding]?.steps ?? [], values: curves[embedding]?.metrics[metric] ?? [] });
  const shown = beside ? [trial, beside] : [trial];
  const rungs = [...new Set([...shown, ...peers].flatMap((other) => measurements(other).steps))].sort((a, b) => a - b);
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
  const highlighted = shown.map((other, index) => line(other, { mode: "lines+markers", marker: { size: 8 },
    line: { color: color(index ? "--second" : "--link"), width: 3, dash: index ? "8px,3px" : "solid" }, hoverinfo: "text",
    hovertext: measurements(other).steps.map((step, at) => `${other.name}<br>step ${step}: ${measurements(other).values[at]}`) }));
  const values = [...grey.y, ...highlighted.flatMap(({ y }) => y)].filter((value) => value != null);
  const log = Math.min(...values) > 0 && Math.max(...values) > 3 * Math.min(...values);
  const kept = rungs.map((_, index) => index).filter((index) => (rungs.length - 1 - index) % Math.ceil(rungs.length / 9) === 0);
  const printing = document.documentElement.classList.contains("printing");
  return Plotly.react(plot, [grey, ...highlighted.toReversed()], themed({
    ...(printing && { width: plot.clientWidth }), height: 320, showlegend: false, margin: { l: 8, r: 14, t: 14, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
    xaxis: { automargin: true, tickvals: kept, ticktext: kept.map((index) => String(rungs[index])), zeroline: false,
      title: { text: "generator step" } },
    yaxis: { automargin: true, type: log ? "log" : "linear", ...(log ? logTicks(values) : { nticks: 6 }), zeroline: false,
      title: { text: store.labels[metric] } } }),
  { responsive: true, displayModeBar: false });
}

/** A table of a trial's measurements in an embedding. */
function measurementsOf(trial, { steps, metrics }, names) {
  const heads = ["step", ...names.map((name) => store.labels[name])]
    .map((name) => make("th", { scope: "col", class: "number" }, name));
  const rows = steps.map((step, index) => make("tr", {}, make("th", { scope: "row", class: "number" }, step.toLocaleString("en")),
    ...names.map((name) => make("td", { class: "number" }, metrics[name]?.[index] ?? ""))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Measurements of ${trial.name}` }, table);
}

/** For each embedding, the curves of a metric that can be chosen, and the measurements. */
function measured(trial, beside) {
  return Object.entries(trial.curves).flatMap(([embedding, own]) => {
    const names = Object.keys(own.metrics).sort((a, b) => (b === "fid") - (a === "fid") || a.localeCompare(b));
    const plot = make("div", { role: "img", "aria-label": `Curve of ${trial.name}; the table below has its numbers` });
    const options = names.map((name) => make("option", { value: name }, store.labels[name]));
    const choice = make("select", { "aria-label": "Metric of the curve" }, ...options);
    plot.draw = () => curve(trial, beside, embedding, choice.value, plot);
    choice.addEventListener("change", plot.draw);
    const other = beside?.curves[embedding];
    return [make("h4", {}, "Measured in the embedding ", make("code", {}, embedding)),
      make("p", { class: "pick" }, "Curve of ", choice, trial.cell ? " (grey: the other trials of its cell)" : ""), plot,
      ...(other ? [make("p", { class: "small first-trial" }, trial.name)] : []), measurementsOf(trial, own, names),
      ...(other ? [make("p", { class: "small second-trial" }, beside.name), measurementsOf(beside, other, names)] : [])];
  });
}

/** What is known of a trial, as pairs of a term and its value. */
function facts(trial) {
  const parent = store.trials.find((other) => other.key === trial.parent);
  const from = trial.parent && (parent ? make("a", { href: `#trial=${parent.key}` }, parent.name) : trial.parent);
  return [["Outcome", make("span", { class: `status ${trial.status}` }, trial.status)], ["Reason", trial.why],
    ["Steps", `${Math.max(0, trial.steps ?? 0).toLocaleString("en")} of ${trial.budget.toLocaleString("en")}`], ["Cost", trial.cost],
    ["Started from", from], ["Sweep", trial.sweep], ["Key", make("code", {}, trial.key)]];
}

/** A link to a trial beside scratch with the same seed in its cell; nothing without one. */
function besideScratch(trial) {
  const seed = trial.name.match(/, seed \d+$/)?.[0];
  const scratch = store.trials.find((other) => trial.cell && other.cell === trial.cell && other.name.startsWith("scratch: ")
    && other.name.endsWith(seed) && other !== trial);
  return scratch ? [make("p", {}, make("a", { href: `#trial=${trial.key}&beside=${scratch.key}` }, "Beside scratch with the same seed"))] : [];
}

const configuration = (trial) =>
  Object.entries(trial.config).map(([name, index]) => [name.replaceAll("_", " "), spell(store.values[index])]);

/** A table of two lists of pairs, in bold where they differ, or with those rows alone. */
function sideBySide(names, first, second, all = true) {
  const [left, right] = [new Map(first), new Map(second)];
  const text = (value) => value?.textContent ?? value ?? "";
  const differs = (name) => text(left.get(name)) !== text(right.get(name));
  const terms = [...new Set([...left.keys(), ...right.keys()])].filter((name) => (left.get(name) || right.get(name)) && (all || differs(name)));
  const rows = terms.map((name) => {
    const values = [left.get(name) ?? "", right.get(name) ?? ""];
    const cells = values.map((value) => make("td", {}, all && differs(name) ? make("b", {}, value) : value));
    return make("tr", {}, make("th", { scope: "row" }, name), ...cells);
  });
  const heads = ["", ...names].map((name, index) => make("th", { scope: "col", class: ["", "first-trial", "second-trial"][index] }, name));
  return make("table", { class: "two" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
}

/** Show a trial, with another one beside it if there is one. */
function lay(trial, beside) {
  const both = beside && [facts(trial), facts(beside)];
  const place = document.getElementById("details");
  place.replaceChildren(
    make("h3", {}, beside ? "Two trials, in bold where they differ" : trial.name),
    beside ? sideBySide([trial.name, beside.name], ...both) : list(facts(trial)),
    ...(beside ? [] : besideScratch(trial)),
    ...samples(beside ? [trial, beside] : [trial]),
    ...measured(trial, beside),
    make("h4", {}, beside ? "Configuration, where it differs" : "Configuration"),
    beside ? sideBySide([trial.name, beside.name], configuration(trial), configuration(beside), false) : list(configuration(trial)),
    make("h4", {}, beside ? `Environment of ${trial.name}` : "Environment"),
    trial.environment in store.environments ? list(store.environments[trial.environment]) : make("p", {}, "none recorded"));
  watch(place);
  redraw();
}

const redraw = () => document.querySelectorAll("#details [role=img]").forEach((plot) => plot.draw());

/** The trials whose keys begin with the given one, or the one that has it. */
function named(key) {
  const exact = store.trials.find((trial) => trial.key === key);
  return exact ? [exact] : key ? store.trials.filter((trial) => trial.key.startsWith(key)) : [];
}

/** Show the trial with a key, or the only one whose key begins with it, and another one beside it. */
function choose(key, other) {
  const [found, others] = [named(key), named(other ?? "")];
  const trial = found.length === 1 ? found[0] : null;
  const second = others.length === 1 && others[0] !== trial ? others[0] : null;
  chosen.value = trial?.key ?? "";
  besides.value = second?.key ?? "";
  besides.disabled = !trial;
  if (trial) return lay(trial, second);
  const words = found.length ? `${found.length} trials of this page have a key that begins with ${key}: ` : `This page has no trial ${key}.`;
  const links = found.slice(0, 5).flatMap(({ key: whole }) => [make("a", { href: `#trial=${whole}` }, make("code", {}, whole)), " "]);
  document.getElementById("details").replaceChildren(make("p", { class: "notice" }, words, ...links));
}

/** Show the trials that the address names, and scroll to them. */
function follow() {
  const address = new URLSearchParams(location.hash.slice(1));
  if (address.get("trial") === null) return;
  unfold("trial");
  choose(address.get("trial"), address.get("beside"));
  document.querySelector("#trial h2").focus({ preventScroll: true });
  document.getElementById("trial").scrollIntoView();
}

const [chosen, besides] = ["pick", "beside"].map((id) => document.getElementById(id));

/** The trials as objects, from columns; see `details` of analysis/report/content/trials.py. */
function fromColumns({ trials, curves, config, ...shared }) {
  const part = (place) => (list) => [list[0], list[1][place]];
  const present = ([, value]) => value != null;
  const measured = (place) => Object.fromEntries(Object.entries(curves).filter(([, { of }]) => of[place] != null)
    .map(([name, { steps, of, metrics }]) => [name, { steps: steps[of[place]],
      metrics: Object.fromEntries(Object.entries(metrics).map(part(place)).filter(present)) }]));
  const objects = trials.key.map((_, place) => ({
    ...Object.fromEntries(Object.entries(trials).map(part(place)).filter(present)),
    config: Object.fromEntries(Object.entries(config).map(part(place)).filter(present)),
    get curves() { return measured(place); } }));
  return { trials: objects, ...shared };
}

/** Let trials be chosen. */
function begin() {
  for (const select of [chosen, besides]) {
    select.append(...store.trials.map((trial) => make("option", { value: trial.key }, `${trial.name} (${trial.status})`)));
    select.addEventListener("change", () => { // the focus stays, so that the arrow keys can go on to another one
      if (!chosen.value) return;
      choose(chosen.value, besides.value);
      history.pushState(null, "", `#trial=${chosen.value}${besides.value ? `&beside=${besides.value}` : ""}`);
      remember();
    });
  }
  window.addEventListener("hashchange", follow);
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", redraw);
  window.addEventListener("afterprint", redraw);
  follow();
}

unpackElement("trials-packed").then((text) => {
  if (!text) return;
  const { table: given, ...rest } = JSON.parse(text);
  store = fromColumns(rest);
  beginTable(given);
  begin();
}).finally(() => { if (filters) apply(); });
