// The buttons, sliders and the colour map below the spectrogram, and other clickable elements.

import { MAPS } from './maps.js';
import { element } from './words.js';

export const CONTEXTS = [10, 20, 30, 60]; // seconds shown

const $ = (id) => document.getElementById(id);

export const modesOf = (run) => [...run.speeds.map(String), 'pitched'];

export function pressed(group, name, value) {
  for (const button of group.children) button.setAttribute('aria-pressed', button.dataset[name] === String(value));
}

// `page` contains the functions of the page; see main.js.
export function tools(page) {
  playing(page);
  looks(page);
  for (const button of $('decide').querySelectorAll('[data-verdict]')) {
    const { verdict } = button.dataset;
    button.addEventListener('click', () => (verdict === 'other' ? page.decideOther() : page.decide(verdict)));
  }
  $('undo-button').addEventListener('click', () => page.back('undo'));
  $('draw-button').addEventListener('click', () => page.setDrawing(!page.view.drawing));
  $('note').addEventListener('change', () => page.note($('note').value));
  $('note').addEventListener('keydown', (e) => {
    if (e.key === 'Enter') $('note').blur();
    if (e.key === 'Escape') { $('note').value = page.current().note; $('note').blur(); }
  });
  $('grid-button').addEventListener('click', () => page.toggleGrid());
  $('results-button').addEventListener('click', () => page.openResults());
  $('help-button').addEventListener('click', () => page.help());
  $('filters-button').addEventListener('click', () => page.toggleFilters());
  for (const button of document.querySelectorAll('button')) button.addEventListener('click', () => button.blur());
}

function playing({ run, settings, playEvent }) {
  $('modes').append(...modesOf(run).map((mode, k) => element('button', {
    type: 'button', 'data-mode': mode, 'aria-pressed': mode === settings.mode, onclick: () => playEvent(mode),
    title: mode === 'pitched' ? `frequencies times ${run.pitch}, in real time` : `play at ${mode}x speed`,
  }, mode === 'pitched' ? 'pitch' : `${mode}x`, element('kbd', {}, k + 1))));
}

function looks({ run, settings, setBand, setContext, setLevels, setMap }) {
  $('bands').append(...Object.entries(run.bands).map(([name, high]) => element('button', {
    type: 'button', 'data-band': name, onclick: () => setBand(name),
  }, high === null ? 'full' : high >= 1000 ? `0–${high / 1000} kHz` : `0–${high} Hz`)));
  $('contexts').append(...CONTEXTS.map((seconds) => element('button', {
    type: 'button', 'data-context': seconds, 'aria-pressed': seconds === settings.context,
    onclick: () => setContext(seconds),
  }, `${seconds} s`)));
  $('map').append(...Object.keys(MAPS).map((name) => element('option', { value: name }, name)));
  $('map').value = settings.map;
  $('map').addEventListener('change', () => { setMap($('map').value); $('map').blur(); });
  $('low').value = settings.low;
  $('range').value = settings.range;
  for (const slider of [$('low'), $('range')]) slider.addEventListener('input', setLevels);
}
