// Draws the rows of tables when they are looked at.

/** A new element with text or elements in it; strings become text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Text as the page has it (see `_parts` of analysis/report/on_demand.py), as strings and elements. */
function spans(text) {
  if (typeof text === "string") return [text];
  if (Array.isArray(text)) return text.flatMap(spans);
  const { text: words, style, href } = text;
  const plain = ["b", "i", "code"].includes(style);
  const element = style ? make(plain ? style : "span", plain ? {} : { class: style === "status" ? `status ${words}` : style }, words) : words;
  return [href ? make("a", { href }, element) : element];
}

/** Draw the rows of the folded tables within an element, those that have none yet. */
function drawTables(root) {
  for (const table of root.querySelectorAll("table[data-rows]")) {
    const heads = [...table.tHead.rows[0].cells];
    const rows = JSON.parse(written[table.dataset.rows]).map(([attributes, cells]) => make("tr", attributes, ...cells.map((text, index) => {
      const { className, dataset } = heads[index];
      const cell = make(index ? "td" : "th", { ...(className && { class: className }), ...(!index && { scope: "row" }) }, ...spans(text));
      Object.assign(cell.dataset, dataset);
      return cell;
    })));
    table.tBodies[0].append(...rows);
    table.removeAttribute("data-rows");
    if (filters) hideIn(table);
  }
}

// The table of trials: its rows are drawn as far as the reader goes, those that pass the filters and have the words that are sought.
const MORE = 500, ON_PAPER = 2000; // rows drawn at once, and rows printed
const table = document.querySelector("table.sortable");
let columns = null; // of the table; see TrialColumn of analysis/report/content/trials.py
let chosenRows = [], sorting = [null, 1];

/** A cell as text and elements. */
const cellOf = {
  status: (text) => make("span", { class: `status ${text}` }, text),
  key: (text) => make("a", { href: `#trial=${text}` }, make("code", {}, text.slice(0, 10))),
  error: (text) => make("span", { class: "error" }, text),
};

function rowAt(row) {
  return make("tr", {}, ...columns.map(({ holds, cells }) =>
    make("td", holds === "number" ? { class: "number" } : {}, cellOf[holds]?.(cells[row]) ?? cells[row])));
}

/** What the page's filters know of a row; a size without a target is that of a source. */
function subjectOf(row) {
  const [strategy, source, target, size] = ["strategy", "source", "target", "images"].map((head) => column(head).cells[row] || null);
  return { strategy, source, target, size: target && size.replaceAll(",", "") };
}
const column = (head) => columns.find((other) => other.head === head);

/** The rows that pass the filters and have all words that are sought, in the order of the heading that was pressed. */
function rowsShown() {
  const words = document.getElementById("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (row) => words.every((word) => columns.some(({ cells }) => cells[row].toLowerCase().includes(word)));
  const rows = [...columns[0].cells.keys()].filter((row) => (!filters || passes(subjectOf(row))) && (!words.length || has(row)));
  const [sorted, sign] = sorting;
  if (!sorted) return rows;
  const number = sorted.order || sorted.holds === "number";
  const value = (row) => (sorted.order ? sorted.order[row] : number && sorted.cells[row] ? Number(sorted.cells[row].replaceAll(",", "")) : sorted.cells[row]);
  const absent = (row) => sorted.cells[row] === "";
  return rows.sort((a, b) => {
    if (absent(a) || absent(b)) return absent(a) - absent(b); // missing values come last in both orders
    return sign * (number ? value(a) - value(b) : value(a).localeCompare(value(b)));
  });
}

/** Draw the table's rows anew, from the first. */
function drawRows() {
  if (!columns) return;
  chosenRows = rowsShown();
  table.tBodies[0].replaceChildren();
  drawMore(MORE);
}

function drawMore(count) {
  const body = table.tBodies[0], from = body.rows.length;
  body.append(...chosenRows.slice(from, from + count).map(rowAt));
  const [all, drawn] = [columns[0].cells.length, body.rows.length].map((number) => number.toLocaleString("en"));
  const found = chosenRows.length.toLocaleString("en");
  const words = found === all ? `${all} rows` : `${found} of ${all} rows`;
  document.querySelector(".find [role=status]").textContent = drawn === found ? words : `${words}, of which the first ${drawn} are drawn`;
}

/** Begin to draw the table from its columns, in place of its first rows. */
function beginTable(given) {
  columns = given;
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, index) => heading.firstElementChild.addEventListener("click", () => {
    sorting = [columns[index], heading.getAttribute("aria-sort") === "ascending" ? -1 : 1];
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sorting[1] === 1 ? "ascending" : "descending");
    drawRows();
  }));
  const find = document.querySelector(".find"), strip = table.closest(".scroll");
  find.hidden = false;
  find.querySelector("input").addEventListener("input", drawRows);
  strip.addEventListener("scroll", () => {
    if (strip.scrollTop + 3 * strip.clientHeight > strip.scrollHeight && table.tBodies[0].rows.length < chosenRows.length) drawMore(MORE);
  }, { passive: true });
  window.addEventListener("beforeprint", () => drawMore(ON_PAPER - table.tBodies[0].rows.length));
  drawRows();
}
