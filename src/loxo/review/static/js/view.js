// The large picture: a stretch of a recording with axes, frame scores, boxes with movable edges, and the cursor of the
// sound. Dragging moves it, the wheel and two fingers zoom.

import { boxes, ink } from './ink.js';
import { t } from './language.js';
import { painted, table } from './paint.js';
import { clock, clockDate, clockTime } from './words.js';

const TOP = 10, HEAT = 18, GAP = 5, LINE = 16; // pixels
const GRIP = 7, FINGER = 20; // pixels within which the mouse and a finger grip an edge
const MIN_S = 0.05, MIN_HZ = 1;
const DRAG = 5; // pixels; a shorter movement is a click
export const MARKS = { yes: '✓', no: '✗', unsure: '?', other: '◆' };

export class View {
  // on: {edges(bounds), draw(bounds), open(row), seek(seconds), look(from, to)}
  constructor(canvas, settings, on) {
    Object.assign(this, {
      canvas, settings, on, place: null, range: [0, 30], event: null, picture: null, failure: '', others: [], searched: [],
      target: null, drawing: false, drag: null, pointers: new Map(),
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener('pointerdown', (e) => this.down(e));
    canvas.addEventListener('pointermove', (e) => this.move(e));
    canvas.addEventListener('pointerup', (e) => this.up(e));
    canvas.addEventListener('pointercancel', (e) => { this.pointers.delete(e.pointerId); this.drag = null; this.draw(); });
    canvas.addEventListener('wheel', (e) => this.wheel(e), { passive: false });
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

  get top() { return this.picture ? this.picture.row_hz * this.picture.rows : 250; }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const wide = width >= 640;
    const left = wide ? 62 : 52, right = wide ? 58 : 8;
    const axis = 10 + LINE * (this.place?.begin ? 2 : 1);
    const classes = this.picture?.classes ?? 0;
    const heat = classes ? classes * HEAT + GAP : 0;
    return { width, height, heat, axis, left, right, wide, w: width - left - right, h: height - TOP - axis - heat };
  }

  x(seconds) { const [a, b] = this.range, l = this.layout(); return l.left + ((seconds - a) / (b - a)) * l.w; }
  y(hertz) { return TOP + (1 - hertz / this.top) * this.layout().h; }
  seconds(x) { const [a, b] = this.range, l = this.layout(); return a + ((x - l.left) / l.w) * (b - a); }
  hertz(y) { return (1 - (y - TOP) / this.layout().h) * this.top; }

  // -- drawing

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const l = this.layout();
    if (!l.width || !this.place) return;
    if (canvas.width !== Math.round(l.width * ratio) || canvas.height !== Math.round(l.height * ratio)) {
      canvas.width = Math.round(l.width * ratio);
      canvas.height = Math.round(l.height * ratio);
    }
    this.ink = { ...boxes(this.settings.map), text: ink('text'), faint: ink('faint'), soft: ink('soft'), accent: ink('accent') };
    const c = canvas.getContext('2d');
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = ink('canvas');
    c.fillRect(0, 0, l.width, l.height);
    c.font = '12px system-ui, sans-serif';
    c.textBaseline = 'middle';
    c.save();
    c.beginPath();
    c.rect(l.left, TOP, l.w, l.h);
    c.clip();
    if (this.picture) this.drawSpectrogram(c);
    else if (this.failure) this.drawFailure(c, l);
    this.drawStretches(c, l);
    const [from, to] = this.range;
    for (const other of this.others) {
      if (other.row !== this.event?.row && other.end_s > from && other.start_s < to) this.drawBox(c, other, false);
    }
    if (this.event) this.drawBox(c, { ...this.event, ...this.drag?.bounds }, true);
    if (this.drag?.fresh) this.drawBox(c, { ...this.drag.fresh, verdict: null, label: 'new' }, true);
    c.restore();
    this.drawAxes(c, l);
    if (this.picture && l.wide) this.drawLegend(c, l);
    if (l.heat) this.drawHeat(c, TOP + l.h + l.axis, l);
    this.drawCursor(c, l.h);
  }

  drawSpectrogram(c) {
    const { picture } = this;
    const [from, to] = this.range;
    const start = picture.start - picture.hop / 2;
    const first = Math.max(Math.floor((from - start) / picture.hop), 0);
    const stop = Math.min(Math.ceil((to - start) / picture.hop), picture.columns);
    if (stop <= first) return;
    const [x0, x1] = [first, stop].map((column) => this.x(start + column * picture.hop));
    c.imageSmoothingEnabled = true;
    c.drawImage(this.layer(picture), first, 0, stop - first, picture.rows, x0, TOP, x1 - x0, this.layout().h);
  }

  drawFailure(c, l) {
    c.fillStyle = this.ink.text;
    c.textAlign = 'center';
    wrapped(c, this.failure, l.w - 40).forEach((line, k) => c.fillText(line, l.left + l.w / 2, TOP + 30 + 20 * k));
  }

  // Stretches that were searched, and the random one that is to be searched.
  drawStretches(c, l) {
    c.textAlign = 'left';
    for (const stretch of this.searched) {
      const [x0, x1] = [this.x(stretch.start_s), this.x(stretch.end_s)];
      c.fillStyle = this.ink.yes;
      c.fillRect(x0, TOP, x1 - x0, 3);
    }
    if (!this.target) return;
    const [x0, x1] = [this.x(this.target.start_s), this.x(this.target.end_s)];
    c.fillStyle = 'rgba(128, 128, 128, 0.45)';
    c.fillRect(l.left, TOP, Math.max(x0 - l.left, 0), l.h);
    c.fillRect(x1, TOP, Math.max(l.left + l.w - x1, 0), l.h);
    c.fillStyle = this.ink.yes;
    for (const x of [x0, x1]) c.fillRect(x - 1, TOP, 2, l.h);
  }

  drawBox(c, event, main) {
    const top = this.top;
    const low = event.low_hz ?? 0, high = Math.min(event.high_hz ?? top, top);
    const x = this.x(event.start_s), y = this.y(high);
    const w = Math.max(this.x(event.end_s) - x, 2), h = this.y(Math.min(low, top)) - y;
    const colour = this.ink[event.verdict ?? 'open'];
    c.setLineDash(main || event.verdict ? [] : [5, 4]);
    for (const [style, line] of [[this.ink.halo, main ? 4.5 : 3], [colour, main ? 2 : 1.2]]) {
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
    if (!main && w < 12 && wide > w + 40 && this.others.length > 30) return; // no room for all labels
    const labelY = y - 20 > TOP ? y - 20 : y + 2;
    c.fillStyle = this.ink.tag;
    c.fillRect(x, labelY, wide, 18);
    c.fillStyle = colour;
    c.fillText(text, x + 5, labelY + 9.5);
  }

  drawAxes(c, l) {
    const [from, to] = this.range;
    const { begin } = this.place;
    c.font = '12px system-ui, sans-serif';
    c.strokeStyle = this.ink.faint;
    c.lineWidth = 1;
    c.strokeRect(l.left - 0.5, TOP - 0.5, l.w + 1, l.h + 1);
    c.fillStyle = this.ink.text;
    c.textAlign = 'center';
    const room = to - from > 3600 ? 76 : 66;
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800].find((s) => (l.w * s) / (to - from) > room) ?? 21600;
    const digits = step < 1 ? 1 : 0;
    for (let t = Math.ceil(from / step - 1e-9) * step; t <= to; t += step) {
      const x = this.x(t);
      c.fillStyle = this.ink.text;
      c.fillRect(x, TOP + l.h, 1, 5);
      if (x < l.left + 9 || x > l.left + l.w - 18) continue;
      if (begin) c.fillText(clockTime(begin, t) + (digits ? (t % 1 ? '.5' : '.0') : ''), x, TOP + l.h + 15);
      c.fillStyle = begin ? this.ink.soft : this.ink.text;
      c.fillText(clock(t, digits), x, TOP + l.h + (begin ? 15 + LINE : 15));
    }
    c.textAlign = 'right';
    c.fillStyle = this.ink.text;
    c.font = '11px system-ui, sans-serif';
    if (begin) c.fillText(t('clock'), l.left - 18, TOP + l.h + 15);
    c.fillStyle = begin ? this.ink.soft : this.ink.text;
    c.fillText(l.wide ? t('in file') : t('file'), l.left - 18, TOP + l.h + (begin ? 15 + LINE : 15));
    c.font = '12px system-ui, sans-serif';
    c.fillStyle = this.ink.text;
    const stepHz = [10, 25, 50, 100, 250, 500, 1000, 2000, 5000].find((s) => (l.h * s) / this.top > 30) ?? 10000;
    for (let f = 0; f <= this.top + 1e-6; f += stepHz) {
      c.fillRect(l.left - 5, this.y(f), 5, 1);
      c.fillText(`${f}${f === 0 || f + stepHz > this.top + 1e-6 ? ' Hz' : ''}`, l.left - 8, Math.max(this.y(f), TOP + 5));
    }
    if (this.picture?.sampled) {
      this.drawNote(c, l, TOP + l.h - 26, t('Overview: {n} s of every {hop} s. Zoom in for all of the sound.', { n: this.picture.sampled, hop: Math.round(this.picture.hop) }));
    } else if (this.picture?.clips) this.drawNote(c, l, TOP + 6, t('Only clips of events were kept: there is no sound around them.'));
  }

  // A sentence at the left of the picture.
  drawNote(c, l, y, text) {
    c.textAlign = 'left';
    c.fillStyle = this.ink.tag;
    c.fillRect(l.left + 6, y, Math.min(c.measureText(text).width + 12, l.w - 12), 20);
    c.fillStyle = this.ink.open;
    c.fillText(text, l.left + 12, y + 10, l.w - 24);
  }

  // The colours of the levels, in dB above the median of each frequency.
  drawLegend(c, l) {
    const { low, range, map } = this.settings;
    const x = l.left + l.w + 10, height = Math.min(l.h - 34, 140), y = TOP + 16;
    const pixels = table(map);
    const bytes = Uint8Array.from({ length: 64 }, (_, k) => k * 4);
    if (this.bar?.pixels !== pixels) this.bar = { pixels, canvas: painted(bytes, 64, 1, pixels) };
    c.drawImage(this.bar.canvas, x, y, 10, height);
    c.fillStyle = this.ink.soft;
    c.font = '11px system-ui, sans-serif';
    c.textAlign = 'left';
    c.fillText('dB', x, TOP + 6);
    c.fillText(low + range, x + 14, y + 5);
    c.fillText(low, x + 14, y + height - 5);
  }

  drawHeat(c, y, l) {
    const { picture } = this;
    const { labels, start, hop } = picture.scores;
    c.save();
    c.beginPath();
    c.rect(l.left, y, l.w, labels.length * HEAT);
    c.clip();
    c.imageSmoothingEnabled = false;
    const pixels = table(this.settings.map);
    if (picture.heatLayer?.pixels !== pixels) {
      picture.heatLayer = { pixels, canvas: painted(picture.heat, picture.classes, picture.steps, pixels, undefined, false) };
    }
    const first = this.x(start), stop = this.x(start + picture.steps * hop);
    c.drawImage(picture.heatLayer.canvas, first, y, stop - first, labels.length * HEAT);
    c.restore();
    c.fillStyle = this.ink.text;
    c.textAlign = 'right';
    c.font = '11px system-ui, sans-serif';
    labels.forEach((label, k) => c.fillText(label, l.left - 5, y + (k + 0.5) * HEAT, l.left - 8));
    if (!l.wide) return;
    const x = l.left + l.w + 8, width = l.right - 12; // legend: score 0 to 1
    c.save();
    c.translate(x, y + HEAT - 4);
    c.rotate(Math.PI / 2);
    if (this.bar) c.drawImage(this.bar.canvas, 0, -width, 6, width);
    c.restore();
    c.textAlign = 'center';
    c.fillStyle = this.ink.soft;
    c.fillText('score', x + width / 2, y + 6);
    c.textAlign = 'left';
    c.fillText('0', x, y + HEAT + 10);
    c.textAlign = 'right';
    c.fillText('1', x + width, y + HEAT + 10);
  }

  drawCursor(c, h) {
    if (this.cursor === null || this.cursor === undefined) return;
    c.fillStyle = this.ink.halo;
    c.fillRect(this.x(this.cursor) - 1.5, TOP, 4, h);
    c.fillStyle = this.ink.cursor;
    c.fillRect(this.x(this.cursor) - 0.5, TOP, 2, h);
  }

  // What the picture shows, in words.
  words() {
    const [from, to] = this.range, { begin, recording } = this.place;
    const when = begin ? `${clockDate(begin, from)}, ${t('{from} to {to}', { from: clockTime(begin, from), to: clockTime(begin, to) })}`
      : t('{from} – {to} in the file', { from: clock(from), to: clock(to) });
    const shown = this.others.filter((e) => e.end_s > from && e.start_s < to).length;
    return t('Spectrogram of {recording}, {when}, {hz} Hz high, {n} listed or drawn events.', { recording, when, hz: Math.round(this.top), n: shown });
  }

  // -- the pointer

  at(e) { const box = this.canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; }

  // The edge below the pointer: 'start_s', 'end_s', 'low_hz', 'high_hz' or null.
  edgeAt(x, y, grip = GRIP) {
    if (!this.event) return null;
    const { start_s: start, end_s: end } = this.event;
    const low = this.event.low_hz ?? 0, high = Math.min(this.event.high_hz ?? this.top, this.top);
    const [x0, x1, y0, y1] = [this.x(start), this.x(end), this.y(high), this.y(low)];
    const near = (a, b) => Math.abs(a - b) <= grip;
    if (y > y0 - grip && y < y1 + grip) {
      if (near(x, x1) && (x >= x1 - GRIP || x1 - x < (x1 - x0) / 3)) return 'end_s';
      if (near(x, x0)) return 'start_s';
    }
    if (x > x0 && x < x1) {
      if (near(y, y0)) return 'high_hz';
      if (near(y, y1)) return 'low_hz';
    }
    return null;
  }

  down(e) {
    if (e.button !== 0 || !this.place) return;
    const [x, y] = this.at(e);
    const { left, w, h } = this.layout();
    if (x < left || x > left + w) return;
    this.pointers.set(e.pointerId, [x, y]);
    this.canvas.setPointerCapture(e.pointerId);
    if (this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()];
      this.drag = { pinch: Math.max(Math.abs(a[0] - b[0]), 20), range: this.range, middle: this.seconds((a[0] + b[0]) / 2) };
      return;
    }
    if (y > TOP + h) { this.drag = { seek: this.seconds(x) }; return; }
    const edge = this.drawing || !this.picture ? null : this.edgeAt(x, y, e.pointerType === 'touch' ? FINGER : GRIP);
    if (this.drawing) this.drag = { x, y, fresh: this.freshBox(x, y, x, y) };
    else if (edge) this.drag = { edge, bounds: {} };
    else this.drag = { x, y, range: this.range, moved: false };
    this.draw();
  }

  move(e) {
    if (!this.place) return;
    const [x, y] = this.at(e);
    const { drag } = this;
    if (!drag) {
      const edge = this.picture && this.edgeAt(x, y);
      this.canvas.style.cursor = this.drawing ? 'crosshair' : !edge ? 'grab' : edge.endsWith('_s') ? 'ew-resize' : 'ns-resize';
      return;
    }
    if (this.pointers.has(e.pointerId)) this.pointers.set(e.pointerId, [x, y]);
    if (drag.pinch) {
      const [a, b] = [...this.pointers.values()];
      if (!b) return;
      const { left, w } = this.layout();
      const length = (drag.range[1] - drag.range[0]) * (drag.pinch / Math.max(Math.abs(a[0] - b[0]), 20));
      const share = ((a[0] + b[0]) / 2 - left) / w;
      this.on.look(drag.middle - share * length, drag.middle + (1 - share) * length);
      return;
    }
    if (drag.fresh) drag.fresh = this.freshBox(drag.x, drag.y, x, y);
    else if (drag.edge) drag.bounds = { [drag.edge]: this.limited(drag.edge, drag.edge.endsWith('_s') ? this.seconds(x) : this.hertz(y)) };
    else if (drag.range) {
      drag.moved ||= Math.abs(x - drag.x) > DRAG;
      const shift = ((drag.x - x) / this.layout().w) * (drag.range[1] - drag.range[0]);
      if (drag.moved) this.on.look(drag.range[0] + shift, drag.range[1] + shift);
      return;
    }
    this.draw();
  }

  up(e) {
    this.pointers.delete(e.pointerId);
    const { drag } = this;
    if (drag?.pinch && this.pointers.size) return; // the other finger
    this.drag = null;
    if (drag?.seek !== undefined) this.on.seek(drag.seek);
    else if (drag?.fresh) { if (drag.fresh.end_s - drag.fresh.start_s > MIN_S) this.on.draw(drag.fresh); }
    else if (drag?.bounds && Object.keys(drag.bounds).length) {
      Object.assign(this.event, drag.bounds); // until the server answers
      this.on.edges(drag.bounds);
    } else if (drag?.range && !drag.moved) this.click(...this.at(e));
    this.draw();
  }

  click(x, y) {
    const inside = (o) => x > this.x(o.start_s) - 3 && x < this.x(o.end_s) + 3 && y > this.y(o.high_hz ?? this.top) && y < this.y(o.low_hz ?? 0);
    const hit = this.others.find((o) => o.row !== this.event?.row && inside(o));
    if (hit) this.on.open(hit.row);
  }

  wheel(e) {
    if (!this.place) return;
    e.preventDefault();
    const [from, to] = this.range;
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      const shift = ((e.deltaX || e.deltaY) / 600) * (to - from);
      this.on.look(from + shift, to + shift);
    } else this.zoom(2 ** (Math.sign(e.deltaY) * Math.min(Math.abs(e.deltaY), 120) / 240), this.seconds(this.at(e)[0]));
  }

  // Shows `factor` times as many seconds; the sound at `middle` stays where it is.
  zoom(factor, middle = (this.range[0] + this.range[1]) / 2) {
    const [from, to] = this.range;
    const length = Math.min(Math.max((to - from) * factor, 2), this.place.duration);
    const share = (middle - from) / (to - from);
    this.on.look(middle - share * length, middle + (1 - share) * length);
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
    const { duration } = this.place;
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
