// The panel of further conditions: a sequence, further moments, titles, kinds, seasons, segments, times.

import { el, parseTime, timecode } from "./dom.js";
import { momentField } from "./moment_field.js";
import { getState, update } from "./state.js";

/** How many conditions of the panel are set. */
export function countFilters(state) {
  const lists = ["plus", "minus", "titles", "kinds", "seasons", "inSegments", "notInSegments", "weights"];
  const others = [state.then, state.from !== null, state.to !== null, state.perTitle !== null, state.everyWindow, state.uncentered];
  return lists.reduce((sum, key) => sum + state[key].length, 0) + others.filter(Boolean).length;
}

function row(label, ...content) {
  return el("div", { class: "row" }, el("span", { class: "row-label" }, label), el("div", { class: "row-content" }, ...content));
}

/** A field to add a moment with; what is picked becomes a chip. */
function adder(label, onPick, onError) {
  const input = el("input", { type: "text", "aria-label": label, placeholder: "Title and time", autocomplete: "off", spellcheck: "false" });
  const box = el("div", { class: "field" }, input);
  momentField(input, {
    onError,
    onPick: (query) => {
      input.value = "";
      onPick(query);
    },
  });
  return box;
}

function pills(label, key, values, words = String) {
  return el("div", { class: "pills", role: "group", "aria-label": label }, ...values.map((value) => {
    const box = el("input", { type: "checkbox", "data-key": key, value });
    box.addEventListener("change", () => {
      const others = getState()[key].filter((other) => other !== String(value));
      update({ [key]: box.checked ? [...others, String(value)] : others });
    });
    return el("label", {}, box, el("span", {}, words(value)));
  }));
}

function timeInput(key, label, placeholder) {
  const input = el("input", { type: "text", class: "short", "aria-label": label, placeholder, "data-time": key, autocomplete: "off" });
  input.addEventListener("change", () => {
    const seconds = parseTime(input.value);
    input.setAttribute("aria-invalid", String(Number.isNaN(seconds)));
    if (!Number.isNaN(seconds)) update({ [key]: seconds });
  });
  return input;
}

function numberInput(key, label, attributes) {
  const input = el("input", { type: "number", class: "short", "aria-label": label, "data-number": key, ...attributes });
  input.addEventListener("change", () => {
    if (input.validity.valid) update({ [key]: input.value === "" ? null : input.valueAsNumber });
  });
  return input;
}

function flag(key, label) {
  const box = el("input", { type: "checkbox", "data-flag": key });
  box.addEventListener("change", () => update({ [key]: box.checked }));
  return el("label", { class: "check" }, box, el("span", {}, label));
}

function titlePicker(titles) {
  const input = el("input", { type: "text", list: "title-names", "aria-label": "Only this title", placeholder: "Any title", autocomplete: "off" });
  input.addEventListener("change", () => {
    const chosen = titles.find((title) => title.name.toLowerCase() === input.value.trim().toLowerCase());
    input.setAttribute("aria-invalid", String(Boolean(input.value) && !chosen));
    if (!chosen) return;
    input.value = "";
    update({ titles: [...new Set([...getState().titles, chosen.name])] });
  });
  return [input, el("datalist", { id: "title-names" }, ...titles.map((title) => el("option", { value: title.name })))];
}

function weightInputs(encoders) {
  return encoders.map(({ name }) => {
    const input = el("input", { type: "number", class: "short", min: 0, step: 0.5, placeholder: "1", "data-weight": name });
    input.addEventListener("change", () => {
      const others = getState().weights.filter((text) => !text.startsWith(`${name}:`));
      update({ weights: input.value === "" ? others : [...others, `${name}:${input.valueAsNumber}`] });
    });
    return el("label", { class: "inline" }, name, " ", input);
  });
}

/** Build the panel for an index. */
export function buildFilters(panel, index, onError) {
  const kinds = [...new Set(index.titles.map((title) => title.kind))].sort();
  const add = (key) => (query) => update({ [key]: [...new Set([...getState()[key], query])] });
  panel.replaceChildren(
    row("Then", adder("Then a moment like", (then) => update({ then }), onError),
      el("label", { class: "inline" }, "within ", numberInput("within", "Seconds until the second moment", { min: 1, max: 600, step: 1 }), " s")),
    row("And like", adder("And like", add("plus"), onError)),
    row("But not like", adder("But not like", add("minus"), onError)),
    row("Title", ...titlePicker(index.titles)),
    kinds.length > 1 ? row("Kind", pills("Kind", "kinds", kinds)) : "",
    index.seasons.length ? row("Season", pills("Season", "seasons", index.seasons)) : "",
    index.segment_kinds.length ? row("Only in", pills("Only in segments", "inSegments", index.segment_kinds)) : "",
    index.segment_kinds.length ? row("Not in", pills("Not in segments", "notInSegments", index.segment_kinds)) : "",
    row("Between", timeInput("from", "From this time of the item", "00:00"), " and ", timeInput("to", "To this time of the item", "end")),
    row("Hits", el("label", { class: "inline" }, "at most ", numberInput("perTitle", "At most this many hits of a title", { min: 1, max: 200, step: 1, placeholder: "any" }), " of each title"),
      flag("everyWindow", "Every window"), flag("uncentered", "Keep what a title's moments share")),
    index.encoders.length > 1 ? row("Weights", ...weightInputs(index.encoders)) : "",
  );
}

/** Show the state in the panel. */
export function showFilters(panel, state) {
  for (const box of panel.querySelectorAll("[data-key]")) box.checked = state[box.dataset.key].includes(box.value);
  for (const box of panel.querySelectorAll("[data-flag]")) box.checked = state[box.dataset.flag];
  for (const input of panel.querySelectorAll("[data-time]")) {
    const seconds = state[input.dataset.time];
    input.value = seconds === null ? "" : timecode(seconds);
  }
  for (const input of panel.querySelectorAll("[data-number]")) input.value = state[input.dataset.number] ?? "";
  for (const input of panel.querySelectorAll("[data-weight]")) {
    const weight = state.weights.find((text) => text.startsWith(`${input.dataset.weight}:`));
    input.value = weight ? weight.slice(input.dataset.weight.length + 1) : "";
  }
}
