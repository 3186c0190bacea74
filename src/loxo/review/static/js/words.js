// Numbers and times as text; creation of elements.

import { language, t } from './language.js';

export const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name.startsWith('aria-') || value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

// Seconds of a recording: 75.3 -> 1:15, 4000 -> 1:06:40.
export function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const h = Math.floor(rounded / 3600), m = Math.floor((rounded % 3600) / 60);
  const s = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
  return h ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

// The recorder's clock, independent of the browser's time zone. `begin`: the start of the recording, ISO 8601 without a
// zone, or null if it is unknown; `seconds`: after that start.
const moment = (begin, seconds) => new Date(Date.parse(`${begin.slice(0, 23)}Z`) + Math.round(seconds * 1000));

// 03:04:05
export const clockTime = (begin, seconds) => (begin ? moment(begin, seconds).toISOString().slice(11, 19) : '');

// 26 Jan 2018
export function clockDate(begin, seconds = 0) {
  if (!begin) return '';
  const locale = language === 'en' ? 'en-GB' : language; // the day first, as recorders' owners in Africa write it
  return new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' }).format(moment(begin, seconds));
}

export const wallClock = (begin, seconds) => (begin ? `${clockDate(begin, seconds)}, ${clockTime(begin, seconds)}` : '');

// "nn01a · channel 2", without what is unknown.
export const placeOf = ({ site, channel }) => [site, channel ? t('channel {n}', { n: channel }) : ''].filter(Boolean).join(' · ');
