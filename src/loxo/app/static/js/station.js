// A live station: the last sound, events, disk and clock. The last sound becomes older while nothing arrives.

import { element } from './dom.js';
import { duration, moment, number, plural, size, t } from './language.js';

const SILENT_S = 120;

export function drawStation(place, state) {
  place.hidden = !state;
  if (!state) return;
  const silent = state.heard === null ? null : Math.max(Date.now() / 1000 - state.heard, 0);
  const isSilent = silent === null || silent > SILENT_S;
  const when = silent === null ? t('no sound yet') : isSilent ? t('{time} ago', { time: duration(silent) }) : t('now');
  const facts = [
    [when, state.heard === null ? t('last sound') : t('last sound: {time}', { time: moment(1000 * state.heard) })],
    [number(state.announced), t('announced events')],
    [size(1e6 * state.free_mb), t('free on the disk; kept sound: {size}', { size: size(1e6 * state.recordings_mb) })],
    [t('{n} s', { n: number(state.drift_s, 1) }), state.corrections
      ? plural(state.corrections, 'clock drift; the clock was set {n} time', 'clock drift; the clock was set {n} times') : t('clock drift')],
    [number(state.gaps), state.gap_s ? t('gaps, {time} without sound', { time: duration(state.gap_s) }) : t('gaps')],
    state.waiting_alerts ? [number(state.waiting_alerts), t('alerts that wait for a receiver')] : null,
  ].filter(Boolean);
  place.classList.toggle('silent', isSilent);
  place.replaceChildren(element('h2', {}, t('Station {site}', { site: state.site })),
    element('dl', { class: 'facts' }, facts.map(([big, small]) => element('div', {}, element('dt', {}, big), element('dd', {}, small)))));
}
