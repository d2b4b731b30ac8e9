// A moment in its film: the film plays in place from the hit and loops it.
//
// A film that the browser can play is streamed from where it lies. Of any other film the server makes
// short excerpts from its proxy; times on the page are always times of the item.

import { supersede, wasAborted } from "./api.js";
import { isSelected, onSelection, toggleSelected } from "./basket.js";
import { lessLike, moreLike, searchFrom } from "./cards.js";
import { announce, byId, range, sentence, thumbnailUrl, timecode } from "./dom.js";
import { getItem } from "./library.js";
import { getState, leaveMoment, openKey, update } from "./state.js";
import { Timeline } from "./timeline.js";

const EXCERPT_SECONDS = 40;
// Seeking is not exact to the last digit: a picture at the edge of the hit still belongs to it.
const EDGE_SECONDS = 0.3;

const dialog = byId("player");
const video = byId("video");
// Items whose source this browser could not play, although it said that it might.
const refused = new Map();

let timeline = null;
let hits = [];
let shown = null; // {key, item, start, stop, hit}
let offset = 0; // Time of the item at time 0 of the video element.
let isExcerpt = false;
let ownSeek = false;
let warmed = 0; // The item that was loaded in advance.

export const isOpen = () => dialog.open;

/** Hits to step through with "previous" and "next", and to mark on the timeline. */
export function setPlayerHits(list) {
  hits = list;
  if (shown?.item) showHits();
}

const keyOf = (hit) => openKey(hit.item_id, hit.start_seconds, hit.stop_seconds);

/** Show the moment of the URL, or close the player if there is none. */
export async function showMoment(open) {
  if (!open) return close();
  const key = openKey(open.itemId, open.start, open.stop);
  if (shown?.key === key && dialog.open) return;
  const signal = supersede("item");
  const moment = { key, item: null, start: open.start, stop: open.stop, hit: hits.find((hit) => keyOf(hit) === key) };
  const isSameItem = shown?.item?.item_id === open.itemId;
  const last = shown;
  shown = moment;
  if (!dialog.open) dialog.showModal();
  byId("loop").checked = true;
  byId("player-time").textContent = range(open.start, open.stop);
  if (!isSameItem && (warmed !== open.itemId || video.error)) clearScreen();
  try {
    moment.item = isSameItem ? last.item : await getItem(open.itemId);
  } catch (error) {
    if (!signal.aborted && !wasAborted(error)) fail(error.message);
    return;
  }
  if (signal.aborted || shown !== moment) return;
  // The film first: it takes longest.
  play(open.start);
  if (!isSameItem) {
    timeline = new Timeline(byId("timeline"), moment.item, { onSeek: seek, onHit: (hit) => step(hit) });
  }
  byId("player-title").textContent = moment.item.name;
  showHits();
}

function showHits() {
  const { item, start, stop } = shown;
  const here = hits.filter((hit) => hit.item_id === item.item_id);
  shown.hit = hits.find((hit) => keyOf(hit) === shown.key);
  timeline.show(start, stop, here);
  const place = hits.indexOf(shown.hit);
  byId("previous-hit").disabled = place <= 0;
  byId("next-hit").disabled = place < 0 || place >= hits.length - 1;
  for (const id of ["previous-hit", "next-hit"]) byId(id).hidden = hits.length < 2;
  byId("player-less").disabled = !getState().q && !getState().upload;
  showSelected();
}

function showSelected() {
  byId("player-select").checked = Boolean(shown) && isSelected(asHit());
}

/** The opened moment as a hit: the hit that it is, or a bare one that has not been searched for. */
function asHit() {
  if (shown.hit) return shown.hit;
  const { item, start, stop } = shown;
  return {
    rank: 1, name: item.name, title: item.title, kind: item.kind, season: item.season,
    episode: item.episode, item_id: item.item_id, start: timecode(start), stop: timecode(stop),
    start_seconds: start, stop_seconds: stop, center_seconds: (start + stop) / 2, similarity: null,
    z_score: null, is_confident: false, score: 0, encoder: null, query_modality: null,
    modality: null, num_collapsed: 0, then_seconds: null, matches: [],
  };
}

function step(hit) {
  if (hit) update({ open: keyOf(hit) }, { replace: true });
}

export const stepBy = (count) => step(hits[hits.indexOf(shown?.hit) + count]);

/** Until the picture of the hit is there, its thumbnail is seen, and not the film's first picture. */
function showThumbnail(itemId, seconds) {
  video.classList.add("waiting");
  video.parentElement.style.backgroundImage = `url("${thumbnailUrl(itemId, seconds, 640)}")`;
}

/**
 * Load a film and seek in it while the pointer rests on a hit. A click then shows the picture at
 * once, instead of after the table of an hour's frames was read and frames were decoded up to it.
 */
export async function warmUp(hit) {
  const item = await getItem(hit.item_id).catch(() => null);
  if (!item?.playable || dialog.open || refused.has(item.item_id)) return;
  if (!video.canPlayType(item.playable.mime)) return;
  warmed = item.item_id;
  load(item, hit.start_seconds);
  jump(hit.start_seconds);
}

function clearScreen() {
  warmed = 0;
  video.removeAttribute("src");
  video.load();
  video.hidden = false;
  byId("player-failure").hidden = true;
  byId("player-note").hidden = true;
  byId("timeline").replaceChildren();
}

function fail(message) {
  video.hidden = true;
  byId("player-failure").hidden = false;
  byId("player-failure").textContent = message;
}

function note(text) {
  byId("player-note").hidden = !text;
  byId("player-note").textContent = text;
}

/** Play the item from this time, from the source if the browser can, else from the proxy. */
function play(seconds) {
  const { item } = shown;
  const { playable } = item;
  const reason = refused.get(item.item_id)
    ?? (playable ? null : item.reason)
    ?? (video.canPlayType(playable.mime) ? null : `This browser does not play ${playable.mime}.`);
  if (!reason) return playSource(seconds);
  if (!item.excerpt) return fail(`${sentence(reason)} There is no proxy to play instead; toomuchtv prepare makes one.`);
  note(`${sentence(reason)} You see an excerpt from its small copy, in lower quality.`);
  playExcerpt(seconds);
}

function playSource(seconds) {
  note("");
  load(shown.item, seconds);
  if (lacksPicture()) return sourceFailed();
  jump(seconds);
  startPlaying();
}

function load(item, seconds) {
  const { url, offset_seconds: late } = item.playable;
  if (!isExcerpt && video.getAttribute("src") === url) return;
  isExcerpt = false;
  // A player begins with the first stream, an item with its first picture.
  offset = -late;
  showThumbnail(item.item_id, seconds);
  video.src = url;
}

/** Browsers play the sound of a film whose picture they cannot decode. */
const lacksPicture = () => !isExcerpt && video.readyState > 0 && shown?.item?.width && !video.videoWidth;

function playExcerpt(seconds) {
  const { item, start, stop } = shown;
  const length = Math.min(120, Math.max(EXCERPT_SECONDS, seconds === start ? stop - start + 10 : 0));
  const isLoaded = isExcerpt && Number.isFinite(video.duration)
    && seconds >= offset && seconds < offset + video.duration - 0.5;
  if (!isLoaded) {
    isExcerpt = true;
    // An excerpt at the very end would have no picture.
    offset = Math.max(0, Math.min(seconds, item.duration_seconds - 1));
    showThumbnail(item.item_id, seconds);
    video.src = `/media/${item.item_id}/excerpt?start=${offset.toFixed(3)}&seconds=${length.toFixed(1)}`;
  }
  jump(seconds);
  startPlaying();
}

async function startPlaying() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return; // Superseded, or an error event follows.
    // Sound needs a click first: a link that opens a moment begins silently.
    video.muted = true;
    await video.play().catch(() => {});
  }
}

function jump(seconds) {
  const target = Math.max(0, seconds - offset);
  if (Math.abs(video.currentTime - target) < 0.01) return; // It is there already, or on its way.
  ownSeek = true;
  video.currentTime = target;
}

const position = () => video.currentTime + offset;

/** Go to a time that the user has chosen. Outside of the hit, looping ends. */
function seek(seconds) {
  const { item, start: first, stop } = shown;
  const target = Math.max(0, Math.min(seconds, item.duration_seconds));
  if (target < first - EDGE_SECONDS || target > stop + EDGE_SECONDS) byId("loop").checked = false;
  if (isExcerpt) playExcerpt(target);
  else jump(target);
  timeline.move(target);
}

async function sourceFailed() {
  if (!shown?.item || !video.getAttribute("src")) return;
  const { item } = shown;
  if (!isExcerpt) {
    refused.set(item.item_id, "This browser cannot play the film as it is.");
    return play(position() || shown.start);
  }
  note("");
  // The element does not tell why; the server does.
  const answer = await fetch(video.src).catch(() => null);
  const problem = answer && !answer.ok ? await answer.json().catch(() => ({})) : {};
  fail(sentence(problem.detail ?? "the excerpt cannot be played"));
}

function close() {
  supersede("item");
  shown = null;
  if (dialog.open) dialog.close();
  clearScreen();
}

/** Called for each frame that is shown: moves the playhead, and loops. */
function tick() {
  if (!shown?.item) return;
  const now = position();
  timeline?.move(now);
  if (byId("loop").checked && !video.seeking && now >= shown.stop) jump(shown.start);
}

export function searchHere() {
  const { item } = shown;
  const seconds = position();
  announce(`Searching from ${item.name} at ${timecode(seconds)}`);
  searchFrom(item.item_id, seconds);
}

export const playerHit = () => shown?.item && asHit();
export const toggleLoop = () => byId("loop").click();
export const toggleSelect = () => byId("player-select").click();
export const seekBy = (seconds) => shown?.item && seek(position() + seconds);
export const seekShot = (direction) => shown?.item && seek(timeline.shotFrom(position(), direction));

export function togglePlay() {
  if (video.paused) startPlaying();
  else video.pause();
}

export function startPlayer() {
  dialog.addEventListener("close", () => {
    if (getState().open) leaveMoment();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // The backdrop.
  });
  byId("close-player").addEventListener("click", () => dialog.close());
  byId("previous-hit").addEventListener("click", () => stepBy(-1));
  byId("next-hit").addEventListener("click", () => stepBy(1));
  byId("here").addEventListener("click", searchHere);
  byId("player-more").addEventListener("click", () => moreLike(asHit()));
  byId("player-less").addEventListener("click", () => lessLike(asHit()));
  byId("player-select").addEventListener("change", () => toggleSelected(asHit()));
  byId("loop").addEventListener("change", () => {
    if (byId("loop").checked) seek(shown.start);
  });
  onSelection(showSelected);
  video.addEventListener("error", sourceFailed);
  video.addEventListener("loadedmetadata", () => {
    if (lacksPicture()) sourceFailed();
  });
  video.addEventListener("seeking", () => {
    const now = position();
    const isInside = shown && now >= shown.start - EDGE_SECONDS && now <= shown.stop + EDGE_SECONDS;
    if (!ownSeek && shown && !isInside) byId("loop").checked = false;
    timeline?.move(now);
  });
  video.addEventListener("seeked", () => {
    ownSeek = false;
    video.classList.remove("waiting");
  });
  // Where the wanted time is the first one, nothing is sought.
  video.addEventListener("playing", () => {
    if (!video.seeking) video.classList.remove("waiting");
  });
  video.addEventListener("ended", () => {
    if (!shown?.item) return;
    const end = position();
    if (byId("loop").checked) {
      jump(shown.start);
      startPlaying();
    } else if (isExcerpt && end < shown.item.duration_seconds - 1) playExcerpt(end);
  });
  const onFrame = () => {
    tick();
    video.requestVideoFrameCallback(onFrame);
  };
  // Each shown frame is a better clock than `timeupdate`, which comes four times a second.
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(onFrame);
  video.addEventListener("timeupdate", tick);
}
