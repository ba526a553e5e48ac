"use strict";
// Pages work without this script; it adds keys, what an address means, and the live tail.

for (const link of document.querySelectorAll("header nav a")) {
  const path = new URL(link.href).pathname;
  const here = location.pathname;
  if (path === here || (path === "/" && here.startsWith("/zones/")) || (path === "/incident" && here.startsWith("/runs/"))) link.setAttribute("aria-current", "page");
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  const field = document.querySelector("[data-focus]");
  if (field) { event.preventDefault(); field.focus(); }
});

// What an AAAA value means: its whole form and its reverse name, as it is written.
for (const form of document.querySelectorAll("[data-record]")) {
  const value = form.querySelector("[data-value]");
  const type = form.querySelector("[name=rdtype]");
  const told = form.querySelector("[data-told]");
  let last = 0;
  const look = async () => {
    const number = ++last;
    if (type.value !== "AAAA" || !value.value.includes(":")) { told.textContent = ""; return; }
    const response = await fetch("/address?value=" + encodeURIComponent(value.value)).catch(() => null);
    if (number !== last) return;
    if (!response || !response.ok || response.redirected) { told.textContent = "The server does not say: it is away, or your session has ended."; return; }
    const found = await response.json();
    if (found.fault) { told.textContent = found.fault; return; }
    const pointer = found.pointer.length ? "its PTR is " + found.pointer.join(", ")
      : found.zone ? "no PTR yet in " + found.zone : "its reverse zone is not here";
    told.textContent = found.whole + " · " + found.reverse + " · " + pointer;
  };
  value.addEventListener("input", look);
  type.addEventListener("change", look);
}

// Follow the server, and say so while it cannot be: the browser tries again by itself.
const followed = (path) => {
  const source = new EventSource(path);
  const lost = document.createElement("p");
  lost.className = "fault";
  lost.setAttribute("role", "status");
  source.addEventListener("open", () => lost.remove());
  source.addEventListener("error", () => {
    lost.textContent = source.readyState === EventSource.CLOSED
      ? "The server sends nothing more: your session may have ended. Load this page again."
      : "The connection is lost; trying again.";
    document.querySelector("main").prepend(lost);
  });
  return source;
};

// A run under way: its stages as they begin, and the page anew when it has ended.
const stages = document.querySelector("#stages");
if (stages) {
  const source = followed("/runs/" + stages.dataset.run + "/stream");
  source.addEventListener("message", (message) => {
    for (const one of JSON.parse(message.data).slice(stages.children.length)) {
      const line = document.createElement("li");
      const after = document.createElement("span");
      line.textContent = one.stage + " ";
      after.textContent = "after " + one.after_s + " s";
      after.className = "hint";
      line.append(after);
      stages.append(line);
    }
  });
  source.addEventListener("done", () => { source.close(); location.reload(); });
}

// The live tail. Everything shown came from strangers: it is put into the page as text only.
const table = document.querySelector("#events tbody");
if (table) {
  const rowsMax = 500;
  const filters = document.querySelector("#filters");
  const pause = document.querySelector("#pause");
  const nothing = document.querySelector("#nothing");
  let isPaused = false;
  let skipped = 0;
  const fill = (row, event) => {
    const outcome = event.nodata ? "NODATA" : event.rcode || "no answer";
    const why = (event.provenance || []).join("+") + (event.ede === undefined ? "" : " ede=" + event.ede);
    const words = [event.time.slice(11, 23), event.role, event.client, (event.transport || "").toUpperCase(), event.qtype, outcome, event.qname, why];
    for (const word of words) {
      const cell = document.createElement("td");
      cell.textContent = word || "";
      row.append(cell);
    }
    row.event = event;
    row.className = "mono";
    row.hidden = !wanted(event);
  };
  const wanted = (event) => {
    const by = new FormData(filters);
    const text = by.get("text").toLowerCase();
    return (!text || (event.qname + " " + event.client).toLowerCase().includes(text))
      && (!by.get("role") || by.get("role") === event.role)
      && (!by.get("family") || by.get("family") === String(event.family))
      && (!by.get("qtype") || by.get("qtype").toUpperCase() === event.qtype)
      && (!by.get("rcode") || by.get("rcode").toUpperCase() === (event.nodata ? "NODATA" : event.rcode));
  };
  for (const row of table.rows) fill(row, JSON.parse(row.dataset.event));
  nothing.hidden = table.rows.length > 0;
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", () => { for (const row of table.rows) row.hidden = !wanted(row.event); });
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
  });
  const source = followed("/tail/stream?since=" + document.querySelector("#events").dataset.since);
  source.addEventListener("message", (message) => {
    if (isPaused) return;
    const row = document.createElement("tr");
    fill(row, JSON.parse(message.data));
    table.prepend(row);
    nothing.hidden = true;
    while (table.rows.length > rowsMax) table.deleteRow(-1);
  });
  source.addEventListener("skipped", (message) => {
    skipped += Number(message.data);
    document.querySelector("#skipped").textContent = skipped + " went by too fast to show";
  });
}
