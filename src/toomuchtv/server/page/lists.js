// Lists that need no query: scenes that recur, and moments that nothing resembles.

import { getJson, post, supersede, wasAborted } from "./api.js";
import { showCards } from "./cards.js";
import { announce, byId, duration, el, plural, range, thumbnail } from "./dom.js";
import { hideError, showError, showProgress } from "./messages.js";
import { filtersOf, getState, openKey, update } from "./state.js";

const PLACES_SHOWN = 6;

let recurring = null;
let unusual = null; // {text, hits}

export const unusualHits = () => unusual?.hits ?? [];

/** What was read belongs to the last state of the index. */
export function forgetLists() {
  recurring = null;
  unusual = null;
}

async function ask(subject, list, request) {
  const signal = supersede(subject);
  list.setAttribute("aria-busy", "true");
  showProgress(subject, true);
  try {
    const answer = await request(signal);
    hideError(subject);
    return answer;
  } catch (error) {
    if (!wasAborted(error)) showError(subject, error.message);
    return null;
  } finally {
    if (!signal.aborted) {
      list.setAttribute("aria-busy", "false");
      showProgress(subject, false);
    }
  }
}

export async function showRecurring() {
  const list = byId("recurring");
  if (recurring) return;
  recurring = await ask("recurring", list, (signal) => getJson("/api/recurring", signal));
  if (!recurring) return;
  list.replaceChildren(...recurring.map(recurringRow));
  if (!recurring.length) {
    list.append(el("li", { class: "empty" }, "No scene recurs in several items, or toomuchtv prepare has not looked for them yet."));
  }
  announce(plural(recurring.length, "recurring scene"));
}

function recurringRow({ kind, seconds, num_items: numItems, title, places }) {
  const shown = (from, to) => places.slice(from, to).map(placeButton);
  const list = el("ul", { class: "places" }, ...shown(0, PLACES_SHOWN));
  const rest = places.length - PLACES_SHOWN;
  const more = rest > 0 && el("button", { type: "button", class: "quiet", onclick: () => {
    list.append(...shown(PLACES_SHOWN));
    more.remove();
  } }, `Show ${rest} more`);
  return el("li", { class: "recurring" },
    el("h2", {}, title, " ", el("span", { class: `tag ${kind}` }, kind)),
    el("p", { class: "muted" }, `${duration(seconds)} in ${plural(numItems, "item")}`), list, more);
}

function placeButton({ item_id: itemId, name, start_seconds: start, stop_seconds: stop }) {
  return el("li", {}, el("button", {
    type: "button", class: "place", "aria-label": `Play ${name} ${range(start, stop)}`,
    onclick: () => update({ open: openKey(itemId, start, stop) }),
  }, thumbnail(itemId, (start + stop) / 2), el("span", {}, name), el("small", {}, range(start, stop))));
}

export async function showUnusual(onHits) {
  const list = byId("unusual");
  const by = document.querySelector("input[name=unusual-by]:checked").value;
  const request = { k: 24, by, encoder: null, filters: filtersOf(getState()) };
  const text = JSON.stringify(request);
  if (unusual?.text === text) return showCards(list, unusual.hits, { isUnusual: true });
  const answer = await ask("unusual", list, async (signal) => (await post("/api/outliers", request, signal)).json());
  if (!answer) return;
  unusual = { text, hits: answer.hits };
  showCards(list, answer.hits, { isUnusual: true });
  if (!answer.hits.length) list.append(el("li", { class: "empty" }, answer.message ?? "No moment fits the filters."));
  onHits(answer.hits);
  announce(plural(answer.hits.length, "unusual moment"));
}
