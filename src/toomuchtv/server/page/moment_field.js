// A text field for a moment, with completion: an ARIA combobox whose list is asked of the server.

import { getJson, supersede, wasAborted } from "./api.js";
import { duration, el, thumbnail, timecode } from "./dom.js";
import { getIndex } from "./library.js";

let fields = 0;

// The server answers with the beginning of an item where no time was typed.
const HAS_TIME = /(@|\s)\d+(:\d+)+(\.\d+)?$|@\d+(\.\d+)?$/;

/**
 * Turn an input into a moment field.
 *
 * `onPick(query)` gets what `search` accepts. `onOpen(option)` gets an item that was picked without
 * a time. `onError(error)` gets a completion that failed. Returns `submit()`, which picks what was typed.
 */
export function momentField(input, { onPick, onOpen, onError }) {
  const purpose = `complete ${++fields}`;
  const list = el("ul", { class: "completions", role: "listbox", id: `completions-${fields}`, "aria-label": "Moments" });
  list.hidden = true;
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false",
  })) input.setAttribute(name, value);

  let options = [];
  let active = -1;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function activate(number) {
    active = number;
    [...list.children].forEach((node, position) => {
      node.setAttribute("aria-selected", String(position === active));
    });
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", list.children[active].id);
    list.children[active].scrollIntoView({ block: "nearest" });
  }

  function render() {
    list.replaceChildren(...options.map((option, number) => {
      const node = optionNode(option);
      node.id = `${list.id}-${number}`;
      // The field keeps the focus: a click must not blur it before the option is picked.
      node.addEventListener("pointerdown", (event) => event.preventDefault());
      node.addEventListener("click", () => pick(option));
      return node;
    }));
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(options.length > 0));
    activate(-1);
  }

  async function ask(text) {
    const found = await getJson(`/api/complete?q=${encodeURIComponent(text)}&limit=8`, supersede(purpose));
    const answer = found.map((option) => ({ ...option, hasTime: HAS_TIME.test(text) }));
    return getIndex()?.has_text && text.length > 2
      ? [...answer, { words: text, query: `text:${text}` }] : answer;
  }

  async function suggest() {
    const text = input.value.trim();
    if (!text || text.startsWith("text:")) {
      supersede(purpose);
      return close();
    }
    try {
      options = await ask(text);
      // The answer may come after the field was left.
      if (document.activeElement === input) render();
    } catch (error) {
      if (!wasAborted(error)) onError(error);
    }
  }

  function pick(option) {
    close();
    if (option.words || option.hasTime) return onPick(option.query);
    return onOpen ? onOpen(option) : onPick(option.query);
  }

  async function submit() {
    const text = input.value.trim();
    close();
    if (!text) return;
    if (/^(text|item):/.test(text)) return onPick(text);
    try {
      const [first] = await ask(text);
      if (first) pick(first);
      // The server explains what is wrong with a text that fits no item.
      else onPick(text.replace(/\s+(\d+(:\d+)+(\.\d+)?)$/, "@$1"));
    } catch (error) {
      if (!wasAborted(error)) onError(error);
    }
  }

  input.addEventListener("input", suggest);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const isOpen = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) return suggest();
      const step = event.key === "ArrowDown" ? 1 : -1;
      // One position before the first option is the field itself.
      const count = options.length + 1;
      activate(((active + 1 + step + count) % count) - 1);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      // First the list goes, then the field: arrows then move among the hits.
      if (isOpen) close();
      else input.blur();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (active >= 0) pick(options[active]);
      else submit();
    }
  });
  return { submit, close };
}

function optionNode(option) {
  if (option.words) {
    return el("li", { role: "option", class: "words" }, el("span", {}, `Search in words: “${option.words}”`));
  }
  const at = option.hasTime ? option.seconds : option.duration_seconds * 0.3;
  const detail = option.hasTime ? timecode(option.seconds)
    : `${duration(option.duration_seconds)} · add a time, or choose it to browse`;
  return el("li", { role: "option" },
    thumbnail(option.item_id, at, 160),
    el("span", {}, el("b", {}, option.name), el("small", {}, detail)));
}
