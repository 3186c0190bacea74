// The buttons, sliders and the colour map below the spectrogram, and other clickable elements.

import { t } from './language.js';
import { MAPS } from './maps.js';
import { element } from './words.js';

export const CONTEXTS = [10, 30, 60, 600, Infinity]; // seconds shown

const $ = (id) => document.getElementById(id);
const wordsOf = (seconds) => (seconds === Infinity ? t('all') : seconds > 60 ? `${seconds / 60} min` : `${seconds} s`);

export const modesOf = (run) => [...run.speeds.map(String), 'pitched'];

export function pressed(group, name, value) {
  for (const button of group.children) button.setAttribute('aria-pressed', button.dataset[name] === String(value));
}

// `page` contains the functions of the page; see main.js.
export function tools(page) {
  const { view, player, settings } = page;
  playing(page);
  looks(page);
  for (const button of $('decide').querySelectorAll('[data-verdict]')) {
    const { verdict } = button.dataset;
    button.addEventListener('click', () => (verdict === 'other' ? page.decideOther() : page.decide(verdict)));
  }
  const clicks = {
    'undo-button': () => page.back('undo'), 'draw-button': () => page.setDrawing(!view.drawing),
    'play-button': () => (player.playing ? player.stop() : page.playEvent()),
    'earlier-button': () => page.turn(-1), 'later-button': () => page.turn(1),
    'in-button': () => view.zoom(0.5), 'out-button': () => view.zoom(2),
    'grid-button': () => page.toggleGrid(), 'results-button': page.openResults, 'export-button': page.openExport,
    'recordings-button': page.openRecordings, 'help-button': page.help, 'filters-button': () => page.toggleFilters(),
    'filters-close': () => page.toggleFilters(false), 'random-button': page.random, 'searched-button': page.searched,
    'back-button': page.leave, 'select-button': page.select, 'previous-button': () => page.go(-1), 'next-button': () => page.go(1),
  };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener('click', act);
  $('volume').value = settings.volume;
  $('volume').addEventListener('input', () => page.setVolume(Number($('volume').value)));
  $('loop').checked = settings.loop;
  $('loop').addEventListener('change', () => page.setLoop($('loop').checked));
  $('note').addEventListener('change', () => page.note($('note').value));
  $('note').addEventListener('keydown', (e) => {
    if (e.key === 'Enter') $('note').blur();
    if (e.key === 'Escape') { $('note').value = page.current().note; $('note').blur(); }
  });
  $('moved').addEventListener('submit', (e) => { e.preventDefault(); page.searchIn($('moved').folder.value.trim()); });
  // After a click of the mouse the keys are for the picture again. After a key the button keeps the focus.
  document.addEventListener('click', (e) => { if (e.detail) e.target.closest?.('button:not(#tiles button)')?.blur(); });
  document.addEventListener('pointerdown', (e) => {
    if (!e.target.closest?.('#looks')) $('looks').open = false;
    if (!e.target.closest?.('#filters, #filters-button')) page.closeFilters();
  });
}

function playing({ run, settings, playEvent }) {
  $('modes').append(...modesOf(run).map((mode, k) => element('button', {
    type: 'button', 'data-mode': mode, 'aria-pressed': mode === settings.mode, onclick: () => playEvent(mode),
    title: mode === 'pitched' ? t('frequencies times {n}, in real time', { n: run.pitch }) : t('play at {n}x speed', { n: mode }),
  }, mode === 'pitched' ? t('pitch') : `${mode}x`, element('kbd', {}, k + 1))));
}

function looks({ run, settings, setBand, setContext, setLevels, setMap, setChannel }) {
  $('bands').append(...Object.entries(run.bands).map(([name, high]) => element('button', {
    type: 'button', 'data-band': name, onclick: () => setBand(name),
  }, high === null ? t('full') : high >= 1000 ? `0–${high / 1000} kHz` : `0–${high} Hz`)));
  $('contexts').append(...CONTEXTS.map((seconds) => element('button', {
    type: 'button', 'data-context': seconds, 'aria-pressed': seconds === settings.context, onclick: () => setContext(seconds),
  }, wordsOf(seconds))));
  $('map').append(...Object.keys(MAPS).map((name) => element('option', { value: name }, name)));
  $('map').addEventListener('change', () => { setMap($('map').value); $('map').blur(); });
  $('low').value = settings.low;
  $('range').value = settings.range;
  for (const slider of [$('low'), $('range')]) slider.addEventListener('input', setLevels);
  $('channel').addEventListener('change', () => { setChannel(Number($('channel').value)); $('channel').blur(); });
}
