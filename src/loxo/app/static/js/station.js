// A live station: the last sound, events, disk, and clock or recordings. The last sound becomes older while nothing arrives.

import { element } from './dom.js';
import { duration, moment, number, plural, size, t } from './language.js';

const SILENT_S = 120;
const age = (time) => (time === null ? null : Math.max(Date.now() / 1000 - time, 0));
const ago = (seconds) => (seconds > SILENT_S ? t('{time} ago', { time: duration(seconds) }) : t('now'));
const lastSound = ({ heard }) => (heard === null ? t('last sound') : t('last sound: {time}', { time: moment(1000 * heard) }));

const alerts = ({ waiting_alerts: n }) => (n ? [number(n), t('alerts that wait for a receiver')] : null);

function listening(state, silent) {
  return [
    [silent === null ? t('no sound yet') : ago(silent), lastSound(state)],
    [number(state.announced), t('announced events')],
    [size(1e6 * state.free_mb), t('free on the disk; kept sound: {size}', { size: size(1e6 * state.recordings_mb) })],
    [t('{n} s', { n: number(state.drift_s, 1) }), state.corrections
      ? plural(state.corrections, 'clock drift; the clock was set {n} time', 'clock drift; the clock was set {n} times') : t('clock drift')],
    [number(state.gaps), state.gap_s ? t('gaps, {time} without sound', { time: duration(state.gap_s) }) : t('gaps')],
    alerts(state),
  ];
}

function watching(state, silent) {
  return [
    [ago(silent ?? Infinity), t('last report: {time}', { time: moment(1000 * state.written) })],
    [state.heard === null ? t('no sound yet') : ago(age(state.heard)), lastSound(state)],
    [number(state.complete), t('complete recordings; {growing} growing, {waiting} waiting', { growing: number(state.growing), waiting: number(state.waiting) })],
    [number(state.events), t('events')],
    [size(1e6 * state.free_mb), t('free on the disk')],
    alerts(state),
  ];
}

// A station that listens is silent without sound, one that watches a folder without a report: cards come every three weeks.
export function drawStation(place, state) {
  place.hidden = !state;
  if (!state) return;
  const isWatch = state.kind === 'watch';
  const silent = age(isWatch ? state.written : state.heard);
  const facts = (isWatch ? watching : listening)(state, silent).filter(Boolean);
  place.classList.toggle('silent', silent === null || silent > SILENT_S);
  place.replaceChildren(
    element('h2', {}, isWatch ? t('Watched folder {folder}', { folder: state.name }) : t('Station {site}', { site: state.name })),
    element('dl', { class: 'facts' }, facts.map(([big, small]) => element('div', {}, element('dt', {}, big), element('dd', {}, small)))),
    state.started === null ? '' : element('p', { class: 'soft' }, t('in operation since {time}', { time: moment(1000 * state.started) })));
}
