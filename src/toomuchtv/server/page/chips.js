// Chips say what a search consists of. Each can be removed.

import { el, parseTime, thumbnail, timecode } from "./dom.js";
import { knownName, nameOf } from "./library.js";
import { getState, momentKey, parseMoment, update } from "./state.js";

const without = (list, value) => list.filter((other) => other !== value);

function chip(word, label, picture, onRemove) {
  const text = el("span", {}, label);
  const node = el("li", { class: "chip" },
    picture, el("span", { class: "word" }, word), text,
    el("button", { type: "button", "aria-label": `Remove: ${word} ${label}`, onclick: onRemove }, "×"));
  return { node, text };
}

/** A chip of `7@72.5`. Its name comes later if no hit has told it yet. */
function momentChip(word, key, onRemove) {
  const { item_id: itemId, seconds } = parseMoment(key);
  const time = timecode(seconds);
  const { node, text } = chip(word, `${knownName(itemId) ?? `Item ${itemId}`} ${time}`,
    thumbnail(itemId, seconds, 160), onRemove);
  if (!knownName(itemId)) {
    nameOf(itemId).then((name) => {
      text.textContent = `${name} ${time}`;
      node.lastChild.setAttribute("aria-label", `Remove: ${word} ${name} ${time}`);
    }, () => {}); // An item that has gone keeps its number; the search says what is wrong.
  }
  return node;
}

/** A chip of a query as typed: a moment by number, or words. */
function queryChip(word, query, onRemove) {
  const byNumber = /^item:(\d+@[\d.]+)$/.exec(query);
  if (byNumber) return momentChip(word, byNumber[1], onRemove);
  const words = query.startsWith("text:") ? `“${query.slice(5)}”` : query;
  return chip(word, words, null, onRemove).node;
}

/** Remove the query. The first "more like" takes its place, if there is one. */
function removeQuery() {
  const [first, ...others] = getState().more;
  if (first) return update({ q: `item:${first}`, upload: null, file: "", more: others });
  update({ q: "", upload: null, file: "", less: [], plus: [], minus: [], then: "" });
}

function uploadChip(upload) {
  const picture = upload.has_video ? el("img", { src: `/api/uploads/${upload.upload}/thumbnail`, alt: "" }) : null;
  picture?.addEventListener("error", () => picture.remove());
  const { node } = chip("file", upload.name, picture, removeQuery);
  if (upload.duration_seconds > 2) {
    const at = el("input", {
      type: "text", class: "at", placeholder: "whole", "aria-label": `Time in ${upload.name}; empty for all of it`,
      title: "A time in the file, such as 01:12. Empty: all of it.",
      value: upload.at === undefined || upload.at === null ? "" : timecode(upload.at),
    });
    at.addEventListener("change", () => update({ upload: { ...upload, at: atTime(at, upload) } }));
    node.insertBefore(el("label", { class: "inline" }, "at ", at), node.lastChild);
  }
  return node;
}

function atTime(input, upload) {
  const seconds = parseTime(input.value);
  const isBad = Number.isNaN(seconds) || seconds > upload.duration_seconds;
  return isBad ? (upload.at ?? null) : seconds;
}

/** All chips. `answered` is the moment that the server has found for the query, if it has. */
export function chipsOf(state, answered) {
  const chips = [];
  const list = (key, word, make) => state[key].forEach((value) => {
    chips.push(make(word, value, () => update({ [key]: without(getState()[key], value) })));
  });
  const plain = (word, label, patch) => chips.push(chip(word, label, null, () => update(patch)).node);
  if (state.upload) chips.push(uploadChip(state.upload));
  else if (state.q && answered?.item_id != null) {
    chips.push(momentChip("like", momentKey(answered.item_id, answered.seconds), removeQuery));
  } else if (state.q) chips.push(queryChip("like", state.q, removeQuery));
  list("plus", "and like", queryChip);
  list("more", "more like", momentChip);
  list("minus", "but not like", queryChip);
  list("less", "less like", momentChip);
  if (state.then) {
    chips.push(queryChip(`within ${state.within} s, then`, state.then, () => update({ then: "" })));
  }
  const text = (word, value, onRemove) => chip(word, value, null, onRemove).node;
  list("titles", "title", text);
  list("kinds", "kind", text);
  list("seasons", "season", text);
  list("inSegments", "in", text);
  list("notInSegments", "not in", text);
  if (state.from !== null) plain("from", timecode(state.from), { from: null });
  if (state.to !== null) plain("to", timecode(state.to), { to: null });
  if (state.perTitle !== null) plain("at most", `${state.perTitle} of each title`, { perTitle: null });
  if (state.everyWindow) plain("show", "every window", { everyWindow: false });
  return chips;
}
