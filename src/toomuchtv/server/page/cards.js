// A hit as a card: its picture, its name and time, how it was found, and what that means.

import { chance, el, foundBy, range, thumbnail, timecode } from "./dom.js";
import { isSelected, toggleSelected } from "./basket.js";
import { rememberName } from "./library.js";
import { NEW_QUERY, getState, momentKey, openKey, toUrl, update } from "./state.js";

export const hitKey = (hit) => momentKey(hit.item_id, hit.center_seconds);

const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const nodes = new WeakMap();
let tellRest = () => {};

/** Call this with the hit on whose card the pointer or the focus rests. */
export const onRest = (listener) => { tellRest = listener; };

/** The hit that a card shows, for keys that were pressed while the card has the focus. */
export const hitOf = (node) => nodes.get(node?.closest?.(".card"));

/** Search for more like a hit. Without a query, the hit becomes the query. */
export function moreLike(hit) {
  const state = getState();
  const key = hitKey(hit);
  if (!state.q && !state.upload) return searchFrom(hit.item_id, hit.center_seconds);
  update({
    more: [...state.more.filter((other) => other !== key), key],
    less: state.less.filter((other) => other !== key), view: "find", open: "",
  });
}

export function lessLike(hit) {
  const state = getState();
  const key = hitKey(hit);
  if (!state.q && !state.upload) return;
  update({
    less: [...state.less.filter((other) => other !== key), key],
    more: state.more.filter((other) => other !== key), view: "find", open: "",
  });
}

export function searchFrom(itemId, seconds) {
  update({ ...NEW_QUERY, q: `item:${momentKey(itemId, seconds)}` });
}

const openUrl = (hit) =>
  toUrl({ ...getState(), open: openKey(hit.item_id, hit.start_seconds, hit.stop_seconds) });

/** A card. In a list of unusual moments the similarity is that of the nearest moment elsewhere. */
function hitCard(hit, isUnusual) {
  rememberName(hit.item_id, hit.name);
  const strip = el("span", { class: "strip" });
  const name = el("a", { class: "thumb", href: openUrl(hit) },
    thumbnail(hit.item_id, hit.center_seconds), strip,
    el("span", { class: "time" }, range(hit.start_seconds, hit.stop_seconds)),
    isUnusual || !hit.matches.length ? null : strength(hit.z_score));
  name.setAttribute("aria-label", `Play ${hit.name} at ${timecode(hit.start_seconds)}`);
  name.addEventListener("click", (event) => {
    // With a modifier the browser opens the moment in a tab of its own.
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    update({ open: openKey(hit.item_id, hit.start_seconds, hit.stop_seconds) });
  });
  const card = el("li", { class: "card" }, name, el("div", { class: "card-body" },
    el("h3", { title: hit.name }, hit.name),
    ...(isUnusual ? unusualDetails(hit) : [meaning(hit), ...details(hit)]), buttons(hit)));
  card.classList.toggle("unsure", !hit.is_confident && !isUnusual);
  card.dataset.key = hitKey(hit);
  nodes.set(card, hit);
  playPreview(card, strip, hit);
  showSelected(card);
  return card;
}

/** A line under the picture, which is full at a z-score of 6. */
function strength(z) {
  const bar = el("span", { class: "strength", "aria-hidden": "true" });
  bar.style.width = `${Math.round(Math.min(1, Math.max(0, (z ?? 0) / 6)) * 100)}%`;
  return bar;
}

function meaning(hit) {
  if (!hit.matches.length) return null;
  const z = hit.z_score;
  return el("p", { class: "meaning" },
    el("span", {}, z === null ? chance(z) : `${chance(z)}: z ${z.toFixed(1)}`),
    hit.is_confident ? null : el("span", { class: "tag" }, "no confident match"));
}

function details(hit) {
  const similarity = hit.similarity === null ? "" : `similarity ${hit.similarity.toFixed(2)} · `;
  const extra = [
    hit.then_seconds === null ? "" : `then ${timecode(hit.then_seconds)}`,
    hit.num_collapsed ? `stands for ${hit.num_collapsed + 1} like it` : "",
  ].filter(Boolean).join(" · ");
  return [
    el("p", { class: "muted small" }, similarity + foundBy(hit.matches)),
    extra ? el("p", { class: "muted small" }, extra) : null,
  ];
}

const unusualDetails = (hit) => [
  el("p", { class: "meaning" }, `nearest in another item: ${hit.similarity.toFixed(2)}`),
  el("p", { class: "muted small" }, foundBy(hit.matches)),
];

function buttons(hit) {
  const where = `${hit.name} ${timecode(hit.start_seconds)}`;
  const select = el("input", { type: "checkbox", "aria-label": `Select ${where}` });
  select.addEventListener("change", () => toggleSelected(hit));
  return el("div", { class: "card-actions" },
    el("button", { type: "button", class: "quiet", "aria-label": `More like ${where}`, title: "More like this (m)",
      onclick: () => moreLike(hit) }, "+ More"),
    el("button", { type: "button", class: "quiet less", "aria-label": `Less like ${where}`, title: "Less like this (n)",
      onclick: () => lessLike(hit) }, "− Less"),
    el("label", { class: "check", title: "Select (Space)" }, select, el("span", { "aria-hidden": "true" }, "Select")));
}

/** A silent preview on hover or focus: twelve pictures in one file, moved by CSS. */
function playPreview(card, strip, hit) {
  let timer = 0;
  function start() {
    clearTimeout(timer);
    // Passing over a card is no wish to see it.
    timer = setTimeout(async () => {
      tellRest(hit);
      if (stillness.matches) return;
      const image = new Image();
      image.src = `/api/items/${hit.item_id}/preview?at=${hit.center_seconds.toFixed(2)}`;
      try {
        await image.decode();
      } catch {
        return; // The still picture remains.
      }
      strip.style.backgroundImage = `url("${image.src}")`;
      strip.classList.toggle("playing", card.matches(":hover, :focus-within"));
    }, 160);
  }
  function stop() {
    if (card.matches(":hover, :focus-within")) return;
    clearTimeout(timer);
    strip.classList.remove("playing");
  }
  card.addEventListener("pointerenter", start);
  card.addEventListener("focusin", start);
  card.addEventListener("pointerleave", stop);
  card.addEventListener("focusout", () => setTimeout(stop));
}

function showSelected(card) {
  const selected = isSelected(hitOf(card));
  card.classList.toggle("selected", selected);
  card.querySelector(".card-actions input").checked = selected;
}

export function showSelection() {
  document.querySelectorAll(".card[data-key]").forEach(showSelected);
}

/** Fill a list with cards. Cards that stay keep their node, and with it the focus. */
export function showCards(list, hits, { isUnusual = false } = {}) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const cards = hits.map((hit) => {
    const node = old.get(hitKey(hit));
    if (!node || JSON.stringify(nodes.get(node)) !== JSON.stringify(hit)) return hitCard(hit, isUnusual);
    node.querySelector(".thumb").href = openUrl(hit);
    return node;
  });
  // To move a node, even to where it is, takes the focus from it.
  const isSame = cards.length === list.children.length
    && cards.every((card, i) => card === list.children[i]);
  if (!isSame) list.replaceChildren(...cards);
}
