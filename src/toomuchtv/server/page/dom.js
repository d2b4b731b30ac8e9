// Elements, times and words. Text from the server reaches the page only as text nodes, attributes
// and CSSOM values, never as markup.

/** Make an element. `on...` attributes are listeners; null, undefined and false are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** `01:12`, `1:01:12`, or `01:12.4` where there are tenths. */
export function timecode(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(tenths / 36000);
  const clock = `${two(Math.floor(tenths / 600) % 60)}:${two(Math.floor(tenths / 10) % 60)}`;
  return (hours ? `${hours}:` : "") + clock + (tenths % 10 ? `.${tenths % 10}` : "");
}

/** `01:12–01:16`; tenths only where they tell something. */
export function range(start, stop) {
  return stop - start < 2 ? `${timecode(start)}–${timecode(stop)}`
    : `${timecode(Math.round(start))}–${timecode(Math.round(stop))}`;
}

/** Seconds of `72`, `01:12`, `1:01:12.5`; null for an empty text; NaN for anything else. */
export function parseTime(text) {
  const trimmed = text.trim();
  if (!trimmed) return null;
  if (!/^\d+(:\d{1,2}){0,2}(\.\d+)?$/.test(trimmed)) return NaN;
  return trimmed.split(":").reduce((total, part) => total * 60 + Number(part), 0);
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(seconds < 36000 ? 1 : 0)} h`;
}

export const plural = (count, one, many = `${one}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Begin with a capital letter and end with a period, as messages for terminals do not. */
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

/** What a z-score means: how far a similarity lies above that of random moments. */
export function chance(z) {
  if (z === null || z === undefined) return "chance not known";
  if (z >= 4) return "far above chance";
  if (z >= 3) return "well above chance";
  if (z >= 2) return "above chance";
  if (z >= 1) return "slightly above chance";
  return "no better than chance";
}

const SENSES = { video: "look", audio: "sound", text: "words" };

/** By what a hit was found: `look, sound · tiny`. */
export function foundBy(matches) {
  const ways = new Map();
  for (const { encoder, query_modality: from, modality: to } of matches) {
    const way = from === to ? SENSES[to] : `${SENSES[from]} → ${SENSES[to]}`;
    ways.set(encoder, (ways.get(encoder) ?? new Set()).add(way));
  }
  return [...ways].map(([encoder, names]) => `${[...names].join(", ")} · ${encoder}`).join("; ");
}

export const thumbnailUrl = (itemId, seconds, width = 320) =>
  `/api/items/${itemId}/thumbnail?at=${seconds.toFixed(2)}&width=${width}`;

export function thumbnail(itemId, seconds, width = 320) {
  const image = el("img", {
    src: thumbnailUrl(itemId, seconds, width), alt: "", loading: "lazy", decoding: "async",
    width: 320, height: 180,
  });
  image.addEventListener("error", () => image.classList.add("missing"), { once: true });
  return image;
}

/** Say something to screen readers without moving the focus. */
export function announce(text) {
  byId("status").textContent = text;
}
