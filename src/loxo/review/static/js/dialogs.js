// Dialogs: results and export, keys, and the choice of a label.

import { getJson, post } from './api.js';
import { count, element } from './words.js';

const KEYS = [
  ['Y N U', 'yes, no, unsure, then the next event'], ['O', 'other label'],
  ['← →', 'previous, next event'], ['Z', 'undo'],
  ['Shift+Z', 'redo'], ['Backspace', 'remove the decision'],
  ['Space', 'play the event, stop'], ['Shift+Space', 'play the whole picture'],
  ['1 2 3 4', 'play at 1x, 4x, 8x, 16x speed'], ['5', 'play pitch-shifted, in real time'],
  ['A S', 'start edge earlier, later'], ['K L', 'end edge earlier, later (Shift: a tenth)'],
  ['D', 'draw a missed event (Enter confirms)'], ['T', 'note'],
  ['B', 'band'], ['+ −', 'show fewer, more seconds'],
  [', .', 'floor lower, higher'], ['M', 'colour map'],
  ['G', 'grid of events'], ['X', 'select (in the grid)'],
  ['F', 'filter'], ['R', 'results and export'],
];

export function help(dialog) {
  const cells = KEYS.flatMap(([key, text]) => [element('kbd', {}, key), element('span', {}, text)]);
  dialog.replaceChildren(element('h2', {}, 'Keys'), element('div', { class: 'keys' }, ...cells),
    element('p', {}, 'Drag an edge of the box to move it. Click below the picture to play from that time.'));
  dialog.showModal();
}

// Asks for a label; null if cancelled. A digit selects the choice with that number. `free`: other labels are allowed.
export function askLabel(dialog, title, choices, free = true) {
  return new Promise((resolve) => {
    const input = element('input', free
      ? { type: 'text', maxlength: 60, placeholder: 'another label', 'aria-label': 'label' }
      : { type: 'text', readonly: '', value: '', placeholder: 'Enter: the first label; Esc: none', 'aria-label': 'label' });
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

export async function results(dialog, fail, warn) {
  const found = await getJson('/api/results');
  warn(found.warnings);
  const exported = element('p', { id: 'exported' });
  const button = element('button', { type: 'button', id: 'export-button', onclick: async () => {
    button.disabled = true;
    try {
      const { folder, files, events, warnings } = await post('/api/export');
      exported.replaceChildren(`${count(events, 'true event')} in ${count(files, 'file')}: `, element('strong', {}, folder),
        ...warnings.map((sentence) => element('span', { class: 'fault' }, ` ${sentence}`)));
    } catch (error) { fail(error); }
    button.disabled = false;
  } }, 'Write reviewed tables');
  const reviewers = Object.entries(found.reviewers).map(([name, n]) => `${name} ${n.toLocaleString('en')}`).join(', ');
  const disputed = found.disputed ? ` ${count(found.disputed, 'event')} disputed.` : '';
  const unmatched = found.unmatched ? ` ${count(found.unmatched, 'decision')} on events that this run no longer contains.` : '';
  dialog.replaceChildren(
    element('h2', {}, 'Results'),
    element('p', {}, `Decided: ${reviewers || 'no event'}. ${count(found.drawn, 'missed event')} drawn.${disputed}${unmatched}`),
    ...found.warnings.map((sentence) => element('p', { class: 'fault' }, sentence)),
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
    if (c.events) parts.push(element('p', {}, `Thresholds and an estimate need ${count(c.needed, 'more decision')}, spread over all scores.`));
    return parts;
  }
  const { estimate: e } = c;
  parts.push(element('p', {}, element('strong', {}, `${Math.round(e.confirmed + e.expected).toLocaleString('en')} true events`),
    ` (95 % interval ${(e.confirmed + e.low).toLocaleString('en')} to ${(e.confirmed + e.high).toLocaleString('en')}): ${e.confirmed.toLocaleString('en')} confirmed, about ${Math.round(e.expected).toLocaleString('en')} expected among ${e.unreviewed.toLocaleString('en')} undecided events.`));
  const rows = c.thresholds.map((t) => element('tr', {}, element('td', {}, `${Math.round(100 * t.precision)} %`),
    element('td', {}, t.score?.toFixed(3) ?? '–'), element('td', {}, t.threshold?.toFixed(3) ?? '–')));
  const head = element('tr', {}, ...['correct', 'one event: score', 'all events: threshold'].map((h) => element('th', {}, h)));
  const canvas = element('canvas', { width: 600, height: 400, role: 'img', 'aria-label': `fraction of correct ${c.label} events by score` });
  plot(canvas, c);
  parts.push(element('div', { class: 'fit' }, canvas, element('table', {}, head, ...rows)));
  return parts;
}

function agreement(pair) {
  const kappa = pair.kappa === null ? 'no kappa: only one category'
    : `kappa ${pair.kappa.toFixed(2)} (${pair.low.toFixed(2)} to ${pair.high.toFixed(2)})`;
  return element('p', {}, `${pair.reviewers.join(' and ')}: same decision on ${pair.agreed} of ${count(pair.events, 'event')}, ${kappa}`);
}

// P(correct | score): the fit with its interval, and the observed fractions.
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
