// Dialogs: keys, results, export, recordings, and the choice of a label. Each closes with Escape, its button, and a click
// beside it.

import { getJson, post } from './api.js';
import { ink } from './ink.js';
import { label, languageChoice, number, percent, plural, t } from './language.js';
import { clock, element, wallClock } from './words.js';

const keys = () => [
  ['Y N U', t('yes, no, unsure, then the next event')], ['O', t('other label')],
  ['← →', t('previous, next event')], ['Z', t('undo')],
  ['Shift+Z', t('redo')], ['Backspace', t('remove the decision')],
  ['Space', t('play the event, stop')], ['Shift+Space', t('play the whole picture')],
  ['1 2 3 4', t('play at 1x, 4x, 8x, 16x speed')], ['5', t('play pitch-shifted, in real time')],
  ['A S', t('start edge earlier, later')], ['K L', t('end edge earlier, later (Shift: a tenth)')],
  ['D', t('draw a missed event (Enter confirms)')], ['T', t('note')],
  ['PageUp PageDown', t('earlier, later part of the recording')], ['Home End', t('its beginning, its end')],
  ['+ −', t('zoom in, zoom out')], ['J', t('select the next event in the picture')],
  ['W', t('recordings of the run')], ['C', t('random stretch, to measure the recall')],
  ['V', t('stretch searched: every call has a box')], ['Esc', t('stop, or back to the list')],
  ['B', t('band')], [', .', t('darkest level lower, higher')],
  ['M', t('colour map')], ['F', t('filter')],
  ['G', t('grid of events')], ['X P', t('select, play (in the grid)')],
  ['R', t('results')], ['E', t('export')],
];

// Fills and opens a dialog. Clicks beside it close it.
export function openDialog(dialog, title, ...content) {
  const close = element('button', { type: 'button', class: 'close', onclick: () => dialog.close() }, `✕ ${t('Close')}`);
  dialog.replaceChildren(element('div', { class: 'head' }, element('h2', {}, title), close), ...content);
  dialog.onpointerdown = (e) => {
    const box = dialog.getBoundingClientRect();
    const beside = e.clientX < box.left || e.clientX > box.right || e.clientY < box.top || e.clientY > box.bottom;
    if (e.target === dialog && beside) { e.preventDefault(); dialog.close(); }
  };
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

export function help(dialog) {
  const cells = keys().map(([keys, text]) => element('div', {}, element('kbd', {}, keys), element('span', {}, text)));
  openDialog(dialog, t('Keys'), element('div', { class: 'keys' }, ...cells),
    element('p', {}, t('Drag the picture or the bar below it to move in the recording; the wheel or two fingers zoom. Drag an edge of the box to move it. Click another box to select it. Click the times below the picture to play from there.')),
    element('p', {}, element('label', {}, `${t('Language')} `, languageChoice(() => location.reload()))));
}

// Asks for a label; null if cancelled. A digit selects the choice with that number, Enter the first one. `free`: other
// labels are allowed.
export function askLabel(dialog, title, choices, free = true) {
  return new Promise((resolve) => {
    let answer = null;
    const done = (name) => { answer = name; dialog.close(); };
    const buttons = choices.map((name, k) =>
      element('button', { type: 'button', onclick: () => done(name) }, label(name), element('kbd', {}, k + 1)));
    const input = free && element('input', { type: 'text', maxlength: 60, placeholder: t('another label'), 'aria-label': t('label') });
    const use = free && element('button', { type: 'button', onclick: () => { if (input.value.trim()) done(input.value.trim()); } }, t('Use this label'));
    dialog.onkeydown = (e) => {
      const typed = input && input.value.trim();
      if (e.key === 'Enter' && e.target === input && (typed || choices[0])) { e.preventDefault(); done(typed || choices[0]); }
      else if (!typed && choices[e.key - 1]) { e.preventDefault(); done(choices[e.key - 1]); }
    };
    dialog.onclose = () => { dialog.onkeydown = null; resolve(answer); };
    openDialog(dialog, title, element('div', { class: 'choices' }, ...buttons), ...(free ? [input, use] : []));
    // On a phone the focus in a text field opens a keyboard above the choices.
    (free && (!choices.length || matchMedia('(hover: hover)').matches) ? input : buttons[0]).focus();
  });
}

// The recordings of the run. `open(recording)`, `random()`: shows one of them, and a random stretch.
export async function recordings(dialog, { open, random }) {
  const all = await getJson('api/recordings');
  const rows = element('tbody', {});
  const more = element('p', {});
  const search = element('input', { type: 'search', placeholder: t('name, site or date'), 'aria-label': t('search recordings') });
  const fill = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((r) => words.every((word) => `${r.recording} ${r.site} ${wallClock(r.begin, 0)} ${r.begin ?? ''}`.toLowerCase().includes(word)));
    rows.replaceChildren(...found.slice(0, 300).map((r) => element('tr', {},
      element('td', {}, element('button', { type: 'button', class: 'plain', disabled: r.failed ? '' : null, onclick: () => { dialog.close(); open(r); } }, r.recording)),
      element('td', {}, r.site), element('td', {}, wallClock(r.begin, 0)), element('td', {}, clock(r.duration)),
      element('td', {}, r.failed ? t('not analysed') : number(r.events)), element('td', {}, r.searched ? clock(r.searched) : '–'))));
    more.textContent = found.length > 300 ? t('The first 300 of {n} recordings. Type a part of a name to see others.', { n: number(found.length) }) : '';
  };
  search.addEventListener('input', fill);
  fill();
  const head = element('tr', {}, ...[t('recording'), t('site'), t('start'), t('length'), t('events'), t('searched')].map((h) => element('th', { scope: 'col' }, h)));
  openDialog(dialog, t('Recordings'),
    element('p', {}, t('Open any recording, also one without an event. To measure how many calls this run misses, search random stretches.')),
    element('div', { class: 'choices' }, search, element('button', { type: 'button', id: 'first-random', onclick: () => { dialog.close(); random(); } }, t('Random stretch'))),
    element('div', { class: 'wide', tabindex: 0 }, element('table', {}, element('thead', {}, head), rows)), more);
  if (matchMedia('(hover: hover)').matches) search.focus(); // else a keyboard would cover the list
}

export async function exportTables(dialog, fail) {
  const done = element('div', { id: 'exported' });
  const button = element('button', { type: 'button', id: 'write-button', class: 'main', onclick: async () => {
    button.disabled = true;
    try {
      const { folder, run, files, events, warnings } = await post('api/export');
      const quoted = (path) => (/^[\w./-]+$/.test(path) ? path : `"${path}"`);
      done.replaceChildren(
        element('p', {}, t('{events} in {files}:', { events: plural(events, '{n} true event', '{n} true events'), files: plural(files, '{n} file', '{n} files') })), element('p', {}, element('code', {}, folder)),
        ...warnings.map((sentence) => element('p', { class: 'fault' }, sentence)),
        element('h3', {}, t('What now')),
        element('ul', {},
          element('li', {}, t('Raven opens the tables of the folder'), ' ', element('code', {}, 'tables'), '.'),
          element('li', {}, t('A page with counts, activity and sites:'), ' ', element('code', {}, `loxo report ${quoted(run)}`)),
          element('li', {}, t('Scores and thresholds from your decisions:'), ' ', element('code', {}, `loxo calibrate --review ${quoted(run)}`)),
          element('li', {}, t('A model for your sites, from these tables:'), ' ', element('code', {}, `loxo adapt ${quoted(folder)}`))),
      );
    } catch (error) { fail(error); }
    button.disabled = false;
  } }, t('Write reviewed tables'));
  openDialog(dialog, t('Export'), element('p', {}, t('Writes the true events of all reviewers as Raven tables and CSV, all decisions, the results, and tables for training. An earlier export is replaced.')), button, done);
  button.focus();
}

export async function results(dialog, warn) {
  const found = await getJson('api/results');
  warn(found.warnings);
  const reviewers = Object.entries(found.reviewers).map(([name, n]) => `${name} ${number(n)}`).join(', ');
  const disputed = found.disputed ? ` ${plural(found.disputed, '{n} event disputed.', '{n} events disputed.')}` : '';
  const unmatched = found.unmatched ? ` ${plural(found.unmatched, '{n} decision on events that this run no longer contains.', '{n} decisions on events that this run no longer contains.')}` : '';
  const searched = found.searched_s ? ` ${t('{time} of sound searched.', { time: clock(found.searched_s) })}` : '';
  const plots = [];
  openDialog(dialog, t('Results'),
    element('p', {}, `${t('Decided: {reviewers}.', { reviewers: reviewers || t('no event') })} ${plural(found.drawn, '{n} missed event drawn.', '{n} missed events drawn.')}${searched}${disputed}${unmatched}`),
    ...found.warnings.map((sentence) => element('p', { class: 'fault' }, sentence)),
    ...found.classes.flatMap((c) => ofClass(c, plots)),
    ...(found.agreement.length ? [element('h3', {}, t('Agreement')), ...found.agreement.map(agreement)] : []),
  );
  for (const [canvas, c] of plots) plot(canvas, c);
}

function ofClass(c, plots) {
  const said = [[t('yes'), c.yes], [t('no'), c.no], [t('other'), c.other], [t('unsure'), c.unsure], [t('disputed'), c.disputed], [t('not decided'), c.open], [t('missed'), c.missed]];
  const parts = [
    element('h3', {}, `${label(c.label)}: ${plural(c.events, '{n} event', '{n} events')}`),
    element('p', {}, said.filter(([, n]) => n).map(([word, n]) => `${number(n)} ${word}`).join(' · ') || t('none')),
  ];
  const [first, ...more] = c.sentences;
  parts.push(element('p', {}, element('strong', {}, first)));
  if (c.curve) {
    const canvas = element('canvas', { width: 720, height: 460, role: 'img', 'aria-label': t('fraction of {label} events that are right, by score', { label: label(c.label) }) });
    plots.push([canvas, c]);
    parts.push(element('div', { class: 'fit' }, canvas, element('ul', {}, ...more.map((sentence) => element('li', {}, sentence)))));
  }
  parts.push(element('p', { class: 'recall' }, ...recallOf(c)));
  return parts;
}

function recallOf({ label: name, recall: r }) {
  const word = label(name);
  const waiting = r.open ? ` ${plural(r.open, '{n} searched stretch will count when all listed events in it are decided.', '{n} searched stretches will count when all listed events in them are decided.')}` : '';
  if (!r.stretches) return [`${t('Calls that this run misses: not measured. Search random stretches (Recordings, Random stretch) for {label}.', { label: word })}${waiting}`];
  const where = plural(r.stretches, '{n} random stretch ({minutes} min)', '{n} random stretches ({minutes} min)', { minutes: (60 * r.hours).toFixed(0) });
  if (r.recall === null) return [`${t('No {label} in {where}. Search more of them to measure how many calls this run misses.', { label: word, where })}${waiting}`];
  if (r.sentence) return [`${r.sentence}${waiting}`];
  return [element('strong', {}, plural(r.found + r.missed, 'This run lists {found} of {n} call', 'This run lists {found} of {n} calls', { found: r.found })),
    ` ${t('in {where}: a recall of {recall} (95 % interval {low} to {high}).', { where, recall: percent(r.recall), low: percent(r.low), high: percent(r.high) })}${waiting}`];
}

function agreement(pair) {
  const kappa = pair.kappa === null ? t('no kappa: only one category')
    : t('kappa {kappa} ({low} to {high})', { kappa: pair.kappa.toFixed(2), low: pair.low.toFixed(2), high: pair.high.toFixed(2) });
  return element('p', {}, `${pair.reviewers.join(` ${t('and')} `)}: ${plural(pair.events, 'same decision on {agreed} of {n} event', 'same decision on {agreed} of {n} events', { agreed: pair.agreed })}, ${kappa}`);
}

// P(right | score): the fit with its interval, and the observed fractions.
function plot(canvas, c) {
  const g = canvas.getContext('2d');
  const [left, top, w, h] = [104, 60, 590, 310];
  const x = (score) => left + score * w, y = (p) => top + (1 - p) * h;
  g.font = '22px system-ui, sans-serif';
  g.strokeStyle = ink('line');
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    g.strokeRect(x(0), y(tick), w, 0);
    g.fillStyle = ink('soft');
    g.textAlign = 'right';
    g.fillText(`${100 * tick} %`, left - 10, y(tick) + 7);
    g.textAlign = 'center';
    g.fillText(tick, x(tick), top + h + 28);
  }
  g.fillText(t('score of the event'), x(0.5), top + h + 60);
  g.save();
  g.translate(20, top + h / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(t('events that are right'), 0, 0);
  g.restore();
  const dot = (cx, cy) => { g.beginPath(); g.arc(cx, cy, 6, 0, 7); g.fill(); };
  const accent = ink('accent'), text = ink('text');
  g.fillStyle = accent;
  g.globalAlpha = 0.22;
  g.beginPath();
  c.curve.forEach(([s, , low]) => g.lineTo(x(s), y(low)));
  [...c.curve].reverse().forEach(([s, , , high]) => g.lineTo(x(s), y(high)));
  g.fill();
  g.fillRect(left + 300, 14, 46, 22);
  g.globalAlpha = 1;
  g.strokeStyle = accent;
  g.lineWidth = 4;
  g.beginPath();
  c.curve.forEach(([s, p]) => g.lineTo(x(s), y(p)));
  g.moveTo(left + 300, 25);
  g.lineTo(left + 346, 25);
  g.stroke();
  g.strokeStyle = g.fillStyle = text;
  g.lineWidth = 2;
  for (const o of c.observed) {
    g.beginPath();
    g.moveTo(x(o.score), y(o.low));
    g.lineTo(x(o.score), y(o.high));
    g.stroke();
    dot(x(o.score), y(o.right / o.events));
  }
  g.textAlign = 'left';
  g.fillText(t('your decisions, 95 %'), left + 40, 33);
  dot(left + 20, 25);
  g.strokeRect(left + 20, 12, 0, 26);
  g.fillText(t('fit, 95 %'), left + 356, 33);
}
