// Events of a run over the time of the recorders' clocks, one row for each label, and the analysed hours below them.

import { day, hours, label, number, ordered, t } from './language.js';

const [WIDTH, ROW, EFFORT] = [1000, 34, 12];
const NAMESPACE = 'http://www.w3.org/2000/svg';

function shape(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

export function drawStrip(holder, strip) {
  if (!strip) { holder.replaceChildren(); return; }
  const labels = ordered(Object.keys(strip.labels));
  const bins = strip.effort.length, width = WIDTH / bins;
  const rows = labels.map((name) => {
    const counts = strip.labels[name];
    const most = Math.max(...counts, 1);
    const sum = counts.reduce((a, b) => a + b, 0);
    const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${ROW}`, preserveAspectRatio: 'none', class: `bars ${name}`, role: 'img',
      'aria-label': t('{label}: {n} events, at most {most} in one part of the strip', { label: label(name), n: number(sum), most: number(most) }) });
    counts.forEach((n, k) => {
      if (!n) return;
      const height = Math.max(ROW * n / most, 3);
      svg.append(shape('rect', { x: k * width, y: ROW - height, width: Math.max(width - 1.5, 1.5), height, rx: 1 }));
    });
    return rowOf(label(name), svg);
  });
  const most = Math.max(...strip.effort, 1e-9);
  const effort = shape('svg', { viewBox: `0 0 ${WIDTH} ${EFFORT}`, preserveAspectRatio: 'none', class: 'effort', role: 'img',
    'aria-label': t('Analysed sound: {hours}', { hours: hours(strip.effort.reduce((a, b) => a + b, 0)) }) });
  strip.effort.forEach((n, k) => { if (n) effort.append(shape('rect', { x: k * width, y: 0, width: width + 0.6, height: EFFORT, opacity: 0.25 + 0.75 * n / most })); });
  const axis = document.createElement('div');
  axis.className = 'axis';
  const end = strip.first ? new Date(Date.parse(`${strip.first.slice(0, 19)}Z`) + 1000 * strip.seconds).toISOString() : null;
  const texts = strip.first ? [...new Set([day(strip.first), day(end)])] : [t('0 h'), hours(strip.seconds / 3600)];
  axis.append(...texts.map((text) => Object.assign(document.createElement('span'), { textContent: text })));
  holder.replaceChildren(...rows, rowOf(t('effort'), effort), axis);
}

function rowOf(name, svg) {
  const row = document.createElement('div');
  row.className = 'strip-row';
  row.append(Object.assign(document.createElement('span'), { textContent: name }), svg);
  return row;
}
