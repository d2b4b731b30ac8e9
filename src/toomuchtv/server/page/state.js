// What the page shows is a function of its URL, so that a link reproduces it and back and forward
// work. An upload cannot be linked: its number lives in the history entry, its name in the URL.

const LISTS = {
  plus: "plus", minus: "minus", more: "more", less: "less", titles: "title", kinds: "kind",
  seasons: "season", inSegments: "in", notInSegments: "not", weights: "weight",
};
const TEXTS = { q: "q", by: "by", then: "then", view: "view", open: "open", file: "file" };
const NUMBERS = { within: "within", from: "from", to: "to", perTitle: "per_title", k: "k" };
const FLAGS = { other: "other", uncentered: "uncentered", everyWindow: "all" };

export const DEFAULTS = Object.freeze({
  q: "", by: "both", then: "", view: "find", open: "", file: "", within: 30, from: null, to: null,
  perTitle: null, k: 24, other: false, uncentered: false, everyWindow: false, upload: null,
  ...Object.fromEntries(Object.keys(LISTS).map((key) => [key, Object.freeze([])])),
});

/** A new query begins without the corrections of the last one; filters stay. */
export const NEW_QUERY = Object.freeze({
  upload: null, file: "", more: [], less: [], plus: [], minus: [], then: "", k: DEFAULTS.k,
  view: "find", open: "",
});

function fromUrl(search) {
  const values = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const [key, name] of Object.entries(TEXTS)) if (values.has(name)) state[key] = values.get(name);
  for (const [key, name] of Object.entries(LISTS)) if (values.has(name)) state[key] = values.getAll(name);
  for (const [key, name] of Object.entries(FLAGS)) state[key] = values.get(name) === "1";
  for (const [key, name] of Object.entries(NUMBERS)) {
    const number = Number(values.get(name) || NaN);
    if (Number.isFinite(number)) state[key] = number;
  }
  return state;
}

export function toUrl(state) {
  const values = new URLSearchParams();
  for (const [key, name] of Object.entries({ ...TEXTS, ...NUMBERS })) {
    const isUnusedWindow = key === "within" && !state.then;
    if (state[key] !== DEFAULTS[key] && !isUnusedWindow) values.set(name, state[key]);
  }
  for (const [key, name] of Object.entries(FLAGS)) if (state[key]) values.set(name, "1");
  for (const [key, name] of Object.entries(LISTS)) state[key].forEach((value) => values.append(name, value));
  const text = values.toString();
  return text ? `/?${text}` : "/";
}

const listeners = [];
let current = { ...fromUrl(location.search), upload: history.state?.upload ?? null };

export const getState = () => current;
export const subscribe = (listener) => listeners.push(listener);

/** Change the state. Each change is an entry of the history unless it replaces the last one. */
export function update(patch, { replace = false } = {}) {
  current = { ...current, ...patch };
  const isOpening = replace ? history.state?.isOpening : Boolean(patch.open);
  const entry = { upload: current.upload, isOpening };
  if (replace) history.replaceState(entry, "", toUrl(current));
  else history.pushState(entry, "", toUrl(current));
  listeners.forEach((listener) => listener(current));
}

/** Leave the opened moment: back to where it was opened, or to the same search without it. */
export function leaveMoment() {
  if (history.state?.isOpening) history.back();
  else update({ open: "" }, { replace: true });
}

addEventListener("popstate", (event) => {
  current = { ...fromUrl(location.search), upload: event.state?.upload ?? null };
  listeners.forEach((listener) => listener(current));
});

/** A moment as the URL holds it: `7@72.5`. */
export const momentKey = (itemId, seconds) => `${itemId}@${Number(seconds.toFixed(2))}`;

export function parseMoment(key) {
  const [itemId, seconds] = key.split("@").map(Number);
  return { item_id: itemId, seconds };
}

/** The opened moment as the URL holds it: `7@72.5-76`. */
export const openKey = (itemId, start, stop) =>
  `${itemId}@${Number(start.toFixed(2))}-${Number(stop.toFixed(2))}`;

export function parseOpen(text) {
  const match = /^(\d+)@([\d.]+)-([\d.]+)$/.exec(text);
  return match && { itemId: Number(match[1]), start: Number(match[2]), stop: Number(match[3]) };
}

export const filtersOf = (state) => ({
  titles: state.titles, kinds: state.kinds, seasons: state.seasons.map(Number),
  from_seconds: state.from ?? 0, to_seconds: state.to,
  in_segments: state.inSegments, not_in_segments: state.notInSegments,
});

/** The body of a search request, or null if the state has no query. */
export function searchRequest(state) {
  const query = state.upload
    ? { upload: state.upload.upload, at_seconds: state.upload.at ?? null }
    : state.q;
  if (!query) return null;
  const weights = Object.fromEntries(
    state.weights.map((text) => [text.slice(0, text.lastIndexOf(":")), Number(text.slice(text.lastIndexOf(":") + 1))]),
  );
  return {
    query, by: state.by, k: state.k, plus: state.plus, minus: state.minus,
    more_like: state.more.map(parseMoment), less_like: state.less.map(parseMoment),
    other_titles: state.other, centered: !state.uncentered,
    then: state.then || null, within_seconds: state.then ? state.within : DEFAULTS.within,
    filters: filtersOf(state), weights: state.weights.length ? weights : null,
    per_title: state.perTitle, collapse: !state.everyWindow,
  };
}
