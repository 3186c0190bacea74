// Sentences for the user: at the top of the page, for a moment, and while the server or a decision log is at fault.

import { element } from './words.js';

const $ = (id) => document.getElementById(id);

let silence;
export function tell(text, fault = false) {
  $('message').textContent = text;
  $('message').className = fault ? 'shown fault' : 'shown';
  clearTimeout(silence);
  silence = setTimeout(() => { $('message').className = ''; }, fault ? 7000 : 3000);
}
export function fail(error) { tell(error.message, true); }
export function warn(sentences) { // about decision logs that cannot be read
  $('warnings').replaceChildren(...sentences.map((sentence) => element('p', {}, sentence)));
  $('warnings').hidden = !sentences.length;
}
window.addEventListener('offline-server', () => { $('offline').hidden = false; });
window.addEventListener('online-server', () => { $('offline').hidden = true; });
