// Elements, messages and dialogs.

import { t } from './language.js';

// element('p', { class: 'soft', onclick }, 'text', child): null and false children are left out.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const button = (text, onclick, attributes = {}) => element('button', { type: 'button', onclick, ...attributes }, text);

// As replaceChildren, but the keyboard focus stays on the control with the same text, or moves to the first control or
// the holder.
export function refill(holder, children) {
  const focused = holder.contains(document.activeElement) ? document.activeElement : null;
  holder.replaceChildren(...children);
  if (!focused) return;
  const controls = [...holder.querySelectorAll('a, button:enabled, summary')];
  holder.tabIndex = -1;
  (controls.find((each) => each.textContent === focused.textContent) ?? controls[0] ?? holder).focus({ preventScroll: true });
}

// As refill, but leaves equal children in place: a screen reader does not read them again.
export function update(holder, children) {
  const isSame = children.length === holder.children.length && children.every((child, k) => child.isEqualNode(holder.children[k]));
  if (!isSame) refill(holder, children);
}

const message = document.getElementById('message');
let timer;

export function tell(text, isFault = false) {
  message.textContent = text;
  message.className = isFault ? 'shown fault' : 'shown';
  clearTimeout(timer);
  timer = setTimeout(() => { message.className = ''; }, isFault ? 9000 : 4000);
}

export const fail = (error) => tell(error.message, true);

const dialog = document.getElementById('dialog');

export function openDialog(title, ...content) {
  const close = button(`✕ ${t('Close')}`, () => dialog.close(), { class: 'close' });
  dialog.setAttribute('aria-label', title);
  dialog.replaceChildren(element('div', { class: 'head' }, element('h2', {}, title), close), ...content.filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  return () => dialog.close();
}

dialog.addEventListener('pointerdown', (e) => {
  const box = dialog.getBoundingClientRect();
  const beside = e.clientX < box.left || e.clientX > box.right || e.clientY < box.top || e.clientY > box.bottom;
  if (e.target === dialog && beside) { e.preventDefault(); dialog.close(); }
});

// The command that does the same, to copy. `text` is the line, or a function that returns it when it is asked for.
export function commandLine(text, open = false) {
  const line = element('div', { class: 'line' });
  const details = element('details', { class: 'command', open }, element('summary', {}, t('The command that does the same')), line);
  const fill = async () => {
    const content = typeof text === 'string' ? text : await text();
    line.replaceChildren(element('code', {}, content), button(t('Copy'), async () => {
      await navigator.clipboard.writeText(content);
      tell(t('Copied.'));
    }));
  };
  details.addEventListener('toggle', () => { if (details.open && !line.firstChild) fill().catch(fail); });
  return details;
}
