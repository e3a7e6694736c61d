// Filters of the whole page by target, size, strategy and source. The address keeps them, so that a view can be shared.
const kinds = ["target", "size", "strategy", "source", "paper"];
const off = Object.fromEntries(kinds.map((kind) => [kind, new Set()]));
const filters = document.querySelector(".filters");
const choices = [...document.querySelectorAll(".key button[data-kind]")];
const namesOf = (kind) => [...new Set(choices.filter((choice) => choice.dataset.kind === kind).map((choice) => choice.dataset.name))];

/** Whether a subject with a target, size, strategy and source, or some of them, is visible. */
function passes(subject) {
  return kinds.every((kind) => subject[kind] == null || !off[kind].has(String(subject[kind])));
}

/** The filters in words, for the bar. */
function describe() {
  const plural = { target: "targets", size: "sizes", strategy: "strategies", source: "sources" };
  const words = Object.keys(plural).filter((kind) => off[kind].size).map((kind) => {
    const all = namesOf(kind), shown = all.filter((name) => !off[kind].has(name));
    return shown.length === 1 ? `${kind} ${shown[0]}` : `${shown.length || "no"} of ${all.length} ${plural[kind]}`;
  });
  const paper = off.paper.size ? ["without the paper's numbers"] : [];
  return [...(words.length ? [`only ${words.join(", ")}`] : []), ...paper].join(", ") || "everything is shown";
}

/** Hide what does not pass within an element, except panels, which also depend on their traces. */
function hideIn(root) {
  for (const element of root.querySelectorAll(kinds.map((kind) => `[data-${kind}]:not(.panel)`).join())) {
    element.hidden = !passes(element.dataset);
  }
}

function apply() {
  for (const choice of choices) choice.setAttribute("aria-pressed", String(!off[choice.dataset.kind].has(choice.dataset.name)));
  hideIn(document.getElementById("main"));
  drawRows();
  filters.querySelector("[role=status]").textContent = describe();
  filters.querySelector(".reset").hidden = !filtered();
  return drawAll();
}

const filtered = () => kinds.some((kind) => off[kind].size);

/** Write the filters to the address, after the trials if it names any. */
function remember() {
  const trial = [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name === "trial" || name === "beside");
  const hidden = kinds.flatMap((kind) => [...off[kind]].map((name) => [`hide-${kind}`, name]));
  const kept = String(new URLSearchParams([...trial, ...hidden]));
  history.replaceState(null, "", kept ? `#${kept}` : location.href.split("#")[0]);
}

/** Read the filters from the address; without any in it, as in a link to a section or a trial, they stay. */
function recall() {
  if (!location.hash.includes("hide-")) return false;
  const hidden = new URLSearchParams(location.hash.slice(1));
  for (const kind of kinds) off[kind] = new Set(hidden.getAll(`hide-${kind}`).filter((name) => namesOf(kind).includes(name)));
  return true;
}

function change(edit) {
  edit();
  remember();
  apply();
}

if (filters) {
  for (const choice of choices) choice.addEventListener("click", () => change(() => {
    const { kind, name } = choice.dataset;
    if (!off[kind].delete(name)) off[kind].add(name);
  }));
  for (const button of filters.querySelectorAll("[data-every]")) {
    button.addEventListener("click", () => change(() => off[button.dataset.every].clear()));
  }
  for (const button of filters.querySelectorAll("[data-none]")) {
    button.addEventListener("click", () => change(() => { off[button.dataset.none] = new Set(namesOf(button.dataset.none)); }));
  }
  filters.querySelector(".reset").addEventListener("click", () => change(() => kinds.forEach((kind) => off[kind].clear())));
  window.addEventListener("hashchange", () => {
    if (recall()) apply();
    else if (filtered()) remember();
  });
  recall();
}
