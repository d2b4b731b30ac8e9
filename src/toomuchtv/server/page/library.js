// What the page knows of the library: the index, and the items that it has asked for.

import { getJson } from "./api.js";

const items = new Map();
const names = new Map();
let index = null;

export const getIndex = () => index;

export async function loadIndex() {
  index = await getJson("/api/index");
  items.clear();
  return index;
}

/** An item with its segments; asked for once. */
export function getItem(itemId) {
  if (!items.has(itemId)) {
    const answer = getJson(`/api/items/${itemId}`);
    items.set(itemId, answer);
    answer.then((item) => names.set(itemId, item.name), () => items.delete(itemId));
  }
  return items.get(itemId);
}

export const rememberName = (itemId, name) => names.set(itemId, name);
export const knownName = (itemId) => names.get(itemId);

export async function nameOf(itemId) {
  return names.get(itemId) ?? (await getItem(itemId)).name;
}

/** Whether the server has seen `embed` or `prepare` change something since the index was read. */
export async function hasChanged() {
  const { generation } = await getJson("/api/generation");
  return index !== null && generation !== index.generation;
}
