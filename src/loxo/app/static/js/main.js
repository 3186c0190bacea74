// The page: its header, and the view of the address: #/ (home), #/new, #/runs/ID.

import { getJson, post } from './api.js';
import { button, element, fail, openDialog } from './dom.js';
import { home } from './home.js';
import { available, languageChoice, preferred, t, use } from './language.js';
import { runPage } from './run.js';
import { survey } from './survey.js';

const main = document.getElementById('main');
const constants = await getJson('api/app');
await use(preferred(Object.keys(available())));

let leave = () => {};

async function show(isLater) {
  const turn = (show.turn = Symbol('turn'));
  leave();
  leave = () => {};
  const place = location.hash.replace(/^#\/?/, '');
  const id = /^runs\/(\w+)$/.exec(place)?.[1];
  document.body.dataset.view = id ? 'run' : place || 'home';
  header(place);
  try {
    const [content, stop] = await (id ? runPage(id, constants) : place === 'new' ? survey(constants) : home(constants));
    if (turn !== show.turn) { stop(); return; } // another view was opened meanwhile
    main.replaceChildren(...content);
    leave = stop;
  } catch (error) {
    if (turn !== show.turn) return;
    main.replaceChildren(element('p', { class: 'fault' }, error.message), element('p', {}, element('a', { href: '#/' }, t('Surveys'))));
    fail(error);
  }
  document.title = `${main.querySelector('h1')?.textContent ?? 'Loxo'} – Loxo`;
  scrollTo(0, 0);
  if (isLater) main.focus(); // a screen reader reads the new view
}

function header(place) {
  const links = [['', t('Surveys')], ['new', t('New survey')]].map(([to, text]) => (
    element('a', { href: `#/${to}`, 'aria-current': place === to ? 'page' : null }, text)));
  const select = languageChoice(async (code) => {
    await use(code);
    await show(false);
  });
  document.getElementById('top').replaceChildren(
    element('a', { href: '#/', class: 'brand' }, element('img', { src: 'static/icon.svg', alt: '', width: 26, height: 26 }), 'Loxo'),
    element('nav', { 'aria-label': t('Pages') }, links), select, button(t('Quit'), quit, { class: 'quiet' }));
  document.getElementById('offline').textContent = t('The app does not answer. Jobs go on. Start it again and open its new page.');
}

function quit() {
  const close = openDialog(t('Quit'), element('p', {}, t('Stop the app? Jobs in progress go on, and you find them again when you start it.')),
    element('div', { class: 'choices' }, button(t('Stop the app'), async () => {
      leave();
      await post('api/quit').catch(() => {});
      close();
      main.replaceChildren(element('div', { class: 'hero' }, element('h1', {}, t('The app has stopped.')), element('p', {}, t('You can close this page.'))));
    }, { class: 'main' }), button(t('Cancel'), () => close())));
}

addEventListener('hashchange', () => show(true));
addEventListener('offline-server', () => { document.getElementById('offline').hidden = false; });
addEventListener('online-server', () => { document.getElementById('offline').hidden = true; });
await show(false);
