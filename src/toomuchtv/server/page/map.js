// A map of the catalog: every window is a point, and points that are near are alike.
//
// 100,000 points are drawn as pixels into one image, which takes a few milliseconds a frame. A grid
// over the map finds the point under the pointer without asking all of them.

import { getBytes, getJson, supersede, wasAborted } from "./api.js";
import { announce, byId, el, thumbnail, timecode } from "./dom.js";
import { hideError, showError, showProgress } from "./messages.js";
import { getIndex, nameOf, rememberName } from "./library.js";
import { openKey, update } from "./state.js";

const GRID = 128;
const REACH_PIXELS = 12;
const LEGEND_TITLES = 40;

const canvas = byId("map-canvas");
const card = byId("map-card");

let points = null;
let grid = null;
let colors = null; // A color for each title.
let inks = null; // The color of each point; 0 where its title is not shown.
let titles = [];
let chosenTitle = null;
let view = { x: 0, y: 0, zoom: 1 };
let hits = [];
let marks = []; // The points of these hits.
let frame = 0;
let hovered = -1;

/** Mark the hits of the last search on the map. */
export function markHits(list) {
  hits = list;
  if (points) marks = hits.map(pointOf).filter((i) => i >= 0);
  draw();
}

function readPoints(buffer, count) {
  const at = (number, Type) => new Type(buffer, 4 * count * number, count);
  return {
    count, x: at(0, Float32Array), y: at(1, Float32Array), seconds: at(2, Float32Array),
    item: at(3, Uint32Array), title: at(4, Uint32Array),
  };
}

const cellOf = (value) => Math.max(0, Math.min(GRID - 1, Math.floor(((value + 1) / 2) * GRID)));

/** Points sorted by cell of a grid: `starts[cell]` is where the points of a cell begin in `order`. */
function makeGrid({ count, x, y }) {
  const cells = new Uint16Array(count);
  const starts = new Uint32Array(GRID * GRID + 1);
  for (let i = 0; i < count; i++) {
    cells[i] = cellOf(y[i]) * GRID + cellOf(x[i]);
    starts[cells[i] + 1]++;
  }
  for (let cell = 0; cell < GRID * GRID; cell++) starts[cell + 1] += starts[cell];
  const next = starts.slice();
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[next[cells[i]]++] = i;
  return { starts, order };
}

/** The point that is nearest to a place of the canvas in CSS pixels, or -1 if none is near. */
function nearest(px, py, reach = REACH_PIXELS) {
  if (!points) return -1;
  const size = scale();
  const [x, y] = toMap(px, py);
  const radius = reach / size;
  let best = -1;
  let bestDistance = radius * radius;
  for (let row = cellOf(y - radius); row <= cellOf(y + radius); row++) {
    for (let column = cellOf(x - radius); column <= cellOf(x + radius); column++) {
      const cell = row * GRID + column;
      for (let k = grid.starts[cell]; k < grid.starts[cell + 1]; k++) {
        const i = grid.order[k];
        if (!inks[i]) continue;
        const distance = (points.x[i] - x) ** 2 + (points.y[i] - y) ** 2;
        if (distance < bestDistance) [best, bestDistance] = [i, distance];
      }
    }
  }
  return best;
}

// CSS pixels for one unit of the map, whose coordinates are in -1..1.
const scale = () => (Math.min(canvas.clientWidth, canvas.clientHeight) / 2 - 16) * view.zoom;
const toMap = (px, py) => [
  (px - canvas.clientWidth / 2) / scale() + view.x, (canvas.clientHeight / 2 - py) / scale() + view.y,
];
const toScreen = (x, y) => [
  (x - view.x) * scale() + canvas.clientWidth / 2, canvas.clientHeight / 2 - (y - view.y) * scale(),
];

function draw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (points && canvas.clientWidth) paint();
  });
}

function paint() {
  const ratio = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const size = scale() * ratio;
  const left = width / 2 - view.x * size;
  const top = height / 2 + view.y * size;
  // Few points are drawn larger than many, and all of them when zoomed in.
  const side = Math.round(ratio * Math.max(2, Math.min(7, 5 - Math.log10(points.count / 1000) * 1.5 + Math.log2(view.zoom))));
  const { count, x, y } = points;
  for (let i = 0; i < count; i++) {
    const ink = inks[i];
    if (!ink) continue;
    const px = Math.round(left + x[i] * size - side / 2);
    const py = Math.round(top - y[i] * size - side / 2);
    if (px < 0 || py < 0 || px + side > width || py + side > height) continue;
    for (let row = py; row < py + side; row++) {
      const first = row * width + px;
      for (let at = first; at < first + side; at++) pixels[at] = ink;
    }
  }
  context.putImageData(image, 0, 0);
  paintMarks(context, ratio);
}

function paintMarks(context, ratio) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = 2;
  const ring = (i, radius) => {
    context.beginPath();
    context.arc(...toScreen(points.x[i], points.y[i]), radius, 0, 2 * Math.PI);
    context.stroke();
  };
  for (const i of marks) ring(i, 7);
  if (hovered >= 0) ring(hovered, 5);
  if (document.activeElement === canvas) {
    const [cx, cy] = [canvas.clientWidth / 2, canvas.clientHeight / 2];
    context.lineWidth = 1;
    context.strokeRect(cx - 6, cy - 6, 12, 12);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
}

/** The point of a hit: the one of its item that is nearest in time. */
function pointOf(hit) {
  let best = -1;
  let distance = Infinity;
  for (let i = 0; i < points.count; i++) {
    if (points.item[i] !== hit.item_id) continue;
    const away = Math.abs(points.seconds[i] - hit.center_seconds);
    if (away < distance) [best, distance] = [i, away];
  }
  return best;
}

function mixInks() {
  inks = Uint32Array.from(points.title, (title) =>
    (chosenTitle === null || title === chosenTitle ? colors.get(title) : 0));
}

/** A color for each title, apart in hue, readable on the background of the theme. */
function makeColors(list) {
  const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
  const probe = el("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  return new Map(list.map((title, number) => {
    // The golden angle keeps any number of hues apart.
    probe.fillStyle = `hsl(${(number * 137.508 + 35) % 360} ${isDark ? 70 : 75}% ${isDark ? 66 : 38}%)`;
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    return [title.id, ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0];
  }));
}

const cssColor = (color) => `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;

async function load() {
  const [encoder, modality] = byId("map-encoder").value.split("|");
  const values = new URLSearchParams({ encoder, modality });
  const signal = supersede("map");
  showProgress("map", true);
  // The server computes a map when it is first asked for, which takes a while for a large index.
  const empty = byId("map-empty");
  empty.hidden = points !== null;
  empty.textContent = "The map is drawn. The first time takes a while…";
  try {
    const answer = await getJson(`/api/map?${values}`, signal);
    const buffer = await getBytes(answer.points_url, signal);
    points = readPoints(buffer, answer.count);
    grid = makeGrid(points);
    titles = answer.titles;
    hovered = -1;
    markHits(hits);
    empty.hidden = true;
    hideError("map");
    showLegend();
    reset();
    announce(`Map of ${answer.count} moments of ${titles.length} titles.`);
  } catch (error) {
    if (wasAborted(error)) return;
    points = null;
    byId("legend").replaceChildren();
    empty.hidden = error.status !== 404;
    empty.textContent = error.message;
    if (error.status !== 404) showError("map", error.message, { label: "Try again", action: load });
  }
  showProgress("map", false);
}

function showLegend() {
  colors = makeColors(titles);
  mixInks();
  const counts = new Map();
  for (let i = 0; i < points.count; i++) counts.set(points.title[i], (counts.get(points.title[i]) ?? 0) + 1);
  const order = titles.filter(({ id }) => counts.has(id)).sort((a, b) => counts.get(b.id) - counts.get(a.id));
  byId("legend").replaceChildren(...order.slice(0, LEGEND_TITLES).map((title) => {
    const swatch = el("i", { "aria-hidden": "true" });
    swatch.style.background = cssColor(colors.get(title.id));
    const button = el("button", { type: "button", "aria-pressed": String(chosenTitle === title.id),
      onclick: () => choose(title) },
    swatch, el("span", {}, title.name), el("small", {}, counts.get(title.id).toLocaleString("en")));
    button.dataset.title = title.id;
    return el("li", {}, button);
  }), order.length > LEGEND_TITLES ? el("li", { class: "muted" }, `and ${order.length - LEGEND_TITLES} more titles`) : "");
}

/** Show one title alone, with the titles that are most like it; choose it again for all. */
async function choose(title) {
  chosenTitle = chosenTitle === title.id ? null : title.id;
  for (const button of byId("legend").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.title) === chosenTitle));
  }
  mixInks();
  draw();
  const box = byId("similar");
  const signal = supersede("similar");
  box.hidden = true;
  if (chosenTitle === null) return;
  const [, modality] = byId("map-encoder").value.split("|");
  try {
    const similar = await getJson(`/api/similar-titles?title=${title.id}&modality=${modality}`, signal);
    box.replaceChildren(el("h2", {}, `Most like ${title.name}`),
      el("ol", {}, ...similar.map((other) => el("li", {},
        el("span", {}, other.name), el("small", {}, other.similarity.toFixed(2))))));
    box.hidden = similar.length === 0;
  } catch (error) {
    if (!wasAborted(error)) showError("map", error.message);
  }
}

async function hover(i, px, py) {
  if (i === hovered) return;
  hovered = i;
  draw();
  card.hidden = i < 0;
  if (i < 0) return;
  const itemId = points.item[i];
  const seconds = points.seconds[i];
  const label = el("b", {}, "…");
  card.replaceChildren(thumbnail(itemId, seconds), label, el("span", {}, timecode(Math.floor(seconds))));
  // The card stays inside of the map, beside the point.
  card.style.left = `${Math.max(0, px + 190 > canvas.clientWidth ? px - 190 : px + 14)}px`;
  card.style.top = `${Math.max(0, Math.min(py - 40, canvas.clientHeight - 160))}px`;
  const name = await nameOf(itemId).catch(() => `Item ${itemId}`);
  label.textContent = name;
  if (hovered === i && document.activeElement === canvas) announce(`${name} ${timecode(Math.floor(seconds))}`);
}

function openPoint(i) {
  if (i < 0) return;
  const encoder = getIndex().encoders.find(({ name }) => name === byId("map-encoder").value.split("|")[0]);
  const half = (encoder?.window_seconds ?? 2) / 2;
  const seconds = points.seconds[i];
  rememberName(points.item[i], card.querySelector("b")?.textContent ?? `Item ${points.item[i]}`);
  update({ open: openKey(points.item[i], Math.max(0, seconds - half), seconds + half) });
}

function reset() {
  view = { x: 0, y: 0, zoom: 1 };
  draw();
}

/** Zoom by a factor; what is at this place of the canvas stays there. */
function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
  const [x, y] = toMap(px, py);
  view.zoom = Math.max(0.5, Math.min(200, view.zoom * factor));
  const [afterX, afterY] = toMap(px, py);
  pan(x - afterX, y - afterY);
}

function pan(x, y) {
  view.x = Math.max(-1.5, Math.min(1.5, view.x + x));
  view.y = Math.max(-1.5, Math.min(1.5, view.y + y));
  draw();
}

function bindPointers() {
  const down = new Map();
  let moved = 0;
  const place = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) return hover(nearest(...now), ...now);
    const others = [...down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const step = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(...step);
    if (others.length) {
      const [other] = others;
      const away = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(away(now) / Math.max(1, away(before)), ...other);
    } else pan(-step[0] / scale(), step[1] / scale());
    down.set(event.pointerId, now);
  });
  const up = (event) => {
    if (down.delete(event.pointerId) && event.type === "pointerup" && moved < 5) openPoint(nearest(...place(event)));
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...place(event));
  }, { passive: false });
}

function bindKeys() {
  const middle = () => nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 40);
  const step = () => 40 / scale();
  canvas.addEventListener("keydown", (event) => {
    const action = {
      ArrowLeft: () => pan(-step(), 0), ArrowRight: () => pan(step(), 0), ArrowUp: () => pan(0, step()),
      ArrowDown: () => pan(0, -step()), "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4),
      0: reset, Enter: () => openPoint(middle()),
    }[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
    hover(middle(), canvas.clientWidth / 2, canvas.clientHeight / 2);
  });
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", () => hover(-1).then(draw));
}

export function startMap() {
  bindPointers();
  bindKeys();
  byId("map-encoder").addEventListener("change", load);
  byId("map-in").addEventListener("click", () => zoom(1.6));
  byId("map-out").addEventListener("click", () => zoom(1 / 1.6));
  byId("map-all").addEventListener("click", reset);
  new ResizeObserver(draw).observe(canvas);
  // Colors differ between dark and light.
  const recolor = () => {
    if (points) showLegend();
    draw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
  addEventListener("themechange", recolor);
}

/** Show the map; points are read when it is first looked at, and when the index has changed. */
export function showMap() {
  if (points) draw();
  else load();
}

export function forgetMap() {
  points = null;
  const senses = { video: "look", audio: "sound" };
  byId("map-encoder").replaceChildren(...getIndex().encoders.flatMap((encoder) =>
    ["video", "audio"].filter((modality) => encoder[modality]).map((modality) =>
      el("option", { value: `${encoder.name}|${modality}` }, `${encoder.name}, ${senses[modality]}`))));
}
