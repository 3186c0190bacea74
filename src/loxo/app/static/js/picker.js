// Chooses a folder of this computer: places, the path, and the folders in it.

import { post } from './api.js';
import { button, element, fail } from './dom.js';
import { plural, t } from './language.js';

// `on(folder)` is called with the chosen folder; `choose` is the text of its button.
export function picker(constants, { choose, on }) {
  const path = element('input', { type: 'text', 'aria-label': t('Folder'), spellcheck: 'false', onchange: () => open(path.value) });
  const list = element('ul', { class: 'folders', 'aria-label': t('Folders') });
  const here = element('span', { class: 'soft', role: 'status' });
  const use = button(choose, () => on(path.value), { class: 'main', disabled: true });
  let asked = 0;

  async function open(folder) {
    const number = ++asked;
    let found;
    try { found = await post('api/folders', { path: folder }); } catch (error) { fail(error); return; }
    if (number !== asked) return; // another folder was opened since
    path.value = found.path;
    use.disabled = false;
    here.textContent = found.recordings ? plural(found.recordings, '{n} recording in this folder', '{n} recordings in this folder')
      : t('No recording directly in this folder');
    const up = found.parent && element('li', {}, button(t('Folder above'), () => open(found.parent), { class: 'folder up' }));
    list.replaceChildren(...[up, ...found.folders.map((each) => (
      element('li', {}, button(each.name, () => open(each.path), { class: 'folder' }))))].filter(Boolean));
    if (found.left_out) list.append(element('li', { class: 'soft' }, plural(found.left_out, '{n} more folder', '{n} more folders')));
    list.scrollTop = 0;
  }

  const nameOf = (place) => (place.kind === 'home' ? t('Home folder') : place.path);
  const places = element('div', { class: 'choices', role: 'group', 'aria-label': t('Places') }, constants.places.map((place) => (
    button([element('span', { 'aria-hidden': 'true' }, { home: '⌂ ', drive: '▤ ', folder: '▸ ' }[place.kind]), nameOf(place)], () => open(place.path)))));
  const first = constants.places.find((place) => place.kind === 'drive') ?? constants.places[0];
  if (first) open(first.path);
  return element('div', { class: 'picker' }, places, element('div', { class: 'path' }, path, use), here, list);
}
