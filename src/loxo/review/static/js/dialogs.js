// What opens over the page: results and export, the keys, and the choice of a label.

import { getJson, post } from './api.js';
import { count, element } from './words.js';

const KEYS = [
  ['Y N U', 'yes, no, unsure: on disk, then the next event'], ['O', 'other label'],
  ['← →', 'previous, next event'], ['Z', 'undo'],
  ['Shift+Z', 'redo'], ['Backspace', 'take the decision away'],
  ['Space', 'play the event, stop'], ['Shift+Space', 'play all that is shown'],
  ['1 2 3 4', 'play at 1x, 4x, 8x, 16x speed'], ['5', 'play pitch-shifted, in real time'],
  ['A S', 'start edge earlier, later'], ['K L', 'end edge earlier, later (Shift: a tenth)'],
  ['D', 'draw a missed event (Enter keeps it)'], ['T', 'note'],
  ['B', 'band'], ['+ −', 'fewer, more seconds'],
  [', .', 'floor of the picture'], ['M', 'colour map'],
  ['G', 'grid of many'], ['X', 'in the grid: select'],
  ['F', 'filter'], ['R', 'results and export'],
];

export function help(dialog) {
  const cells = KEYS.flatMap(([key, text]) => [element('kbd', {}, key), element('span', {}, text)]);
  dialog.replaceChildren(element('h2', {}, 'Keys'), element('div', { class: 'keys' }, ...cells),
    element('p', {}, 'Drag an edge of the box to move it. Click beside the time axis to play from there.'));
  dialog.showModal();
}

// Asks for a label; null when it was given up. A digit takes the choice with that number.
export function askLabel(dialog, title, choices) {
  return new Promise((resolve) => {
    const input = element('input', { type: 'text', maxlength: 60, placeholder: 'another one', 'aria-label': 'label' });
    const done = (label) => { answer = label; dialog.close(); };
    let answer = null;
    const buttons = choices.map((label, k) =>
      element('button', { type: 'button', onclick: () => done(label) }, label, element('kbd', {}, k + 1)));
    input.addEventListener('keydown', (e) => {
      if (e.key === 'Enter' && (input.value.trim() || choices[0])) { e.preventDefault(); done(input.value.trim() || choices[0]); }
      else if (!input.value && Number(e.key) >= 1 && Number(e.key) <= choices.length) { e.preventDefault(); done(choices[e.key - 1]); }
    });
    dialog.replaceChildren(element('h2', {}, title), element('div', { class: 'choices' }, ...buttons), input);
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
    input.focus();
  });
}

export async function results(dialog, fail) {
  const found = await getJson('/api/results');
  const exported = element('p', { id: 'exported' });
  const button = element('button', { type: 'button', id: 'export-button', onclick: async () => {
    button.disabled = true;
    try {
      const { folder, files, events } = await post('/api/export');
      exported.replaceChildren(`${count(events, 'true event')} in ${count(files, 'file')}: `, element('strong', {}, folder));
    } catch (error) { fail(error); }
    button.disabled = false;
  } }, 'Write reviewed tables');
  const reviewers = Object.entries(found.reviewers).map(([name, n]) => `${name} ${n.toLocaleString('en')}`).join(', ');
  const disputed = found.disputed ? ` ${count(found.disputed, 'event')} disputed.` : '';
  const strangers = found.strangers ? ` ${count(found.strangers, 'decision')} on events this run no longer has.` : '';
  dialog.replaceChildren(
    element('h2', {}, 'Results'),
    element('p', {}, `Decided: ${reviewers || 'nothing yet'}. ${count(found.drawn, 'missed event')} drawn.${disputed}${strangers}`),
    ...found.classes.flatMap(ofClass),
    ...(found.agreement.length ? [element('h3', {}, 'Agreement'), ...found.agreement.map(agreement)] : []),
    element('h3', {}, 'Export'), button, exported,
  );
  dialog.showModal();
  dialog.focus();
  dialog.scrollTop = 0;
}

function ofClass(c) {
  const said = [['yes', c.yes], ['no', c.no], ['other', c.other], ['unsure', c.unsure], ['disputed', c.disputed], ['open', c.open], ['missed', c.missed]];
  const parts = [
    element('h3', {}, `${c.label}: ${count(c.events, 'event')}`),
    element('p', {}, said.filter(([, n]) => n).map(([word, n]) => `${n.toLocaleString('en')} ${word}`).join(' · ') || 'none'),
  ];
  if (!c.curve) {
    if (c.events) parts.push(element('p', {}, `${count(c.needed, 'more decision')}, best spread over all scores, until thresholds and an estimate can be given.`));
    return parts;
  }
  const { estimate: e } = c;
  parts.push(element('p', {}, element('strong', {}, `${Math.round(e.confirmed + e.expected).toLocaleString('en')} true events`),
    ` (95 % interval ${(e.confirmed + e.low).toLocaleString('en')} to ${(e.confirmed + e.high).toLocaleString('en')}): ${e.confirmed.toLocaleString('en')} confirmed, about ${Math.round(e.expected).toLocaleString('en')} among ${e.unreviewed.toLocaleString('en')} not decided.`));
  const rows = c.thresholds.map((t) => element('tr', {}, element('td', {}, `${Math.round(100 * t.precision)} %`),
    element('td', {}, t.score?.toFixed(3) ?? '–'), element('td', {}, t.threshold?.toFixed(3) ?? '–')));
  const head = element('tr', {}, ...['right', 'an event of score', 'all events from'].map((h) => element('th', {}, h)));
  const canvas = element('canvas', { width: 600, height: 400, role: 'img', 'aria-label': `share of right ${c.label} events by score` });
  plot(canvas, c);
  parts.push(element('div', { class: 'fit' }, canvas, element('table', {}, head, ...rows)));
  return parts;
}

function agreement(pair) {
  const kappa = pair.kappa === null ? 'one category only: no kappa'
    : `kappa ${pair.kappa.toFixed(2)} (${pair.low.toFixed(2)} to ${pair.high.toFixed(2)})`;
  return element('p', {}, `${pair.reviewers.join(' and ')}: the same on ${pair.agreed} of ${count(pair.events, 'event')}, ${kappa}`);
}

// P(right | score): the fit with its interval, and the observed shares.
function plot(canvas, c) {
  const g = canvas.getContext('2d');
  const [left, top, w, h] = [70, 16, 510, 320];
  const x = (score) => left + score * w, y = (p) => top + (1 - p) * h;
  g.font = '22px system-ui, sans-serif';
  g.fillStyle = '#93a3ad';
  g.strokeStyle = '#2b3740';
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    g.strokeRect(x(0), y(tick), w, 0);
    g.textAlign = 'right';
    g.fillText(tick, left - 10, y(tick) + 7);
    g.textAlign = 'center';
    g.fillText(tick, x(tick), top + h + 28);
  }
  g.fillText('score', x(0.5), top + h + 56);
  g.fillStyle = 'rgba(61, 220, 151, 0.18)';
  g.beginPath();
  c.curve.forEach(([s, , low]) => g.lineTo(x(s), y(low)));
  [...c.curve].reverse().forEach(([s, , , high]) => g.lineTo(x(s), y(high)));
  g.fill();
  g.strokeStyle = '#3ddc97';
  g.lineWidth = 4;
  g.beginPath();
  c.curve.forEach(([s, p]) => g.lineTo(x(s), y(p)));
  g.stroke();
  g.strokeStyle = g.fillStyle = '#dde5ea';
  g.lineWidth = 2;
  for (const o of c.observed) {
    g.beginPath();
    g.moveTo(x(o.score), y(o.low));
    g.lineTo(x(o.score), y(o.high));
    g.stroke();
    g.beginPath();
    g.arc(x(o.score), y(o.right / o.events), 6, 0, 7);
    g.fill();
  }
}
