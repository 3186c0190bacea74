// The page: its content, and the actions of keys and buttons (keys.js, tools.js).

import { getJson, post } from './api.js';
import { Browse } from './browse.js';
import { askLabel, exportTables, help, recordings, results } from './dialogs.js';
import { isLight, onTheme } from './ink.js';
import { listen } from './keys.js';
import { available, number, plural, preferred, t, translateDocument, use } from './language.js';
import { fail, tell, warn } from './messages.js';
import { Overview } from './overview.js';
import { Player } from './player.js';
import { sounds } from './sounds.js';
import { bandOf, frameOf, limitedRange, Store } from './store.js';
import { Grid, Strip, Tiles } from './tiles.js';
import { tools } from './tools.js';
import { View } from './view.js';
import { clock, element, placeOf, wallClock } from './words.js';

const $ = (id) => document.getElementById(id);
const NARROW = matchMedia('(max-width: 1023px)'); // the filter covers the picture; see style.css

const store = new Store();
const form = $('filters');
const before = JSON.parse(sessionStorage.getItem('loxo-filter') ?? 'null'); // filter of this window before a reload
const address = /^#at-(\d+)-([\d.]+)-([\d.]+)$/.exec(location.hash); // a stretch that was shown before a reload
const speak = async () => { await use(preferred(Object.keys(available()))); translateDocument(); };
// Both requests are sent at once, because the first event needs both. The address contains the last event shown.
const [, run, first] = await Promise.all([
  speak(), getJson('api/run'),
  store.open(filterOf(before ?? Object.fromEntries(new FormData(form))), address ? '' : location.hash.slice(1)),
]).catch((error) => { $('empty-text').textContent = error.message; throw error; });
const stored = JSON.parse(localStorage.getItem('loxo-review') ?? '{}');
const themeMap = () => (isLight() ? 'paper' : 'magma');
const settings = {
  context: 30, low: 4, range: 22, mode: run.speeds.length > 2 ? String(run.speeds[2]) : '1', volume: 100, loop: false,
  ...stored, map: stored.map ?? themeMap(),
};
let chosenMap = stored.map ?? null; // null: that of the theme
const keep = () => localStorage.setItem('loxo-review', JSON.stringify({ ...settings, map: chosenMap }));
let current = null; // the event selected
let anchor = null; // the last row of the list that was shown
let band = {}; // chosen by the user, by label
let busy = Promise.resolve(); // actions are written one after the other

const bandFor = (event) => {
  const wanted = band[event?.label ?? ''] ?? (event ? bandOf(event.detected ?? event) : '250');
  return wanted in run.bands ? wanted : '250';
};
const view = new View($('view'), settings, {
  edges: (bounds) => act([{ row: current.row, ...bounds }]),
  draw: (bounds) => drawn(bounds),
  open: (row) => show(row, { stay: true }),
  seek: (seconds) => play(settings.mode, seconds, view.range[1]),
  look: (from, to) => look(from, to),
});
const overview = new Overview($('overview'), { look: (from, to) => look(from, to) });
const player = new Player(settings, () => {
  view.cursor = null;
  view.draw();
  document.body.dataset.playing = '';
  $('play-button').textContent = t('▶ Play');
  grid.playing(null);
});
const tiles = new Tiles(store, settings, fail);
const strip = new Strip($('strip'), tiles, (row) => show(row));
const grid = new Grid($('grid'), tiles, {
  decide: (rows, verdict) => act(rows.map((row) => ({ row, verdict }))),
  open: (row) => { toggleGrid(false); show(row); },
  play: (row) => playRow(row).catch(fail),
  refuse: (sentence) => tell(sentence, true),
});

const { play, playEvent, playRow } = sounds({ settings, keep, store, view, player, grid, current: () => current });

// -- showing

// The part of the recording that is shown around an event: as detected, so that moved edges do not move the picture.
function rangeOf(event) {
  const home = event.detected ?? event;
  const half = Math.max(settings.context / 2, (home.end_s - home.start_s) * 0.6);
  const middle = (home.start_s + home.end_s) / 2;
  return limitedRange(middle - half, middle + half, event.duration);
}

const pictureOf = (event) => store.picture(event, frameOf(rangeOf(event), event.duration), bandFor(event));

// The picture of a part of a recording for an event, or why there is none.
async function loaded(place, range, event) {
  try {
    const picture = await store.picture(place, frameOf(range, place.duration), bandFor(event));
    const isLost = event && picture.clips && !picture.clips.some(([from, to]) => from < event.end_s && to > event.start_s);
    return isLost ? { picture: null, failure: t('The clip of this event was removed.') } : { picture, failure: '' };
  } catch (error) { return { picture: null, failure: error.message }; }
}

// stay: the part of the recording that is shown stays.
async function show(row, { started = performance.now(), stay = false } = {}) {
  if (row === undefined || row === null) return;
  player.stop();
  const turn = (show.turn = Symbol('turn'));
  try {
    const event = await store.detail(row);
    if (!stay) browse.close();
    const range = stay ? view.range : rangeOf(event);
    let picture = null, failure = '';
    if (stay && bandFor(event) === bandFor(current)) ({ picture, failure } = view);
    else ({ picture, failure } = await loaded(event, range, event));
    if (turn !== show.turn) return; // another event is shown already
    if (view.place?.source !== event.source) Object.assign(view, { others: [], searched: [] });
    const place = stay && view.place ? view.place : event;
    Object.assign(view, { place, range, event, picture, failure, drag: null, target: browse.target });
    current = event;
    if (store.place.has(row)) anchor = row;
    setDrawing(false);
    sections();
    view.draw();
    describe();
    if (picture?.problem) tell(picture.problem, true);
    if (!stay) history.replaceState(null, '', `#${event.name}`);
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
  strip.show(anchor ?? row);
  await Promise.all([surroundings(), store.prefetch(row, pictureOf, (picture) => view.layer(picture))]);
}

// The events and searched stretches in and around the part that is shown, and those of the whole recording.
async function surroundings() {
  const { place } = view;
  const frame = frameOf(view.range, place.duration);
  const found = await store.around(place.source, frame);
  if (place.source !== view.place.source) return;
  for (const event of found.events) store.details.set(event.row, event);
  Object.assign(view, { others: found.events, searched: found.searched });
  view.leftOut = found.left_out;
  view.draw();
  describe();
  const key = `${place.source} ${place.channel}`;
  if (key !== surroundings.key || surroundings.stale) {
    surroundings.stale = false;
    const content = await store.overview(place);
    if (place.source !== view.place.source) return;
    surroundings.key = key;
    overview.show(view.place, view.range, content);
  }
}

// Shows another part of the recording.
let pause;
function look(from, to) {
  if (!view.place) return;
  view.range = limitedRange(from, to, view.place.duration);
  view.draw();
  describe();
  clearTimeout(pause);
  pause = setTimeout(() => load().catch(fail), 50);
}

async function load() {
  const { place } = view;
  const turn = (load.turn = Symbol('turn')), shownTurn = show.turn;
  const { picture, failure } = await loaded(place, view.range, current);
  if (turn !== load.turn || shownTurn !== show.turn || place !== view.place) return;
  Object.assign(view, { picture, failure });
  view.draw();
  describe();
  if (picture?.problem) tell(picture.problem, true);
  if (browse.place) history.replaceState(null, '', `#at-${place.source}-${view.range.map((s) => s.toFixed(2)).join('-')}`);
  await surroundings();
  document.body.dataset.look = view.range.map((s) => s.toFixed(1)).join('-');
}

// Shows a part of a recording without an event of the list. place: {source, recording, site, begin, duration, channel}.
async function goTo(place, range) {
  player.stop();
  show.turn = Symbol('turn');
  if ($('grid-button').getAttribute('aria-pressed') === 'true') $('grid-button').setAttribute('aria-pressed', false);
  if (view.place?.source !== place.source) Object.assign(view, { picture: null, others: [], searched: [] });
  current = null;
  Object.assign(view, { place, event: null, failure: '', drag: null, target: browse.target });
  view.range = limitedRange(...range, place.duration);
  setDrawing(false);
  sections();
  describe();
  await load();
  document.body.dataset.shown = `at-${place.source}`;
  const channels = run.channels ? view.picture?.channels ?? 0 : 0;
  $('channel').replaceChildren(...Array.from({ length: channels }, (_, k) => element('option', { value: k + 1 }, k + 1)));
  $('channel').value = place.channel;
  describe();
}

function describe() {
  const { place, range } = view;
  if (!place) return;
  const e = current;
  const inFile = (a, b, digits) => t('{from} – {to} in the file', { from: clock(a, digits), to: clock(b, digits) });
  if (e) {
    $('what').textContent = `${e.label}${e.score === null ? '' : ` ${e.score.toFixed(2)}`}`;
    $('where').textContent = [placeOf(e), wallClock(e.begin, e.start_s)].filter(Boolean).join(' · ');
    $('when').textContent = `${e.recording} · ${inFile(e.start_s, e.end_s, 1)} (${(e.end_s - e.start_s).toFixed(1)} s)`;
  } else {
    $('what').textContent = placeOf({ ...place, site: place.site || place.recording });
    $('where').textContent = wallClock(place.begin, range[0]);
    $('when').textContent = `${place.recording} · ${inFile(...range, 0)}${view.leftOut ? ` · ${plural(view.leftOut, '{n} event with a lower score not drawn', '{n} events with lower scores not drawn')}` : ''}`;
  }
  $('others').textContent = e?.others.join(' · ') ?? '';
  if (document.activeElement !== $('note')) $('note').value = e?.note ?? '';
  $('note').disabled = !e;
  for (const button of $('decide').querySelectorAll('[data-verdict]')) {
    button.setAttribute('aria-pressed', Boolean(e) && button.dataset.verdict === e.verdict);
    button.disabled = !e || Boolean(view.failure);
  }
  for (const button of $('bands').children) button.setAttribute('aria-pressed', button.dataset.band === bandFor(e));
  const shown = Math.round(range[1] - range[0]);
  for (const button of $('contexts').children) {
    const seconds = Number(button.dataset.context);
    button.setAttribute('aria-pressed', shown >= Math.round(place.duration) ? seconds === Infinity : seconds === shown);
  }
  $('channel-label').hidden = !(browse.place && run.channels);
  $('moved').hidden = !(run.local && view.failure.includes('--recordings'));
  $('view').setAttribute('aria-label', view.words());
  overview.show(place, range);
  progress();
}

function progress() {
  const total = store.rows.length;
  const place = current && !browse.place ? store.place.get(current.row) : undefined;
  const at = place === undefined ? '' : `${t('{n} of {all}', { n: number(place + 1), all: number(total) })} · `;
  const share = run.events ? Math.round((100 * store.decidedInRun) / run.events) : 0;
  $('progress-text').textContent = `${at}${t('{n} of {all} decided', { n: number(store.decidedInRun), all: number(run.events) })} · ${run.reviewer}`;
  $('bar').style.width = `${share}%`;
  $('progress').setAttribute('aria-valuenow', share);
  const left = total - store.decided;
  $('list-size').textContent = plural(total, '{n} event in this list, {left} not decided.', '{n} events in this list, {left} not decided.', { left: number(left) });
}

function sections() {
  const gridOpen = $('grid-button').getAttribute('aria-pressed') === 'true';
  const empty = !browse.place && !store.rows.length && !current;
  $('empty').hidden = !empty;
  $('grid').hidden = empty || !gridOpen;
  $('single').hidden = empty || gridOpen;
  $('strip').hidden = Boolean(browse.place);
}

function go(step) {
  if (browse.place) { turnPage(step / 2); return Promise.resolve(); }
  const place = store.place.get(current?.row) ?? store.place.get(anchor);
  const next = place === undefined ? store.rows[0] : store.rows[place + step];
  if (next === undefined) {
    const open = store.rows.length - store.decided;
    tell(step < 0 ? t('This is the first event of the list.') : plural(open, 'End of the list. {n} event not decided.', 'End of the list. {n} events not decided.'));
    return Promise.resolve();
  }
  return show(next);
}

// Shows the part before or after, `pages` pictures away.
function turnPage(pages) {
  const [from, to] = view.range;
  const start = Math.min(Math.max(from + pages * (to - from), 0), view.place.duration);
  look(start, start + to - from);
}

// Selects the next event in the picture.
function select() {
  const [from, to] = browse.target ? [browse.target.start_s, browse.target.end_s] : view.range;
  const within = view.others.filter((e) => e.end_s > from && e.start_s < to).sort((a, b) => a.start_s - b.start_s);
  if (!within.length) { tell(t('There is no event in this part of the recording.')); return; }
  const at = within.findIndex((e) => e.row === current?.row);
  show(within[(at + 1) % within.length].row, { stay: true });
}

function leave() {
  const row = anchor ?? store.rows[0];
  browse.close();
  current = null;
  if (row !== undefined) show(row);
  else begin(null);
}

// -- deciding

// Writes changes to the disk, one action after the other. Resolves to the changed events, or to null if it failed.
let waiting = 0; // actions that are not written yet
function act(changes, leaving = false) {
  waiting += 1;
  const turn = busy.then(async () => {
    const events = await store.act(changes).finally(() => { waiting -= 1; });
    document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
    surroundings.stale = true;
    if (!leaving) changed(events); // else the next event is drawn at once, and drawing this one is unnecessary
    return events;
  }).catch((error) => { fail(error); reshow(); return null; });
  busy = turn;
  return turn;
}

function changed(events) {
  const mine = events.find((event) => event.row === current?.row && !event.gone);
  if (mine && !waiting) { // else the page shows changes that are not written yet: a second key press builds on the first
    current = mine;
    view.event = mine;
  }
  const byRow = new Map(events.map((event) => [event.row, event]));
  const others = view.others.map((event) => byRow.get(event.row) ?? event).filter((event) => !event.gone);
  const known = new Set(others.map((event) => event.row));
  view.others = [...others, ...events.filter((event) => !event.gone && event.source === view.place?.source && !known.has(event.row))];
  if (view.place) { describe(); view.draw(); }
  if (current && !browse.place) strip.show(anchor ?? current.row);
  if (!$('grid').hidden) grid.mark();
  progress();
}

function reshow() { if (current) show(current.row, { stay: Boolean(browse.place) }); } // the page must not show changes that were not written

// A key pressed before the next event is shown must not decide that event. `data-deciding` marks this time.
async function decide(verdict, label) {
  const { dataset } = document.body;
  if ('deciding' in dataset) return;
  if (!current) { tell(t('No event is selected. Press J or click a box.'), true); return; }
  if (view.failure) { tell(t('The recording cannot be shown. Decide only on events that you can see or hear.'), true); return; }
  dataset.deciding = '';
  const started = performance.now();
  try {
    const place = store.place.get(current.row);
    const next = browse.place || place === undefined ? undefined : store.rows[place + 1];
    const leaving = Boolean(verdict) && next !== undefined;
    const saved = await act([{ row: current.row, verdict, ...(label ? { label } : {}) }], leaving);
    if (saved && leaving) await show(next, { started });
    else if (saved && verdict && !browse.place) await go(1);
  } finally { delete dataset.deciding; }
}

async function decideOther() {
  if (!current || view.failure) { await decide('other'); return; }
  const label = await askLabel($('naming'), t('What is it?'), run.labels.filter((l) => l !== current.label));
  if (label) await decide('other', label);
}

async function back(which) {
  const turn = busy.then(() => store.back(which)).catch((error) => { fail(error); return null; });
  busy = turn;
  const answer = await turn;
  if (!answer) return;
  const { events, said } = answer;
  if (!said) { tell(which === 'undo' ? t('There is no action to undo.') : t('There is no action to redo.')); return; }
  document.body.dataset.actions = Number(document.body.dataset.actions ?? 0) + 1;
  surroundings.stale = true;
  if (events.some((event) => event.gone && event.row === current?.row)) { current = null; view.event = null; }
  changed(events);
  tell(which === 'undo' ? t('Undone: {action}.', { action: said }) : t('Done again: {action}.', { action: said }));
  const first = events.find((event) => !event.gone && store.place.has(event.row));
  if (!$('grid').hidden) return;
  if (first && !browse.place) await show(first.row);
  else if (!current && !browse.place && anchor !== null) await show(anchor);
  else if (view.place) await surroundings();
}

async function moveEdge(edge, step) {
  if (!current) { tell(t('No event is selected. Press J or click a box.'), true); return; }
  const value = view.limited(edge, current[edge] + step);
  Object.assign(current, { [edge]: value });
  view.draw();
  await act([{ row: current.row, [edge]: Number(value.toFixed(3)) }]);
}

// -- drawing a missed event

function setDrawing(on) {
  view.drawing = on;
  $('view').classList.toggle('drawing', on);
  $('draw-button').setAttribute('aria-pressed', on);
  if (on) tell(t('Draw a box with the mouse or a finger, or press Enter for a box in the middle, then move its edges.'));
}

async function drawn(bounds) {
  setDrawing(false);
  const { place } = view;
  const likely = current?.label ?? browse.labels[0];
  const label = await askLabel($('naming'), t('Label of the missed event'), [...run.labels].sort((a, b) => (b === likely) - (a === likely)), false);
  if (!label) return;
  const rounded = Object.fromEntries(Object.entries(bounds).map(([name, value]) => [name, Number(value.toFixed(3))]));
  const channel = place.channel ? { channel: place.channel } : {};
  const events = await act([{ source: place.source, label, ...channel, ...rounded }]);
  if (events?.length) await show(events[0].row, { stay: true }); // its edges can be moved
}

function drawnByKey() {
  const [from, to] = view.range;
  const middle = player.position ?? (from + to) / 2;
  const half = current ? Math.min((current.end_s - current.start_s) / 2, (to - from) / 4) : Math.min(2, (to - from) / 4);
  drawn({
    start_s: Math.max(middle - half, 0), end_s: Math.min(middle + half, view.place.duration),
    low_hz: current?.low_hz ?? 0.04 * view.top, high_hz: current?.high_hz ?? 0.4 * view.top,
  });
}

// -- tools

function setContext(seconds) {
  if (!view.place) return;
  if (seconds <= 60) { settings.context = seconds; keep(); }
  if (current && seconds <= 60 && !browse.place) { look(...rangeOf(current)); return; }
  const middle = (view.range[0] + view.range[1]) / 2, half = Math.min(seconds, view.place.duration) / 2;
  look(middle - half, middle + half);
}

function setBand(name) {
  band = { ...band, [current?.label ?? '']: name };
  load().catch(fail);
}

function setMap(name) {
  settings.map = chosenMap = $('map').value = name;
  keep();
  view.draw();
}

function setLevels() {
  settings.low = Number($('low').value);
  settings.range = Number($('range').value);
  keep();
  levels();
  view.draw();
}

function levels() {
  $('low-text').textContent = `${settings.low} dB`;
  $('range-text').textContent = t('{n} dB, up to {high} dB', { n: settings.range, high: settings.low + settings.range });
}

async function setChannel(channel) {
  browse.place = { ...browse.place, channel };
  view.picture = null;
  await goTo(browse.place, view.range);
}

async function searchIn(folder) {
  try {
    const { found, recordings: all } = await post('api/places', { folder });
    tell(plural(all, '{found} of {n} recording found.', '{found} of {n} recordings found.', { found: number(found) }));
    if (current) await show(current.row, { stay: Boolean(browse.place) });
    else await load();
  } catch (error) { fail(error); }
}

const openResults = () => busy.then(() => results($('results'), warn)).catch(fail);
const openExport = () => busy.then(() => exportTables($('export'), fail)).catch(fail);
const openRecordings = () => recordings($('recordings'), { open: (recording) => browse.open(recording).catch(fail), random }).catch(fail);
const random = () => browse.random().catch(fail);

function toggleFilters(open = $('filters').hidden) {
  $('filters').hidden = !open;
  $('filters-button').setAttribute('aria-expanded', open);
  if (open) form.status.focus();
  else if (NARROW.matches) $('filters-button').focus();
}

// Closes the filter where it covers the picture. Returns whether it was open.
function closeFilters() {
  if (!NARROW.matches || $('filters').hidden) return false;
  toggleFilters(false);
  return true;
}

function toggleGrid(open = $('grid-button').getAttribute('aria-pressed') !== 'true') {
  player.stop();
  if (open) browse.close();
  $('grid-button').setAttribute('aria-pressed', open);
  sections();
  if (open) grid.show(current?.row ?? anchor).catch(fail);
  else show(grid.rows[grid.focus] ?? current?.row);
}

// -- the list

// The query of a list from the values of the form.
function filterOf({ order, ...values }) {
  const [sort, falling] = order.split(' ');
  return { ...values, sort, falling };
}

let openings = 0;

async function openList() {
  const opening = ++openings;  // an answer to an earlier filter must not remove the fault of this one
  const values = Object.fromEntries(new FormData(form));
  sessionStorage.setItem('loxo-filter', JSON.stringify(values));
  try {
    const row = await store.open(filterOf(values));
    if (opening !== openings) return;
    $('filter-fault').textContent = '';
    if (row !== undefined) await begin(row);
  } catch (error) { if (opening === openings) $('filter-fault').textContent = error.message; }
}

// Shows a list that was just opened.
async function begin(row) {
  current = anchor = null;
  browse.close();
  progress();
  if (!store.rows.length) {
    explain();
    sections();
    document.body.dataset.shown = 'none';
    return;
  }
  sections();
  if (!$('grid').hidden) await grid.show(row).catch(fail);
  await show(row);
}

// Why the list is empty, and what to do.
function explain() {
  const button = (text, act) => element('button', { type: 'button', onclick: act }, text);
  const others = [button(t('Recordings'), openRecordings), button(t('Results'), openResults), button(t('Export'), openExport)];
  if (!run.events) {
    $('empty-text').textContent = t('This run lists no event. Open a recording to look for calls. To list doubtful events too, detect again with a lower --threshold; with kept scores, loxo decode does it in seconds.');
    $('empty-actions').replaceChildren(others[0]);
  } else if (store.decidedInRun === run.events && form.status.value === 'open') {
    $('empty-text').textContent = t('Every event of this run has a decision.');
    $('empty-actions').replaceChildren(...others);
  } else {
    $('empty-text').textContent = t('No event passes the filter.');
    $('empty-actions').replaceChildren(button(t('Clear the filter'), () => { form.reset(); form.sample.value = ''; form.status.value = 'all'; openList(); }), ...others);
  }
}

function filters() {
  for (const label of run.labels) form.label.append(element('option', { value: label }, label));
  for (const site of run.sites) form.site.append(element('option', { value: site }, site));
  for (const [name, value] of Object.entries(before ?? {})) if (form[name]) form[name].value = value;
  form.addEventListener('change', () => openList());
  form.addEventListener('submit', (e) => e.preventDefault());
}

// -- keys and buttons

const browse = new Browse({ run, settings, view, keep, tell, goTo, act, refresh: surroundings });
const page = {
  run, settings, view, grid, player, band: () => bandFor(current), current: () => current, browsing: () => Boolean(browse.place),
  decide, decideOther, drawnByKey, moveEdge, setDrawing, go, turn: turnPage, back, play, playEvent, select, leave, random,
  searched: () => browse.searched().catch(fail), setBand, setContext, setLevels, setMap, searchIn,
  setChannel: (channel) => setChannel(channel).catch(fail),
  setVolume: (volume) => { settings.volume = volume; keep(); player.setVolume(); },
  setLoop: (loop) => { settings.loop = loop; keep(); },
  toggleFilters, closeFilters, toggleGrid, openResults, openExport, openRecordings, help: () => help($('help')),
  note: (text) => { if (current) act([{ row: current.row, note: text }]); },
};
$('run-name').textContent = run.name;
document.title = `${run.name}: ${t('Review')} – Loxo`;
filters();
tools(page);
listen(page);
warn(run.warnings);
levels();
$('map').value = settings.map;
onTheme(() => { if (!chosenMap) settings.map = $('map').value = themeMap(); view.draw(); overview.draw(); });
if (NARROW.matches) { $('filters').hidden = true; $('filters-button').setAttribute('aria-expanded', false); }
if (run.running) tell(t('The run is in progress. Start loxo review again later to see its new events.'));
if (run.unmatched) tell(plural(run.unmatched, '{n} earlier decision on events that this run no longer contains.', '{n} earlier decisions on events that this run no longer contains.'), true);
const restored = JSON.stringify(Object.fromEntries(new FormData(form)));
if (before && JSON.stringify(before) !== restored) await openList(); // the filter was for another run with other sites
else await begin(first);
if (address && Number(address[1]) < run.recordings) {
  const all = await getJson('api/recordings');
  await browse.open(all[Number(address[1])], [Number(address[2]), Number(address[3])]).catch(fail);
}
