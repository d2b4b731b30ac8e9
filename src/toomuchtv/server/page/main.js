// The page's beginning: reads the index, connects the parts, and shows what the URL says.

import { startBasket } from "./basket.js";
import { onRest } from "./cards.js";
import { announce, byId, sentence } from "./dom.js";
import * as find from "./find.js";
import { startKeys } from "./keys.js";
import { getIndex, hasChanged, loadIndex } from "./library.js";
import { forgetLists, showRecurring, showUnusual, unusualHits } from "./lists.js";
import { forgetMap, markHits, showMap, startMap } from "./map.js";
import { hideError, showError } from "./messages.js";
import { setPlayerHits, showMoment, startPlayer, warmUp } from "./player.js";
import { getState, openKey, parseOpen, subscribe, toUrl, update } from "./state.js";

const VIEWS = ["find", "map", "recurring", "unusual"];
const POLL_MILLISECONDS = 20_000;

function showState(state) {
  const view = VIEWS.includes(state.view) ? state.view : "find";
  for (const name of VIEWS) byId(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("#views a")) {
    link.href = toUrl({ ...state, view: link.dataset.view, open: "" });
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("options").hidden = view !== "find";
  document.body.dataset.view = view;
  // The film first: it takes longest.
  setPlayerHits(view === "unusual" ? unusualHits() : view === "find" ? find.currentHits() : []);
  showMoment(parseOpen(state.open));
  find.show(state);
  if (view === "map") {
    markHits(find.currentHits());
    showMap();
  } else if (view === "recurring") showRecurring();
  else if (view === "unusual") showUnusual(setPlayerHits);
}

/** Open an item at its beginning: it was chosen without a time. */
function openItem({ item_id: itemId, duration_seconds: duration }) {
  update({ open: openKey(itemId, 0, duration) });
}

async function readIndex() {
  try {
    const index = await loadIndex();
    hideError("index");
    byId("library-name").textContent = index.name;
    document.title = `${index.name}: find moments`;
    find.showLibrary(index);
    forgetMap();
    forgetLists();
    index.problems.forEach((problem) => showError(`problem ${problem}`, sentence(problem)));
    find.showExamples(index).catch((error) => showError("examples", error.message));
    return true;
  } catch (error) {
    showError("index", error.message, { label: "Try again", action: start });
    return false;
  }
}

/** `embed` may run at the same time: new items appear without a reload. */
async function watch() {
  if (document.hidden || !getIndex()) return;
  const before = getIndex().num_items;
  if (!(await hasChanged().catch(() => false)) || !(await readIndex())) return;
  const added = getIndex().num_items - before;
  announce("The index has changed.");
  showError("changed", added > 0 ? `The index has ${added} more ${added === 1 ? "item" : "items"}.` : "The index has changed.",
    { label: "Search again", action: () => {
      hideError("changed");
      find.searchAgain();
    } });
  showState(getState());
}

function bindViews() {
  byId("views").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    update({ view: link.dataset.view, open: "" });
  });
  byId("unusual-by").addEventListener("change", () => showUnusual(setPlayerHits));
}

function bindTheme() {
  const names = { auto: "as the system says", dark: "dark", light: "light" };
  const button = byId("theme");
  const root = document.documentElement;
  const label = () => {
    const text = `Colors: ${names[root.dataset.theme ?? "auto"]}`;
    button.setAttribute("aria-label", text);
    button.title = text;
  };
  button.addEventListener("click", () => {
    const next = { auto: "dark", dark: "light", light: "auto" }[root.dataset.theme ?? "auto"];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    label();
    dispatchEvent(new Event("themechange"));
  });
  label();
}

async function start() {
  if (await readIndex()) showState(getState());
}

bindTheme();
bindViews();
find.startFind(openItem);
find.onAnswer((hits) => {
  if (getState().view === "find") setPlayerHits(hits);
  markHits(hits);
});
startBasket();
startPlayer();
onRest(warmUp);
startMap();
startKeys();
subscribe(showState);
setInterval(watch, POLL_MILLISECONDS);
start();
