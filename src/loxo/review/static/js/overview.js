// The bar below the picture: the whole recording with its events, searched stretches and the part that is shown.

import { boxes, ink } from './ink.js';
import { t } from './language.js';
import { clock, clockTime } from './words.js';

const BAR = 26; // pixels; the times stand below
const STEPS = [10, 30, 60, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400]; // seconds between times

export class Overview {
  // on.look(from, to): shows another part
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, place: null, range: [0, 1], content: null });
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener('pointerdown', (e) => {
      if (e.button !== 0) return;
      canvas.setPointerCapture(e.pointerId);
      this.go(e);
    });
    canvas.addEventListener('pointermove', (e) => { if (canvas.hasPointerCapture(e.pointerId)) this.go(e); });
    canvas.addEventListener('keydown', (e) => {
      const steps = { ArrowLeft: -0.5, ArrowRight: 0.5, PageUp: -1, PageDown: 1, Home: -Infinity, End: Infinity };
      if (!(e.key in steps) || !this.place) return;
      e.preventDefault();
      e.stopPropagation();
      const [from, to] = this.range, length = to - from;
      const start = Math.min(Math.max(from + steps[e.key] * length, 0), this.place.duration - length);
      this.on.look(start, start + length);
    });
  }

  go(e) {
    if (!this.place) return;
    const box = this.canvas.getBoundingClientRect();
    const at = ((e.clientX - box.left) / box.width) * this.place.duration;
    const half = (this.range[1] - this.range[0]) / 2;
    this.on.look(at - half, at + half);
  }

  show(place, range, content = this.content) {
    Object.assign(this, { place, range, content });
    const { canvas } = this;
    canvas.hidden = range[1] - range[0] > 0.98 * place.duration; // a short recording is shown as a whole
    const words = (s) => (place.begin ? clockTime(place.begin, s) : clock(s));
    canvas.setAttribute('aria-valuemax', Math.round(place.duration));
    canvas.setAttribute('aria-valuenow', Math.round(range[0]));
    canvas.setAttribute('aria-valuetext', t('{from} to {to}', { from: words(range[0]), to: words(range[1]) }));
    this.draw();
  }

  draw() {
    const { canvas, place, content } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !place) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const c = canvas.getContext('2d');
    c.scale(ratio, ratio);
    c.fillStyle = ink('canvas');
    c.fillRect(0, 0, width, BAR);
    const x = (s) => (s / place.duration) * width;
    const colours = boxes(ink('paper') ? 'paper' : 'magma');
    if (content?.scores) { // frame scores
      c.fillStyle = ink('faint');
      const wide = width / content.scores.length;
      content.scores.forEach((value, k) => c.fillRect(k * wide, BAR - (value / 255) * BAR, Math.max(wide, 1), (value / 255) * BAR));
    }
    c.fillStyle = ink('accent');
    for (const s of content?.searched ?? []) c.fillRect(x(s.start_s), BAR - 4, Math.max(x(s.end_s) - x(s.start_s), 2), 4);
    const inks = { '-': colours.open, y: colours.yes, n: colours.no };
    for (const [part, letter] of Object.entries(content?.marks ?? {})) {
      c.fillStyle = inks[letter];
      c.fillRect(x((Number(part) / content.columns) * place.duration), letter === 'n' ? 12 : 3, 2, letter === 'n' ? 8 : 15);
    }
    const [a, b] = this.range.map(x);
    c.fillStyle = ink('window');
    c.fillRect(a, 0, Math.max(b - a, 3), BAR);
    c.strokeStyle = ink('text');
    c.lineWidth = 1.5;
    c.strokeRect(a + 0.75, 0.75, Math.max(b - a, 3) - 1.5, BAR - 1.5);
    c.fillStyle = ink('soft');
    c.font = '11px system-ui, sans-serif';
    c.textBaseline = 'top';
    c.textAlign = 'center';
    const step = STEPS.find((s) => (width * s) / place.duration > 66) ?? 86400;
    const shift = place.begin ? (Date.parse(`${place.begin.slice(0, 23)}Z`) / 1000) % step : 0; // full hours of the clock
    for (let s = Math.ceil(shift / step) * step - shift; s < place.duration; s += step) {
      if (x(s) < 22 || x(s) > width - 22) continue;
      c.fillRect(x(s), BAR, 1, 3);
      c.fillText(place.begin ? clockTime(place.begin, s).slice(0, step < 60 ? 8 : 5) : clock(s), x(s), BAR + 4);
    }
  }
}
