// The hits that were selected, and what they are taken away as.

import { post, supersede, wasAborted } from "./api.js";
import { announce, byId, el, plural } from "./dom.js";
import { momentKey } from "./state.js";

const selected = new Map();
const listeners = [];
let offered = [];

const key = (hit) => momentKey(hit.item_id, hit.center_seconds);

export const isSelected = (hit) => selected.has(key(hit));
export const onSelection = (listener) => listeners.push(listener);
export const selection = () => [...selected.values()];

function changed() {
  const count = selected.size;
  byId("basket").hidden = count === 0;
  byId("basket-count").textContent = plural(count, "hit selected", "hits selected");
  listeners.forEach((listener) => listener());
}

export function toggleSelected(hit) {
  if (!selected.delete(key(hit))) selected.set(key(hit), hit);
  changed();
  announce(plural(selected.size, "hit selected", "hits selected"));
}

/** Select all of these hits, or none of them if all are selected already. */
export function toggleAll(hits) {
  const all = hits.every(isSelected);
  for (const hit of hits) {
    if (all) selected.delete(key(hit));
    else selected.set(key(hit), hit);
  }
  changed();
}

/** Offer the selected hits for export, or these if none is selected. */
export function offerExport(hits) {
  offered = selected.size ? selection() : hits;
  if (!offered.length) return announce("There is nothing to export: search first.");
  byId("take-title").textContent = `Export ${plural(offered.length, "hit")}`;
  byId("take-message").replaceChildren();
  byId("take").showModal();
}

function fileName(response, fallback) {
  const header = response.headers.get("Content-Disposition") ?? "";
  const coded = /filename\*=(?:UTF-8|utf-8)''([^;]+)/.exec(header);
  return coded ? decodeURIComponent(coded[1]) : (/filename="?([^";]+)"?/.exec(header)?.[1] ?? fallback);
}

function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  // The browser reads the file after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function takeAway() {
  const message = byId("take-message");
  const format = document.querySelector("input[name=format]:checked").value;
  const name = byId("take-name").value.trim() || "hits";
  const handles = byId("take-handles").valueAsNumber;
  byId("take-go").disabled = true;
  message.replaceChildren(el("p", { class: "muted" }, format === "clips" ? "The clips are cut…" : "The file is written…"));
  try {
    const response = await post("/api/export", {
      format, hits: offered, name, handles_seconds: Number.isFinite(handles) ? handles : 0,
    }, supersede("export"));
    const warnings = JSON.parse(decodeURIComponent(response.headers.get("X-Warnings") ?? "%5B%5D"));
    const file = fileName(response, `${name}.${format === "clips" ? "zip" : format}`);
    save(await response.blob(), file);
    message.replaceChildren(
      el("p", {}, `${file} was saved.`),
      ...warnings.map((warning) => el("p", { class: "warning" }, warning)),
    );
  } catch (error) {
    if (!wasAborted(error)) message.replaceChildren(el("p", { class: "error" }, error.message));
  } finally {
    byId("take-go").disabled = false;
  }
}

export function startBasket() {
  byId("basket-export").addEventListener("click", () => offerExport([]));
  byId("basket-clear").addEventListener("click", () => {
    selected.clear();
    changed();
  });
  byId("take-cancel").addEventListener("click", () => byId("take").close());
  byId("take").addEventListener("close", () => supersede("export"));
  byId("take-form").addEventListener("submit", (event) => {
    event.preventDefault();
    takeAway();
  });
}
