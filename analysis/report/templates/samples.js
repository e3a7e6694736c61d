// The samples of one trial or of two at the rungs that the page has them of, chosen by a slider.

/** The address of a stored grid, as the page has it. */
const gridAt = (path) => grids[path] ?? document.querySelector(`img[data-path="${CSS.escape(path)}"]`)?.src;

/** A trial's grids in the page by step; the name of a grid has its step. */
function gridsByStep(trial) {
  if (!trial.samples) return new Map();
  const stem = trial.samples.match(/^(.*-)\d{8}\.png$/)?.[1];
  const steps = [...new Set(Object.values(trial.curves).flatMap((curves) => curves.steps)), trial.steps];
  const paths = steps.map((step) => [step, step === trial.steps ? trial.samples : `${stem}${String(step).padStart(8, "0")}.png`]);
  return new Map(paths.map(([step, path]) => [step, gridAt(path)]).filter(([, src]) => src).sort(([a], [b]) => a - b));
}

/** A trial's FID at a step, in words. */
function fidAt(trial, step) {
  const curves = Object.values(trial.curves)[0];
  const value = curves?.metrics.fid?.[curves.steps.indexOf(step)];
  return value == null ? "" : `, FID ${value}`;
}

function picture(name, src, absent) {
  const image = src ? [make("img", { src, alt: `Grid of images. ${name}` })] : [];
  const caption = make("figcaption", {}, src ? name : `${name}: not in this page; the store has it as ${absent}`);
  return make("figure", {}, ...image, caption);
}

/** The grids of trials at one step, with a slider over the steps, and the real images. */
function samples(trials) {
  const stored = trials.filter((trial) => trial.samples);
  if (!stored.length) return [];
  const byTrial = stored.map((trial) => [trial, gridsByStep(trial)]);
  const steps = [...new Set(byTrial.flatMap(([, images]) => [...images.keys()]))].sort((a, b) => a - b);
  const real = stored.find((trial) => trial.real)?.real;
  const place = make("div", { class: "grids pair" });
  const shown = make("output", {});
  const show = (step) => {
    shown.textContent = `step ${step.toLocaleString("en")}`;
    place.replaceChildren(...byTrial.flatMap(([trial, images]) => {
      const own = [...images.keys()].filter((other) => other <= step).at(-1) ?? [...images.keys()][0];
      const name = trials.length > 1 ? trial.name : "Its samples";
      const title = own === undefined ? name : `${name}, step ${own.toLocaleString("en")}${fidAt(trial, own)}`;
      const nearest = own === trial.steps ? gridAt(trial.samples.replace(/\.png$/, "-nearest.png")) : undefined;
      const copied = nearest ? [picture("Nearest training images, at the same places", nearest)] : [];
      return [picture(title, images.get(own), trial.samples), ...copied];
    }), ...(real ? [picture("Real images", gridAt(real), real)] : []));
  };
  const slider = make("input", { type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, "aria-label": "Step of the samples" });
  slider.addEventListener("input", () => show(steps[slider.value]));
  show(steps.at(-1) ?? 0);
  return [make("h4", {}, "Samples"), ...(steps.length > 1 ? [make("p", { class: "pick slider" }, slider, shown)] : []), place];
}
