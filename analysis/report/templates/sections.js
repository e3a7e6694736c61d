// Sections and details can be folded: a phone begins with those folded that only some readers need. A link to one unfolds it.
"use strict";
function unfold(id) {
  const details = document.getElementById(id)?.querySelector(":scope > details");
  if (details) details.open = true;
}
if (window.matchMedia("(max-width: 600px)").matches) {
  for (const details of document.querySelectorAll("details[data-folded]")) details.open = false;
}
for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => unfold(link.hash.slice(1)));
window.addEventListener("hashchange", () => unfold(location.hash.slice(1)));
unfold(location.hash.slice(1));

// What is wider than its place fades out at an edge with more beyond it.
const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => fade(target)));
function fade(strip) {
  strip.classList.toggle("before", strip.scrollLeft > 2);
  strip.classList.toggle("after", strip.scrollWidth - strip.clientWidth - strip.scrollLeft > 2);
}
function watch(root) {
  for (const strip of root.querySelectorAll(".scroll, .panels, .grids, nav")) {
    sizes.observe(strip);
    strip.addEventListener("scroll", () => fade(strip), { passive: true });
  }
}
watch(document);
