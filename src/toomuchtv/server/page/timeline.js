// What an item consists of: shots, segments and hits along its time, and where the player is.

import { el, range, timecode } from "./dom.js";

// Shots, black and silence are many and small: they are drawn. The others are buttons.
const DRAWN = { shot: "--shot", black: "--black", silence: "--silence" };

export class Timeline {
  /** `onSeek(seconds)` is called for a time that was chosen, `onHit(hit)` for a hit. */
  constructor(root, item, { onSeek, onHit }) {
    this.item = item;
    this.onHit = onHit;
    this.duration = Math.max(item.duration_seconds, 0.001);
    this.shots = item.segments.filter(({ kind }) => kind === "shot")
      .map((segment) => segment.start_seconds).sort((a, b) => a - b);
    this.canvas = el("canvas", { class: "drawn", "aria-hidden": "true" });
    this.moment = el("div", { class: "moment" });
    this.head = el("div", { class: "playhead" });
    this.hits = el("ul", { class: "ticks", "aria-label": "Hits of this item" });
    this.track = el("div", {
      class: "track", role: "slider", tabindex: "0", "aria-label": "Position in the item",
      "aria-valuemin": "0", "aria-valuenow": "0", "aria-valuemax": item.duration_seconds.toFixed(1),
    }, this.canvas, this.moment);
    this.clock = el("span", { class: "clock" });
    root.replaceChildren(
      el("div", { class: "lanes" }, this.hits, this.track, this.#segments(onSeek), this.head),
      el("div", { class: "timeline-foot" }, this.clock, this.#key()),
    );
    this.#bind(onSeek);
    this.#draw();
    this.resizing = new ResizeObserver(() => this.#draw());
    this.resizing.observe(this.track);
  }

  #place(node, start, stop) {
    node.style.left = `${(100 * start) / this.duration}%`;
    if (stop !== undefined) node.style.width = `${(100 * (stop - start)) / this.duration}%`;
    return node;
  }

  #segments(onSeek) {
    const buttons = this.item.segments.filter(({ kind }) => !(kind in DRAWN)).map((segment) => {
      const { kind, start_seconds: start, stop_seconds: stop } = segment;
      const button = el("button", {
        type: "button", class: `segment ${kind}`, title: `${kind} ${range(start, stop)}`,
        "aria-label": `Go to the ${kind}, ${range(start, stop)}`, onclick: () => onSeek(start),
      }, kind);
      return el("li", {}, this.#place(button, start, stop));
    });
    return buttons.length ? el("ul", { class: "segments", "aria-label": "Segments" }, ...buttons) : "";
  }

  #key() {
    const kinds = new Set(this.item.segments.map(({ kind }) => kind));
    return el("span", { class: "key" },
      el("span", { class: "key-hit" }, "hit"),
      ...Object.keys(DRAWN).filter((kind) => kinds.has(kind)).map((kind) => el("span", { class: `key-${kind}` }, kind)));
  }

  /** Mark the opened moment and the hits of the item. */
  show(start, stop, hits) {
    this.#place(this.moment, start, stop);
    this.hits.replaceChildren(...hits.map((hit) => {
      const isShown = hit.start_seconds === start && hit.stop_seconds === stop;
      const button = el("button", {
        type: "button", title: `Hit ${hit.rank}, ${range(hit.start_seconds, hit.stop_seconds)}`,
        "aria-label": `Hit ${hit.rank} at ${timecode(hit.start_seconds)}`,
        "aria-current": isShown ? "true" : null, onclick: () => this.onHit(hit),
      });
      return el("li", {}, this.#place(button, (hit.start_seconds + hit.stop_seconds) / 2));
    }));
  }

  /** Put the playhead at a time. */
  move(seconds) {
    this.#place(this.head, Math.min(seconds, this.duration));
    const text = `${timecode(Math.floor(seconds))} of ${timecode(Math.floor(this.duration))}`;
    if (this.clock.textContent === text) return;
    this.clock.textContent = text;
    this.track.setAttribute("aria-valuenow", seconds.toFixed(1));
    this.track.setAttribute("aria-valuetext", text);
  }

  /** Start of the next shot (direction 1), or of this shot or the one before (-1). */
  shotFrom(seconds, direction) {
    if (direction > 0) return this.shots.find((start) => start > seconds + 0.05) ?? seconds;
    // Half a second after a cut, "back" means the shot before.
    return this.shots.findLast((start) => start < seconds - 0.5) ?? 0;
  }

  #bind(onSeek) {
    const at = (event) => {
      const box = this.track.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * this.duration;
    };
    this.track.addEventListener("pointerdown", (event) => {
      this.track.setPointerCapture(event.pointerId);
      onSeek(at(event));
    });
    this.track.addEventListener("pointermove", (event) => {
      this.track.title = timecode(Math.floor(at(event)));
      if (this.track.hasPointerCapture(event.pointerId)) onSeek(at(event));
    });
    this.track.addEventListener("keydown", (event) => {
      const now = Number(this.track.getAttribute("aria-valuenow"));
      const target = {
        ArrowLeft: now - 1, ArrowRight: now + 1, ArrowDown: now - 1, ArrowUp: now + 1,
        PageDown: now - 10, PageUp: now + 10, Home: 0, End: this.duration - 1,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      onSeek(target);
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.track;
    if (!width) return;
    const scale = devicePixelRatio;
    Object.assign(this.canvas, { width: width * scale, height: height * scale });
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.track);
    const drawn = this.item.segments.filter(({ kind }) => kind in DRAWN);
    let shots = 0;
    for (const { kind, start_seconds: start, stop_seconds: stop } of drawn) {
      const left = (start / this.duration) * this.canvas.width;
      const right = (stop / this.duration) * this.canvas.width;
      context.fillStyle = style.getPropertyValue(DRAWN[kind]);
      // Every second shot is shaded, so that cuts show as edges.
      if (kind === "shot" && shots++ % 2) continue;
      const top = { shot: 0, black: 0.6, silence: 0.8 }[kind] * this.canvas.height;
      const bottom = { shot: 0.6, black: 0.8, silence: 1 }[kind] * this.canvas.height;
      context.fillRect(left, top, Math.max(scale, right - left), bottom - top);
    }
  }
}
