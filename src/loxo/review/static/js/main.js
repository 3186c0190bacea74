// The page: what is shown, the keys, and what happens at each.

import { getJson } from './api.js';
import { askLabel, help, results } from './dialogs.js';
import { MAPS } from './maps.js';
import { Player } from './player.js';
import { bandOf, Store } from './store.js';
import { Grid, Strip, Tiles } from './tiles.js';
import { View } from './view.js';
import { clock, count, element, wallClock } from './words.js';

const $ = (id) => document.getElementById(id);
const CONTEXTS = [10, 20, 30, 60];
const EDGE_S = 0.1; // a press of a key moves an edge by so much
const MARGIN_S = 1; // heard before and after an event
const KEYS = { y: 'yes', n: 'no', u: 'unsure' };

const run = await getJson('/api/run');
const settings = {
  context: 30, map: 'magma', low: 4, range: 22, mode: run.speeds.length > 2 ? String(run.speeds[2]) : '1',
  ...JSON.parse(localStorage.getItem('loxo-review') ?? '{}'),
};
const keep = () => localStorage.setItem('loxo-review', JSON.stringify(settings));
const store = new Store();
let current = null; // the event shown
let band = {}; // chosen by hand, for a label
let busy = Promise.resolve(); // actions go to the disk one after the other

const bandFor = (event) => {
  const wanted = band[event.label] ?? bandOf(event.detected ?? event);
  return wanted in run.bands ? wanted : '250';
};
const view = new View($('view'), settings, {
  edges: (bounds) => act([{ row: current.row, ...bounds }]),
  draw: (bounds) => drawn(bounds),
  open: (row) => show(row),
  seek: (seconds) => play(settings.mode, seconds, view.window[1]),
});
const player = new Player(() => { view.cursor = null; view.draw(); document.body.dataset.playing = ''; });
const tiles = new Tiles(store, settings, fail);
const strip = new Strip($('strip'), tiles, (row) => show(row));
const grid = new Grid($('grid'), tiles, {
  decide: (rows, verdict) => act(rows.map((row) => ({ row, verdict })), false),
  open: (row) => { toggleGrid(false); show(row); },
});

// -- messages

let silence;
function tell(text, fault = false) {
  $('message').textContent = text;
  $('message').className = fault ? 'shown fault' : 'shown';
  clearTimeout(silence);
  silence = setTimeout(() => { $('message').className = ''; }, fault ? 7000 : 2500);
}
function fail(error) { tell(error.message, true); }
window.addEventListener('offline-server', () => { $('offline').hidden = false; });
window.addEventListener('online-server', () => { $('offline').hidden = true; });

// -- showing

async function show(row, started = performance.now()) {
  if (row === undefined || row === null) return;
  player.stop();
  const turn = (show.turn = Symbol('turn'));
  try {
    const event = await store.detail(row);
    let picture = null, failure = '';
    try { picture = await store.picture(row, bandFor(event)); } catch (error) { failure = error.message; }
    if (turn !== show.turn) return; // already on to another
    current = event;
    setDrawing(false);
    view.show(event, picture, failure);
    describe();
    sections();
    strip.show(row);
    history.replaceState(null, '', `#${event.name}`);
    requestAnimationFrame(() => {
      document.body.dataset.shown = row;
      document.body.dataset.milliseconds = Math.round(performance.now() - started);
    });
    afterwards(row, turn).catch(fail); // the next key need not wait for it
  } catch (error) { fail(error); }
}

// What else belongs to an event that is shown: its surroundings, and those that come next.
async function afterwards(row, turn) {
  const others = await store.around(row);
  if (turn !== show.turn) return;
  view.setOthers(others);
  await store.prefetch(row, bandFor);
}

function describe() {
  const e = current;
  $('what').textContent = `${e.label}${e.score === null ? '' : ` ${e.score.toFixed(2)}`}`;
  $('where').textContent = [e.site, wallClock(e.time)].filter(Boolean).join(' · ');
  $('when').textContent = `${e.recording} · ${clock(e.start_s, 1)} – ${clock(e.end_s, 1)} (${(e.end_s - e.start_s).toFixed(1)} s)`;
  $('others').textContent = e.others.join(' · ');
  if (document.activeElement !== $('note')) $('note').value = e.note;
  for (const button of $('decide').querySelectorAll('[data-verdict]')) {
    button.setAttribute('aria-pressed', button.dataset.verdict === e.verdict);
  }
  for (const button of $('bands').children) button.setAttribute('aria-pressed', button.dataset.band === bandFor(e));
  progress();
}

function progress() {
  const total = store.rows.length;
  const place = current ? store.place.get(current.row) : undefined;
  const at = place === undefined ? '' : `${(place + 1).toLocaleString('en')} of ${total.toLocaleString('en')} · `;
  $('progress-text').textContent = `${at}${store.decided.toLocaleString('en')} decided · ${run.reviewer}`;
  $('bar').style.width = `${total ? (100 * store.decided) / total : 0}%`;
}

function sections() {
  const gridOpen = $('grid-button').getAttribute('aria-pressed') === 'true';
  const empty = !store.rows.length && !current;
  $('empty').hidden = !empty;
  $('grid').hidden = empty || !gridOpen;
  $('single').hidden = empty || gridOpen;
}

function go(step) {
  const place = store.place.get(current?.row);
  const next = place === undefined ? store.rows[0] : store.rows[place + step];
  if (next === undefined) {
    const open = store.rows.length - store.decided;
    tell(step < 0 ? 'This is the first of the list.' : `End of the list: ${count(open, 'event')} in it not decided.`);
    return Promise.resolve();
  }
  return show(next, performance.now());
}

// -- deciding

// Puts changes on the disk, one action after the other; true when they are there.
let waiting = 0; // actions that are not on the disk yet
function act(changes, onlyHere = true) {
  waiting += 1;
  const turn = busy.then(async () => {
    const events = await store.act(changes).finally(() => { waiting -= 1; });
    document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
    changed(events, onlyHere);
    return true;
  }).catch((error) => { fail(error); reshow(); return false; });
  busy = turn;
  return turn;
}

function changed(events) {
  const mine = events.find((event) => event.row === current?.row && !event.gone);
  if (mine && !waiting) { // else what is shown is ahead of the disk: a second press of a key builds on the first
    current = mine;
    view.event = mine;
  }
  if (current) { describe(); view.draw(); strip.show(current.row); }
  if (!$('grid').hidden) grid.mark();
  progress();
}

function reshow() { if (current) show(current.row); } // the page must not show what is not on the disk

let deciding = false;
async function decide(verdict, label) {
  if (!current || deciding) return;
  deciding = true;
  const started = performance.now();
  try {
    const place = store.place.get(current.row);
    const saved = await act([{ row: current.row, verdict, ...(label ? { label } : {}) }]);
    if (saved && verdict) {
      if (store.rows[place + 1] !== undefined) await show(store.rows[place + 1], started);
      else await go(1);
    }
  } finally { deciding = false; }
}

async function decideOther() {
  if (!current) return;
  const label = await askLabel($('naming'), 'What is it?', run.labels.filter((l) => l !== current.label));
  if (label) await decide('other', label);
}

async function back(which) {
  const turn = busy.then(() => store[which]()).catch((error) => { fail(error); return null; });
  busy = turn;
  const events = await turn;
  if (!events) return;
  if (!events.length) { tell(`There is nothing to ${which}.`); return; }
  document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
  changed(events);
  tell(events.length === 1 ? `One decision: ${which}` : `${count(events.length, 'decision')}: ${which}`);
  const first = events.find((event) => !event.gone && store.place.has(event.row));
  if (!$('grid').hidden) return;
  if (first) await show(first.row);
  else if (current) view.setOthers(await store.around(current.row));
}

async function moveEdge(edge, step) {
  if (!current) return;
  const value = view.limited(edge, current[edge] + step);
  Object.assign(current, { [edge]: value });
  view.draw();
  await act([{ row: current.row, [edge]: Number(value.toFixed(3)) }]);
}

// -- drawing a missed event

function setDrawing(on) {
  view.drawing = on;
  view.fresh = null;
  $('draw-button').setAttribute('aria-pressed', on);
  if (on) tell('Draw a box with the mouse, or press Enter for one in the middle and move its edges.');
}

async function drawn(bounds) {
  setDrawing(false);
  const label = await askLabel($('naming'), 'What was missed?', [current.label, ...run.labels.filter((l) => l !== current.label)]);
  if (!label) return;
  const rounded = Object.fromEntries(Object.entries(bounds).map(([name, value]) => [name, Number(value.toFixed(3))]));
  if (await act([{ beside: current.row, label, ...rounded }])) view.setOthers(await store.around(current.row));
}

function drawnByKey() {
  const [from, to] = view.window;
  const middle = player.position ?? (Math.max(from, 0) + Math.min(to, current.duration)) / 2;
  const half = Math.min((current.end_s - current.start_s) / 2, (to - from) / 4);
  drawn({
    start_s: Math.max(middle - half, 0), end_s: Math.min(middle + half, current.duration),
    low_hz: current.low_hz ?? 0, high_hz: current.high_hz ?? view.top,
  });
}

// -- sound

async function play(mode, from, to) {
  if (!current) return;
  const [start, end] = view.window;
  settings.mode = mode;
  keep();
  pressed($('modes'), 'mode', mode);
  try {
    await player.play(current.row, mode, Math.max(start, 0), Math.min(end, current.duration),
      Math.max(from, start, 0), Math.min(to, end, current.duration));
    document.body.dataset.playing = mode;
    const frame = () => {
      if (!player.playing) return;
      view.cursor = player.position;
      view.draw();
      requestAnimationFrame(frame);
    };
    frame();
  } catch (error) { fail(error); }
}
const playEvent = (mode = settings.mode) => play(mode, current.start_s - MARGIN_S, current.end_s + MARGIN_S);

// -- tools

function pressed(group, name, value) {
  for (const button of group.children) button.setAttribute('aria-pressed', button.dataset[name] === String(value));
}

function setContext(seconds) {
  settings.context = seconds;
  keep();
  pressed($('contexts'), 'context', seconds);
  if (current) view.draw();
}

function setBand(name) {
  if (!current) return;
  band = { ...band, [current.label]: name };
  show(current.row);
}

function nextOf(list, value, step = 1) { return list[(list.indexOf(value) + step + list.length) % list.length]; }

function setMap(name) {
  settings.map = $('map').value = name;
  keep();
  view.draw();
}

function setLevels() {
  settings.low = Number($('low').value);
  settings.range = Number($('range').value);
  keep();
  view.draw();
}

function tools() {
  const modes = [...run.speeds.map((speed) => [String(speed), `${speed}x`]), ['pitched', 'pitch']];
  $('modes').append(...modes.map(([mode, text], k) => element('button', {
    type: 'button', 'data-mode': mode, 'aria-pressed': mode === settings.mode, onclick: () => playEvent(mode),
    title: mode === 'pitched' ? `frequencies times ${run.pitch}, in real time` : `play at ${text} speed`,
  }, text, element('kbd', {}, k + 1))));
  $('bands').append(...Object.entries(run.bands).map(([name, high]) => element('button', {
    type: 'button', 'data-band': name, onclick: () => setBand(name),
  }, high === null ? 'full' : high >= 1000 ? `0–${high / 1000} kHz` : `0–${high} Hz`)));
  $('contexts').append(...CONTEXTS.map((seconds) => element('button', {
    type: 'button', 'data-context': seconds, 'aria-pressed': seconds === settings.context, onclick: () => setContext(seconds),
  }, `${seconds} s`)));
  $('map').append(...Object.keys(MAPS).map((name) => element('option', { value: name }, name)));
  $('map').value = settings.map;
  $('map').addEventListener('change', () => { setMap($('map').value); $('map').blur(); });
  $('low').value = settings.low;
  $('range').value = settings.range;
  for (const slider of [$('low'), $('range')]) slider.addEventListener('input', setLevels);
  for (const button of $('decide').querySelectorAll('[data-verdict]')) {
    button.addEventListener('click', () => (button.dataset.verdict === 'other' ? decideOther() : decide(button.dataset.verdict)));
  }
  $('undo-button').addEventListener('click', () => back('undo'));
  $('draw-button').addEventListener('click', () => setDrawing(!view.drawing));
  $('note').addEventListener('change', () => act([{ row: current.row, note: $('note').value }]));
  $('note').addEventListener('keydown', (e) => {
    if (e.key === 'Enter') $('note').blur();
    if (e.key === 'Escape') { $('note').value = current.note; $('note').blur(); }
  });
  $('grid-button').addEventListener('click', () => toggleGrid());
  $('results-button').addEventListener('click', () => openResults());
  $('help-button').addEventListener('click', () => help($('help')));
  $('filters-button').addEventListener('click', () => toggleFilters());
  for (const button of document.querySelectorAll('button')) button.addEventListener('click', () => button.blur());
}

const openResults = () => busy.then(() => results($('results'), fail)).catch(fail);

function toggleFilters(open = $('filters').hidden) {
  $('filters').hidden = !open;
  $('filters-button').setAttribute('aria-expanded', open);
}

function toggleGrid(open = $('grid-button').getAttribute('aria-pressed') !== 'true') {
  player.stop();
  $('grid-button').setAttribute('aria-pressed', open);
  sections();
  if (open) grid.show(current?.row).catch(fail);
  else show(grid.rows[grid.focus] ?? current?.row);
}

// -- the list

function filterOf(form) {
  const values = Object.fromEntries(new FormData(form));
  const [sort, falling] = values.order.split(' ');
  delete values.order;
  return { ...values, sort, falling };
}

async function openList(wanted) {
  const form = $('filters');
  sessionStorage.setItem('loxo-filter', JSON.stringify(Object.fromEntries(new FormData(form))));
  try {
    if (!await store.open(filterOf(form))) return;
  } catch (error) { fail(error); return; }
  $('list-size').textContent = count(store.rows.length, 'event');
  current = null;
  $('empty-text').textContent = store.rows.length ? '' : 'No event passes the filter. Press F to change it, R for the results.';
  sections();
  progress();
  if (!store.rows.length) { document.body.dataset.shown = 'none'; return; }
  let row = store.rows[0];
  if (wanted) { // where a reload had left
    const found = await getJson(`/api/find/${encodeURIComponent(wanted)}`).catch(() => ({}));
    if (store.place.has(found.row)) row = found.row;
  }
  if (!$('grid').hidden) await grid.show(row).catch(fail);
  await show(row);
}

function filters() {
  const form = $('filters');
  for (const label of run.labels) form.label.append(element('option', { value: label }, label));
  for (const site of run.sites) form.site.append(element('option', { value: site }, site));
  if (run.sample) form.sample.value = run.sample;
  const before = JSON.parse(sessionStorage.getItem('loxo-filter') ?? '{}');
  for (const [name, value] of Object.entries(before)) if (form[name]) form[name].value = value;
  form.addEventListener('change', () => openList());
  form.addEventListener('submit', (e) => e.preventDefault());
}

// -- keys

const SINGLE = {
  o: decideOther, d: () => setDrawing(!view.drawing), t: () => $('note').focus(), b: () => setBand(nextOf(Object.keys(run.bands), bandFor(current))),
  m: () => setMap(nextOf(Object.keys(MAPS), settings.map)),
  ArrowLeft: () => go(-1), ArrowRight: () => go(1), Backspace: () => decide(null),
  '+': () => setContext(nextOf(CONTEXTS, settings.context, settings.context === 10 ? 0 : -1)),
  '-': () => setContext(nextOf(CONTEXTS, settings.context, settings.context === 60 ? 0 : 1)),
  ',': () => { $('low').stepDown(); setLevels(); }, '.': () => { $('low').stepUp(); setLevels(); },
  Enter: () => view.drawing && drawnByKey(), Escape: () => { setDrawing(false); player.stop(); },
};
SINGLE['='] = SINGLE['+'];
const EDGES = { a: ['start_s', -1], s: ['start_s', 1], k: ['end_s', -1], l: ['end_s', 1] };

function singleKey(e, key) {
  const modes = [...run.speeds.map(String), 'pitched'];
  if (!current) return false;
  if (key in KEYS) decide(KEYS[key]);
  else if (key in EDGES) moveEdge(EDGES[key][0], EDGES[key][1] * (e.shiftKey ? EDGE_S / 10 : EDGE_S));
  else if (key === ' ') {
    if (player.playing) player.stop();
    else if (e.shiftKey) play(settings.mode, ...view.window);
    else playEvent();
  } else if (key >= '1' && key <= String(modes.length)) playEvent(modes[key - 1]);
  else if (key in SINGLE) SINGLE[key]();
  else return false;
  return true;
}

document.addEventListener('keydown', (e) => {
  if (e.altKey || document.querySelector('dialog[open]')) return;
  const typing = e.target.matches?.('input:not([type="range"]), select, textarea');
  if (typing) { if (e.key === 'Escape') e.target.blur(); return; }
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if ((e.ctrlKey || e.metaKey) && key !== 'z') return;
  const isGrid = !$('grid').hidden;
  let taken = true;
  if (key === 'z') back(e.shiftKey ? 'redo' : 'undo');
  else if (key === 'g') toggleGrid();
  else if (key === 'r') openResults();
  else if (key === '?') help($('help'));
  else if (key === 'f') { toggleFilters(true); $('filters').status.focus(); }
  else if (isGrid) { if (key === 'Escape') toggleGrid(false); else taken = grid.key(e); }
  else taken = singleKey(e, key);
  if (taken) e.preventDefault();
});

$('run-name').textContent = run.name;
document.title = `${run.name} – Loxo review`;
filters();
tools();
if (run.running) tell('The run is still going on: start again later for the events to come.');
if (run.strangers) tell(`${count(run.strangers, 'earlier decision')} on events that this run no longer has.`, true);
await openList(location.hash.slice(1));
