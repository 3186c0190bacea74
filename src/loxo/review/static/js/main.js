// The page: its content, and the actions of keys and buttons (keys.js, tools.js).

import { getJson } from './api.js';
import { askLabel, help, results } from './dialogs.js';
import { listen } from './keys.js';
import { Player } from './player.js';
import { bandOf, Store } from './store.js';
import { Grid, Strip, Tiles } from './tiles.js';
import { pressed, tools } from './tools.js';
import { View } from './view.js';
import { clock, count, element, wallClock } from './words.js';

const $ = (id) => document.getElementById(id);
const MARGIN_S = 1; // played before and after an event

const store = new Store();
const form = $('filters');
const before = JSON.parse(sessionStorage.getItem('loxo-filter') ?? 'null'); // filter of this window before a reload
// Both requests are sent at once, because the first event needs both. The address contains the last event shown.
const [run, first] = await Promise.all([
  getJson('/api/run'), store.open(filterOf(before ?? Object.fromEntries(new FormData(form))), location.hash.slice(1)),
]).catch((error) => { $('empty-text').textContent = error.message; throw error; });
const settings = {
  context: 30, map: 'magma', low: 4, range: 22, mode: run.speeds.length > 2 ? String(run.speeds[2]) : '1',
  ...JSON.parse(localStorage.getItem('loxo-review') ?? '{}'),
};
const keep = () => localStorage.setItem('loxo-review', JSON.stringify(settings));
let current = null; // the event shown
let band = {}; // chosen by the user, by label
let busy = Promise.resolve(); // actions are written one after the other

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
  decide: (rows, verdict) => act(rows.map((row) => ({ row, verdict }))),
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
function warn(sentences) { // about decision logs that cannot be read
  $('warnings').replaceChildren(...sentences.map((sentence) => element('p', {}, sentence)));
  $('warnings').hidden = !sentences.length;
}
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
    if (turn !== show.turn) return; // another event is shown already
    current = event;
    setDrawing(false);
    view.show(event, picture, failure);
    describe();
    sections();
    if (picture?.problem) tell(picture.problem, true);
    history.replaceState(null, '', `#${event.name}`);
    requestAnimationFrame(() => {
      document.body.dataset.shown = row;
      document.body.dataset.milliseconds = Math.round(performance.now() - started);
      setTimeout(() => afterwards(row, turn).catch(fail)); // after painting
    });
  } catch (error) { fail(error); }
}

// Loads the data around an event that is shown: the next events, the strip and the other events in the picture. The
// next key does not wait for it.
async function afterwards(row, turn) {
  if (turn !== show.turn) return;
  strip.show(row);
  const [others] = await Promise.all([store.around(row), store.prefetch(row, bandFor, (picture) => view.layer(picture))]);
  if (turn === show.turn) view.setOthers(others);
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
    tell(step < 0 ? 'This is the first event of the list.' : `End of the list. ${count(open, 'event')} not decided.`);
    return Promise.resolve();
  }
  return show(next, performance.now());
}

// -- deciding

// Writes changes to the disk, one action after the other. Resolves to true when they are written.
let waiting = 0; // actions that are not written yet
function act(changes, leaving = false) {
  waiting += 1;
  const turn = busy.then(async () => {
    const events = await store.act(changes).finally(() => { waiting -= 1; });
    document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
    if (!leaving) changed(events); // else the next event is drawn at once, and drawing this one is unnecessary
    return true;
  }).catch((error) => { fail(error); reshow(); return false; });
  busy = turn;
  return turn;
}

function changed(events) {
  const mine = events.find((event) => event.row === current?.row && !event.gone);
  if (mine && !waiting) { // else the page shows changes that are not written yet: a second key press builds on the first
    current = mine;
    view.event = mine;
  }
  if (current) { describe(); view.draw(); strip.show(current.row); }
  if (!$('grid').hidden) grid.mark();
  progress();
}

function reshow() { if (current) show(current.row); } // the page must not show changes that were not written

let deciding = false;
async function decide(verdict, label) {
  if (!current || deciding) return;
  deciding = true;
  const started = performance.now();
  try {
    const next = store.rows[store.place.get(current.row) + 1];
    const leaving = Boolean(verdict) && next !== undefined;
    const saved = await act([{ row: current.row, verdict, ...(label ? { label } : {}) }], leaving);
    if (saved && leaving) await show(next, started);
    else if (saved && verdict) await go(1);
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
  if (!events.length) { tell(`There is no action to ${which}.`); return; }
  document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
  changed(events);
  tell(events.length === 1 ? `One decision: ${which}` : `${count(events.length, 'decision')}: ${which}`);
  const first = events.find((event) => !event.gone && store.place.has(event.row));
  if (!$('grid').hidden) return;
  if (first) await show(first.row);
  else if (current) view.setOthers(await store.around(current.row));
}

async function moveEdge(edge, step) {
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
  if (on) tell('Draw a box with the mouse, or press Enter for a box in the middle, then move its edges.');
}

async function drawn(bounds) {
  setDrawing(false);
  const label = await askLabel($('naming'), 'Label of the missed event', [...run.labels].sort((a, b) => (b === current.label) - (a === current.label)), false);
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

const openResults = () => busy.then(() => results($('results'), fail, warn)).catch(fail);

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

// The query of a list from the values of the form.
function filterOf({ order, ...values }) {
  const [sort, falling] = order.split(' ');
  return { ...values, sort, falling };
}

async function openList() {
  const values = Object.fromEntries(new FormData(form));
  sessionStorage.setItem('loxo-filter', JSON.stringify(values));
  try {
    const row = await store.open(filterOf(values));
    if (row !== undefined) await begin(row);
  } catch (error) { fail(error); }
}

// Shows a list that was just opened.
async function begin(row) {
  $('list-size').textContent = count(store.rows.length, 'event');
  current = null;
  $('empty-text').textContent = store.rows.length ? '' : 'No event passes the filter. Press F to change the filter, or R for the results.';
  sections();
  progress();
  if (!store.rows.length) { document.body.dataset.shown = 'none'; return; }
  if (!$('grid').hidden) await grid.show(row).catch(fail);
  await show(row);
}

function filters() {
  for (const label of run.labels) form.label.append(element('option', { value: label }, label));
  for (const site of run.sites) form.site.append(element('option', { value: site }, site));
  for (const [name, value] of Object.entries(before ?? {})) if (form[name]) form[name].value = value;
  form.addEventListener('change', () => openList());
  form.addEventListener('submit', (e) => e.preventDefault());
}

// -- keys and buttons

const page = {
  run, settings, view, grid, player, band: () => bandFor(current), current: () => current,
  decide, decideOther, drawnByKey, moveEdge, setDrawing, go, back, play, playEvent,
  setBand, setContext, setLevels, setMap, toggleFilters, toggleGrid, openResults, help: () => help($('help')),
  note: (text) => act([{ row: current.row, note: text }]),
};
$('run-name').textContent = run.name;
document.title = `${run.name} – Loxo review`;
filters();
tools(page);
listen(page);
warn(run.warnings);
if (run.running) tell('The run is in progress. Start loxo review again later to see its new events.');
if (run.unmatched) tell(`${count(run.unmatched, 'earlier decision')} on events that this run no longer contains.`, true);
const restored = JSON.stringify(Object.fromEntries(new FormData(form)));
if (before && JSON.stringify(before) !== restored) await openList(); // the filter was for another run with other sites
else await begin(first);
