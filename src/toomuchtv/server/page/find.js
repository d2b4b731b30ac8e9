// The search: what the form says becomes the URL, and what the URL says becomes a request and hits.

import { getJson, post, supersede, upload, wasAborted } from "./api.js";
import { offerExport, onSelection, isSelected, selection, toggleAll } from "./basket.js";
import { chipsOf } from "./chips.js";
import { showCards, showSelection } from "./cards.js";
import { announce, byId, duration, el, plural, thumbnail, timecode } from "./dom.js";
import { buildFilters, countFilters, showFilters } from "./filters.js";
import { getIndex, rememberName } from "./library.js";
import { momentField } from "./moment_field.js";
import { hideError, showError, showProgress } from "./messages.js";
import { DEFAULTS, NEW_QUERY, getState, searchRequest, toUrl, update } from "./state.js";

let hits = [];
let answered = null;
let asked = "";
let tellHits = () => {};

/** Call this with the hits of each answer. */
export const onAnswer = (listener) => { tellHits = listener; };
export const currentHits = () => hits;
export const focusSearch = () => {
  byId("q").focus();
  byId("q").select();
};

/** Search again even if the state is the same: the index has changed, or the last try failed. */
export function searchAgain() {
  asked = "";
  show(getState());
}

export function show(state) {
  const request = searchRequest(state);
  const text = JSON.stringify(request);
  showForm(state);
  byId("welcome").hidden = Boolean(request);
  byId("results").hidden = !request;
  if (!request) {
    supersede("search");
    showProgress("search", false);
    [hits, answered, asked] = [[], null, ""];
    hideError("search");
    byId("chips").replaceChildren(...chipsOf(state, null));
    if (state.file) showLostFile(state.file);
    return;
  }
  // Nothing of the search has changed: a film was opened, or another view.
  if (text === asked) return;
  // The answer to the last request names the query only if it is the same query.
  if (asked && JSON.stringify(JSON.parse(asked).query) !== JSON.stringify(request.query)) answered = null;
  byId("chips").replaceChildren(...chipsOf(state, answered));
  asked = text;
  search(state, request);
}

async function search(state, request) {
  const list = byId("hits");
  const signal = supersede("search");
  list.setAttribute("aria-busy", "true");
  showProgress("search", true);
  try {
    const answer = await (await post("/api/search", request, signal)).json();
    hideError("search");
    hits = answer.hits;
    answered = answer.query;
    if (answered.item_id != null) rememberName(answered.item_id, nameWithoutTime(answered));
    showAnswer(getState(), request, answer);
    tellHits(hits);
  } catch (error) {
    if (wasAborted(error)) return;
    [hits, asked] = [[], ""];
    list.replaceChildren();
    byId("results").hidden = true;
    showError("search", error.message, { label: "Try again", action: searchAgain });
  }
  list.setAttribute("aria-busy", "false");
  showProgress("search", false);
}

/** The server names a moment with its time; the page shows the time by itself. */
const nameWithoutTime = (query) => query.name.replace(/ [\d:.]+$/, "");

function showAnswer(state, request, answer) {
  byId("results").hidden = false;
  const count = plural(hits.length, "moment");
  const what = answered.item_id == null
    ? answered.name : `${nameWithoutTime(answered)} ${timecode(answered.seconds)}`;
  byId("count").replaceChildren(`${count} like `, el("b", {}, what), el("small", {}, ` ${Math.round(answer.took_ms)} ms`));
  const doubt = byId("doubt");
  doubt.hidden = answer.confident || !hits.length;
  doubt.replaceChildren(el("b", {}, "No confident match. "), messageRest(answer.message));
  if (!hits.length) byId("count").textContent = answer.message ?? "No moment fits these conditions.";
  byId("chips").replaceChildren(...chipsOf(state, answered));
  if (answered.item_id != null && document.activeElement !== byId("q")) byId("q").value = what;
  showCards(byId("hits"), hits);
  // A list as long as was asked for may have more behind it.
  byId("show-more").hidden = hits.length < request.k || request.k >= 200;
  for (const id of ["select-all", "take-all"]) byId(id).hidden = !hits.length;
  showSelectAll();
  announce(`${count} found.${answer.confident || !hits.length ? "" : " No confident match."}`);
}

const messageRest = (message) => (message ?? "Moments that have nothing to do with each other are often as similar as the query and these hits.")
  .replace(/^no confident match[:.]?\s*/i, "").replace(/^./, (letter) => letter.toUpperCase());

function showForm(state) {
  for (const radio of document.querySelectorAll("#by input")) radio.checked = radio.value === state.by;
  byId("other").checked = state.other;
  const count = countFilters(state);
  byId("toggle-filters").textContent = count ? `Filters (${count})` : "Filters";
  showFilters(byId("filters"), state);
  const isShown = state.upload ? "" : state.q.startsWith("item:") ? null : state.q;
  if (isShown !== null && document.activeElement !== byId("q")) byId("q").value = isShown;
}

function showLostFile(name) {
  showError("search", `This search began with the file ${name}, which a link cannot carry. Drop it here again.`);
}

/** Search with a file from this machine. */
async function searchFile(file) {
  const limit = getIndex()?.max_upload_bytes;
  if (limit && file.size > limit) {
    return showError("search", `${file.name} has ${Math.round(file.size / 1e6)} MB. At most ${Math.round(limit / 1e6)} MB can be searched with; cut a shorter piece out of it.`);
  }
  showProgress("upload", true);
  announce(`Reading ${file.name}`);
  try {
    const answer = await upload(file, supersede("upload"));
    hideError("search");
    update({ ...NEW_QUERY, q: "", upload: answer, file: answer.name });
  } catch (error) {
    if (!wasAborted(error)) showError("search", error.message);
  }
  showProgress("upload", false);
}

async function copyLink() {
  const button = byId("copy-link");
  const { upload: file } = getState();
  const url = location.href;
  try {
    await navigator.clipboard.writeText(url);
  } catch {
    // Over a network without TLS the browser has no clipboard for pages: the URL is in its bar.
    return showError("link", "This browser does not let the page copy. The link is the address in the address bar.");
  }
  button.textContent = "Copied";
  announce(file ? `Link copied. It cannot carry the file ${file.name}.` : "Link copied.");
  if (file) showError("link", `The link cannot carry the file ${file.name}: whoever opens it is asked for the file.`);
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}

function showSelectAll() {
  const all = hits.length > 0 && hits.every(isSelected);
  byId("select-all").textContent = all ? "Select none" : "Select all";
  byId("take-all").textContent = selection().length ? "Export selected…" : "Export all…";
}

/** Three moments of the catalog to begin with, spread over its titles. */
export async function showExamples(index) {
  const titles = index.titles.filter((title) => title.num_items > 0);
  const picked = [0.15, 0.5, 0.85].map((share) => titles[Math.floor(share * titles.length)]);
  const list = byId("examples");
  const answers = await Promise.all([...new Set(picked)].filter(Boolean).map(
    (title) => getJson(`/api/complete?q=${encodeURIComponent(title.name)}&limit=1`)));
  list.replaceChildren(...answers.flat().map((item) => {
    const seconds = Math.floor(item.duration_seconds * 0.4);
    const q = `item:${item.item_id}@${seconds}`;
    const link = el("a", { class: "thumb", href: toUrl({ ...DEFAULTS, q }) },
      thumbnail(item.item_id, seconds), el("span", { class: "time" }, timecode(seconds)));
    link.setAttribute("aria-label", `Search for moments like ${item.name} at ${timecode(seconds)}`);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      update({ ...NEW_QUERY, q });
    });
    return el("li", { class: "card" }, link, el("div", { class: "card-body" }, el("h3", {}, item.name)));
  }));
  byId("summary").textContent =
    `${plural(index.num_items, "item")} of ${plural(index.titles.length, "title")}, ${duration(index.seconds)}, ${plural(index.num_windows, "window")}.`;
  const sample = answers.flat()[1] ?? answers.flat()[0];
  if (sample) byId("q").placeholder = `${sample.name} ${timecode(Math.floor(sample.duration_seconds * 0.4))}`;
}

function bindDrop() {
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const drop = byId("drop");
  addEventListener("dragenter", (event) => { if (isFile(event)) drop.hidden = false; });
  addEventListener("dragover", (event) => { if (isFile(event)) event.preventDefault(); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.hidden = true; });
  addEventListener("drop", (event) => {
    drop.hidden = true;
    if (!isFile(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files[0]) searchFile(event.dataTransfer.files[0]);
  });
  byId("pick-file").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    if (file) searchFile(file);
    byId("file").value = "";
  });
}

export function startFind(openItem) {
  const onError = (error) => showError("search", error.message);
  const field = momentField(byId("q"), {
    onError,
    onPick: (q) => update({ ...NEW_QUERY, q }),
    onOpen: openItem,
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    field.submit();
  });
  byId("by").addEventListener("change", (event) => update({ by: event.target.value }));
  byId("other").addEventListener("change", (event) => update({ other: event.target.checked }));
  byId("toggle-filters").addEventListener("click", () => {
    const panel = byId("filters");
    panel.hidden = !panel.hidden;
    byId("toggle-filters").setAttribute("aria-expanded", String(!panel.hidden));
  });
  byId("show-more").addEventListener("click", () => update({ k: Math.min(200, getState().k + 24) }, { replace: true }));
  byId("select-all").addEventListener("click", () => toggleAll(hits));
  byId("take-all").addEventListener("click", () => offerExport(hits));
  byId("copy-link").addEventListener("click", copyLink);
  onSelection(() => {
    showSelection();
    showSelectAll();
  });
  bindDrop();
}

export function showLibrary(index) {
  buildFilters(byId("filters"), index, (error) => showError("search", error.message));
  showFilters(byId("filters"), getState());
}
