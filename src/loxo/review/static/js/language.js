// Translation of a page, and numbers and dates as the language writes them. Keys are the English texts; see
// loxo/languages. Texts are written as t('...') and plural(n, '...', '...') only, or in the HTML file, so that a test
// finds them all.

export let language = 'en';
let catalogue = {};

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

export const t = (text, values = {}) => fill(typeof catalogue[text] === 'string' ? catalogue[text] : text, values);

// plural(2, '{n} recording', '{n} recordings')
export function plural(n, one, other, values = {}) {
  const form = new Intl.PluralRules(language).select(n);
  const forms = catalogue[other] ?? { one, other };
  return fill(forms[form] ?? forms.other, { n: number(n), ...values });
}

export const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
export const percent = (share) => new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 }).format(share);

// `when`: milliseconds since 1970, or a recorder's clock in ISO 8601, which is shown as it is.
const dateOf = (when) => (typeof when === 'number' ? [new Date(when), undefined] : [new Date(`${when.slice(0, 19)}Z`), 'UTC']);

export function day(when) {
  const [date, timeZone] = dateOf(when);
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeZone }).format(date);
}

export function moment(when) {
  const [date, timeZone] = dateOf(when);
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short', timeZone }).format(date);
}

export function duration(seconds) {
  if (seconds < 90) return plural(Math.max(Math.round(seconds), 1), '{n} second', '{n} seconds');
  if (seconds < 5400) return plural(Math.round(seconds / 60), '{n} minute', '{n} minutes');
  if (seconds < 172800) return plural(Math.round(seconds / 3600), '{n} hour', '{n} hours');
  return plural(Math.round(seconds / 86400), '{n} day', '{n} days');
}

export const hours = (value) => (value >= 1 || value === 0
  ? t('{n} h', { n: number(value, value < 10 ? 1 : 0) }) : t('{n} min', { n: number(60 * value, value < 1 / 6 ? 1 : 0) }));

export const size = (bytes) => {
  const power = bytes >= 1e9 ? 3 : bytes >= 1e6 ? 2 : 1;
  return `${number(bytes / 10 ** (3 * power), power === 3 ? 1 : 0)} ${[t('kB'), t('MB'), t('GB')][power - 1]}`;
};

// Labels of the model, as the language calls them; other labels stay as they are.
export const label = (name) => ({ rumble: t('rumble'), gunshot: t('gunshot') })[name] ?? name;
const ORDER = ['gunshot', 'rumble']; // the last one first
export const ordered = (names) => [...names].sort((a, b) => ORDER.indexOf(b) - ORDER.indexOf(a) || a.localeCompare(b));
export const events = (counts) => ordered(Object.keys(counts)).map((name) => [name, counts[name]]).filter(([, n]) => n).map(([name, n]) => (
  name === 'rumble' ? plural(n, '{n} rumble', '{n} rumbles')
    : name === 'gunshot' ? plural(n, '{n} gunshot', '{n} gunshots') : `${number(n)} ${name}`)).join(' · ');

// The language that was chosen before, or else the first of the browser's languages with a catalogue.
export function preferred(codes) {
  const chosen = localStorage.getItem('loxo-language');
  if (codes.includes(chosen)) return chosen;
  return navigator.languages.map((code) => code.slice(0, 2)).find((code) => codes.includes(code)) ?? 'en';
}

export async function use(code) {
  catalogue = code === 'en' ? {} : await (await fetch(`static/languages/${code}.json`)).json();
  language = code;
  document.documentElement.lang = code;
}

export const choose = (code) => localStorage.setItem('loxo-language', code);

// The languages of this page, with their names.
export const available = () => JSON.parse(document.querySelector('meta[name="languages"]').content);

// A list to change the language. `changed` is called afterwards.
export function languageChoice(changed) {
  const select = document.createElement('select');
  select.setAttribute('aria-label', t('Language'));
  select.append(...Object.entries(available()).map(([code, name]) => new Option(name, code, code === language, code === language)));
  select.addEventListener('change', () => { choose(select.value); changed(select.value); });
  return select;
}

// Translates the texts and the attributes of the HTML file.
export function translateDocument() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, key = node.data.trim().replace(/\s+/g, ' ');
    if (key && typeof catalogue[key] === 'string') node.data = node.data.replace(node.data.trim(), catalogue[key]);
  }
  for (const name of ['aria-label', 'placeholder', 'title']) {
    for (const found of document.querySelectorAll(`[${name}]`)) found.setAttribute(name, t(found.getAttribute(name)));
  }
}
