// Errors with a way on, and the thin line that says that something is under way.

import { byId, el } from "./dom.js";

const errors = new Map();
const busy = new Set();

/** Show an error until it is closed or its subject succeeds. A subject has one error at a time. */
export function showError(subject, message, way = null) {
  hideError(subject);
  const node = el("p", { class: "error-line" }, el("span", {}, message),
    way && el("button", { type: "button", class: "quiet", onclick: way.action }, way.label),
    el("button", { type: "button", class: "icon", "aria-label": "Close this message", onclick: () => hideError(subject) }, "×"));
  errors.set(subject, node);
  byId("errors").append(node);
}

export function hideError(subject) {
  errors.get(subject)?.remove();
  errors.delete(subject);
}

export function showProgress(subject, isBusy) {
  if (isBusy) busy.add(subject);
  else busy.delete(subject);
  byId("progress").hidden = busy.size === 0;
}
