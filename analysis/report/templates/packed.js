// Unpacks data that the page has compressed; see analysis/report/packed.py.

/** The text that was packed; without a timer, so that a page that is printed as soon as it is loaded has it. */
async function unpack(text) {
  const packed = atob(text), bytes = new Uint8Array(packed.length);
  for (let index = 0; index < packed.length; index++) bytes[index] = packed.charCodeAt(index);
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  Promise.all([writer.write(bytes), writer.close()]).catch(() => {});
  const parts = [], reader = stream.readable.getReader(), decoder = new TextDecoder();
  for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(decoder.decode(part.value, { stream: true }));
  return parts.join("");
}

/** The text of a script element of the page, unpacked; null without one. */
const unpackElement = async (id) => {
  const element = document.getElementById(id);
  return element && unpack(element.textContent.trim());
};

// A file that a link saves is a compressed one without scripts.
for (const link of document.querySelectorAll("a[download$='.gz']")) {
  const name = link.download.replace(/\.gz$/, ""), text = link.href.split(",")[1];
  link.download = name;
  link.addEventListener("click", async (event) => {
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    link.href = URL.createObjectURL(new Blob([await unpack(text)], { type: "text/csv" }));
    link.click();
  });
}
if (!window.DecompressionStream) {
  const words = "The figures and the details of trials need a browser of 2023 or later. The text, tables and images do not.";
  document.getElementById("main").prepend(make("p", { class: "notice" }, words));
}
