// Single keys as shortcuts. They can be turned off, and they never apply while text is typed.

import { offerExport, toggleSelected } from "./basket.js";
import { hitOf, lessLike, moreLike, searchFrom } from "./cards.js";
import { byId, el } from "./dom.js";
import { currentHits, focusSearch } from "./find.js";
import * as player from "./player.js";

const HELP = [
  ["/", "Search"], ["← → ↑ ↓", "Move among the hits"], ["Enter", "Play the hit"],
  ["Space", "Select the hit; in the player: play or pause"], ["m", "More like this"],
  ["n", "Less like this"], ["s", "Search from here"], ["e", "Export"],
  ["j, k", "In the player: next, previous hit"], ["l", "In the player: loop the hit or not"],
  [", .", "In the player: previous, next shot"], ["← →", "In the player: one second back, forward"],
  ["x", "In the player: select the hit"], ["Esc", "Close"], ["?", "These shortcuts"],
];

const isTyping = (target) => target.closest("textarea, select, [role=application]")
  || (target.matches("input") && !["checkbox", "radio", "button"].includes(target.type));

const isOn = () => byId("keys-on").checked;

function moveAmongCards(card, key) {
  const cards = [...card.parentElement.children];
  const place = cards.indexOf(card);
  // Cards of one row share their top edge.
  const columns = cards.filter((other) => other.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  const next = cards[place + step] ?? (key === "ArrowDown" && place + columns < cards.length + columns - 1 ? cards.at(-1) : null);
  next?.querySelector(".thumb")?.focus();
}

function playerAction(event) {
  const { key, target } = event;
  const isControl = target.closest("button, input, video, .track");
  const actions = {
    j: () => player.stepBy(1), k: () => player.stepBy(-1), l: player.toggleLoop, s: player.searchHere,
    m: () => moreLike(player.playerHit()), n: () => lessLike(player.playerHit()), x: player.toggleSelect,
    ",": () => player.seekShot(-1), ".": () => player.seekShot(1), e: () => offerExport(currentHits()),
  };
  // Buttons and the video have meanings of their own for these.
  if (!isControl) Object.assign(actions, { " ": player.togglePlay });
  if (!target.closest("input, video, .track")) {
    Object.assign(actions, { ArrowLeft: () => player.seekBy(-1), ArrowRight: () => player.seekBy(1) });
  }
  return player.playerHit() ? actions[key] : null;
}

function pageAction(event) {
  const { key, target } = event;
  const thumb = target.closest(".thumb");
  const hit = hitOf(target);
  const actions = { "/": focusSearch, e: () => offerExport(currentHits()), "?": showKeys };
  if (hit) {
    Object.assign(actions, {
      m: () => moreLike(hit), n: () => lessLike(hit),
      s: () => searchFrom(hit.item_id, hit.center_seconds),
    });
  }
  if (thumb && hit) actions[" "] = () => toggleSelected(hit);
  if (thumb && key.startsWith("Arrow")) return () => moveAmongCards(thumb.closest(".card"), key);
  // From the top of the page, the arrow down leads to the first hit.
  if (key === "ArrowDown" && target === document.body) {
    return () => [...document.querySelectorAll("main .thumb")].find((thumb) => thumb.checkVisibility())?.focus();
  }
  return actions[key];
}

function showKeys() {
  byId("keys").showModal();
}

export function startKeys() {
  byId("keys-list").replaceChildren(...HELP.flatMap(([key, meaning]) =>
    [el("dt", {}, el("kbd", {}, key)), el("dd", {}, meaning)]));
  byId("show-keys").addEventListener("click", showKeys);
  byId("close-keys").addEventListener("click", () => byId("keys").close());
  try {
    byId("keys-on").checked = localStorage.getItem("keys") !== "off";
    byId("keys-on").addEventListener("change", () => localStorage.setItem("keys", isOn() ? "on" : "off"));
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const isNavigation = event.key.startsWith("Arrow") || event.key === " ";
    if (!isOn() && !isNavigation) return;
    const dialog = document.querySelector("dialog[open]:not(#player)");
    if (dialog) return;
    const action = byId("player").open ? playerAction(event) : pageAction(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
}
