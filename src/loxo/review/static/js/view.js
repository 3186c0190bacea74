// The large picture: spectrogram, axes, frame scores, boxes with movable edges, and the cursor of the sound.

import { painted, table } from './paint.js';
import { clock } from './words.js';

const LEFT = 58, RIGHT = 14, TOP = 10, AXIS = 26, HEAT = 18, GAP = 5; // pixels
const GRIP = 7; // pixels within which the pointer grips an edge
const MIN_S = 0.05, MIN_HZ = 1;
export const MARKS = { yes: '✓', no: '✗', unsure: '?', other: '◆' };
const INK = {
  yes: '#3ddc97', no: '#ff8a5c', unsure: '#ffe066', other: '#e39bd0', open: '#ffffff',
  text: '#c9d3d9', faint: '#3a4750', ground: '#0f1519', cursor: '#ffffff',
};

export class View {
  // on: {edges(bounds), draw(bounds), open(row), seek(seconds)}
  constructor(canvas, settings, on) {
    Object.assign(this, { canvas, settings, on, event: null, picture: null, others: [], drawing: false, drag: null });
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener('pointerdown', (e) => this.down(e));
    canvas.addEventListener('pointermove', (e) => this.move(e));
    canvas.addEventListener('pointerup', (e) => this.up(e));
    canvas.addEventListener('pointercancel', () => { this.drag = null; this.draw(); });
  }

  show(event, picture, failure = '') {
    if (this.event?.row !== event.row) this.others = [];
    Object.assign(this, { event, picture, failure, drag: null });
    this.draw();
  }

  // The coloured levels of a picture, stored with it, so that a picture painted ahead is shown fast.
  layer(picture) {
    const { map, low, range } = this.settings;
    const pixels = table(map, picture.db, low, low + range);
    if (picture.layer?.pixels !== pixels) {
      picture.layer = { pixels, canvas: painted(picture.levels, picture.rows, picture.columns, pixels) };
    }
    return picture.layer.canvas;
  }

  setOthers(others) { this.others = others; this.draw(); }

  // The time range shown: the context around the event as detected; a long event is shown as a whole.
  get window() {
    const home = this.event.detected ?? this.event;
    const half = Math.max(this.settings.context / 2, (home.end_s - home.start_s) * 0.6);
    const middle = (home.start_s + home.end_s) / 2;
    return [middle - half, middle + half];
  }

  get top() { return this.picture ? this.picture.row_hz * this.picture.rows : 250; }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const classes = this.picture?.classes ?? 0;
    const heat = classes ? classes * HEAT + GAP : 0;
    return { width, height, heat, w: width - LEFT - RIGHT, h: height - TOP - AXIS - heat };
  }

  x(seconds) { const [a, b] = this.window; return LEFT + ((seconds - a) / (b - a)) * this.layout().w; }
  y(hertz) { return TOP + (1 - hertz / this.top) * this.layout().h; }
  seconds(x) { const [a, b] = this.window; return a + ((x - LEFT) / this.layout().w) * (b - a); }
  hertz(y) { return (1 - (y - TOP) / this.layout().h) * this.top; }

  // -- drawing

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const { width, height, w, h, heat } = this.layout();
    if (!width || !this.event) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const c = canvas.getContext('2d');
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = INK.ground;
    c.fillRect(0, 0, width, height);
    c.font = '12px system-ui, sans-serif';
    c.textBaseline = 'middle';
    c.save();
    c.beginPath();
    c.rect(LEFT, TOP, w, h);
    c.clip();
    if (this.picture) this.drawSpectrogram(c);
    else this.drawFailure(c, w, h);
    const [from, to] = this.window;
    for (const other of this.others) if (other.end_s > from && other.start_s < to) this.drawBox(c, other, false);
    this.drawBox(c, { ...this.event, ...this.drag?.bounds }, true);
    if (this.drag?.fresh) this.drawBox(c, { ...this.drag.fresh, verdict: null, label: 'new' }, true);
    c.restore();
    this.drawAxes(c, w, h);
    if (heat) this.drawHeat(c, TOP + h + AXIS, w);
    this.drawCursor(c, h);
  }

  drawSpectrogram(c) {
    const { picture } = this;
    const [from, to] = this.window;
    const start = picture.start - picture.hop / 2;
    const first = Math.max(Math.floor((from - start) / picture.hop), 0);
    const stop = Math.min(Math.ceil((to - start) / picture.hop), picture.columns);
    if (stop <= first) return;
    const [x0, x1] = [first, stop].map((column) => this.x(start + column * picture.hop));
    c.imageSmoothingEnabled = true;
    c.drawImage(this.layer(picture), first, 0, stop - first, picture.rows, x0, TOP, x1 - x0, this.layout().h);
  }

  drawFailure(c, w, h) {
    c.fillStyle = INK.text;
    c.textAlign = 'center';
    wrapped(c, this.failure, w - 80).forEach((line, k) => c.fillText(line, LEFT + w / 2, TOP + h / 2 + 20 * k));
  }

  drawBox(c, event, main) {
    const top = this.top;
    const low = event.low_hz ?? 0, high = Math.min(event.high_hz ?? top, top);
    const x = this.x(event.start_s), y = this.y(high);
    const w = this.x(event.end_s) - x, h = this.y(Math.min(low, top)) - y;
    const colour = INK[event.verdict ?? 'open'];
    c.setLineDash(main || event.verdict ? [] : [5, 4]);
    for (const [style, line] of [['rgba(0, 0, 0, 0.65)', main ? 4.5 : 3], [colour, main ? 2 : 1.2]]) {
      c.strokeStyle = style;
      c.lineWidth = line;
      c.strokeRect(x, y, w, h);
    }
    c.setLineDash([]);
    if (main) { // grips
      c.fillStyle = colour;
      for (const at of [x, x + w]) c.fillRect(at - 2.5, y + h / 2 - 11, 5, 22);
    }
    const other = event.verdict === 'other' && event.other ? ` ${event.other}` : '';
    const text = `${event.verdict ? `${MARKS[event.verdict]} ` : ''}${other || event.label}`;
    c.font = `${main ? 600 : 400} 12px system-ui, sans-serif`;
    c.textAlign = 'left';
    const wide = c.measureText(text).width + 10;
    const labelY = y - 20 > TOP ? y - 20 : y + 2;
    c.fillStyle = 'rgba(10, 15, 18, 0.8)';
    c.fillRect(x, labelY, wide, 18);
    c.fillStyle = colour;
    c.fillText(text, x + 5, labelY + 9.5);
  }

  drawAxes(c, w, h) {
    const [from, to] = this.window;
    c.font = '12px system-ui, sans-serif';
    c.strokeStyle = INK.faint;
    c.lineWidth = 1;
    c.strokeRect(LEFT - 0.5, TOP - 0.5, w + 1, h + 1);
    c.fillStyle = INK.text;
    c.textAlign = 'center';
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300].find((s) => (w * s) / (to - from) > 62) ?? 600;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      if (t < 0) continue;
      c.fillRect(this.x(t), TOP + h, 1, 5);
      c.fillText(clock(t), this.x(t), TOP + h + 15);
    }
    c.textAlign = 'right';
    const stepHz = [10, 25, 50, 100, 250, 500, 1000, 2000, 5000].find((s) => (h * s) / this.top > 30) ?? 10000;
    for (let f = 0; f <= this.top + 1e-6; f += stepHz) {
      c.fillRect(LEFT - 5, this.y(f), 5, 1);
      c.fillText(f === 0 ? '0 Hz' : f, LEFT - 9, Math.max(this.y(f), TOP + 5));
    }
  }

  drawHeat(c, y, w) {
    const { picture } = this;
    const { labels, start, hop } = picture.scores;
    c.save();
    c.beginPath();
    c.rect(LEFT, y, w, labels.length * HEAT);
    c.clip();
    c.imageSmoothingEnabled = false;
    const pixels = table(this.settings.map);
    if (picture.heatLayer?.pixels !== pixels) {
      picture.heatLayer = { pixels, canvas: painted(picture.heat, picture.classes, picture.steps, pixels, undefined, false) };
    }
    const first = this.x(start), stop = this.x(start + picture.steps * hop);
    c.drawImage(picture.heatLayer.canvas, first, y, stop - first, labels.length * HEAT);
    c.restore();
    c.fillStyle = INK.text;
    c.textAlign = 'right';
    c.font = '11px system-ui, sans-serif';
    labels.forEach((label, k) => c.fillText(label, LEFT - 7, y + (k + 0.5) * HEAT, LEFT - 8));
  }

  drawCursor(c, h) {
    if (this.cursor === null || this.cursor === undefined) return;
    c.fillStyle = 'rgba(0, 0, 0, 0.6)';
    c.fillRect(this.x(this.cursor) - 1.5, TOP, 4, h);
    c.fillStyle = INK.cursor;
    c.fillRect(this.x(this.cursor) - 0.5, TOP, 2, h);
  }

  // -- the pointer

  place(e) { const box = this.canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; }

  // The edge below the pointer: 'start_s', 'end_s', 'low_hz', 'high_hz' or null.
  edgeAt(x, y) {
    const { start_s: start, end_s: end } = this.event;
    const low = this.event.low_hz ?? 0, high = Math.min(this.event.high_hz ?? this.top, this.top);
    const [x0, x1, y0, y1] = [this.x(start), this.x(end), this.y(high), this.y(low)];
    const near = (a, b) => Math.abs(a - b) <= GRIP;
    if (y > y0 - GRIP && y < y1 + GRIP) {
      if (near(x, x1)) return 'end_s';
      if (near(x, x0)) return 'start_s';
    }
    if (x > x0 && x < x1) {
      if (near(y, y0)) return 'high_hz';
      if (near(y, y1)) return 'low_hz';
    }
    return null;
  }

  down(e) {
    if (e.button !== 0 || !this.event || !this.picture) return;
    const [x, y] = this.place(e);
    const { w, h } = this.layout();
    if (x < LEFT || x > LEFT + w) return;
    if (y > TOP + h) { this.on.seek(this.seconds(x)); return; }
    const edge = this.drawing ? null : this.edgeAt(x, y);
    if (this.drawing) this.drag = { x, y, fresh: this.freshBox(x, y, x, y) };
    else if (edge) this.drag = { edge, bounds: {} };
    else {
      const inside = (o) => x > this.x(o.start_s) && x < this.x(o.end_s);
      const hit = this.others.find((o) => inside(o) && y > this.y(o.high_hz ?? this.top) && y < this.y(o.low_hz ?? 0));
      if (hit) this.on.open(hit.row);
      return;
    }
    this.canvas.setPointerCapture(e.pointerId);
    this.draw();
  }

  move(e) {
    if (!this.event) return;
    const [x, y] = this.place(e);
    const { drag } = this;
    if (!drag) {
      const edge = this.picture && this.edgeAt(x, y);
      this.canvas.style.cursor = this.drawing ? 'crosshair' : !edge ? '' : edge.endsWith('_s') ? 'ew-resize' : 'ns-resize';
      return;
    }
    if (drag.fresh) drag.fresh = this.freshBox(drag.x, drag.y, x, y);
    else drag.bounds = { [drag.edge]: this.limited(drag.edge, drag.edge.endsWith('_s') ? this.seconds(x) : this.hertz(y)) };
    this.draw();
  }

  up() {
    const { drag } = this;
    this.drag = null;
    if (drag?.fresh && drag.fresh.end_s - drag.fresh.start_s > MIN_S) this.on.draw(drag.fresh);
    else if (drag?.bounds && Object.keys(drag.bounds).length) {
      Object.assign(this.event, drag.bounds); // until the server answers
      this.on.edges(drag.bounds);
    }
    this.draw();
  }

  // The value of an edge, limited by the opposite edge and the recording.
  limited(edge, value) {
    const { start_s: start, end_s: end, duration } = this.event;
    const low = this.event.low_hz ?? 0, high = this.event.high_hz ?? this.top;
    const [min, max] = {
      start_s: [0, end - MIN_S], end_s: [start + MIN_S, duration],
      low_hz: [0, high - MIN_HZ], high_hz: [low + MIN_HZ, this.top],
    }[edge];
    return Math.min(Math.max(value, min), max);
  }

  freshBox(x0, y0, x1, y1) {
    const { duration } = this.event;
    const t = [this.seconds(x0), this.seconds(x1)].map((s) => Math.min(Math.max(s, 0), duration)).sort((a, b) => a - b);
    const f = [this.hertz(y0), this.hertz(y1)].map((v) => Math.min(Math.max(v, 0), this.top)).sort((a, b) => a - b);
    return { start_s: t[0], end_s: t[1], low_hz: f[0], high_hz: Math.max(f[1], f[0] + MIN_HZ) };
  }
}

function wrapped(c, text, width) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (c.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}
