// Forms of the options of a command. The words are those of the command, translated where there is a translation.

import { getJson } from './api.js';
import { element } from './dom.js';
import { t } from './language.js';

const forms = {};

export const formOf = (command) => (forms[command] ??= getJson(`api/form/${command}`));

// Returns [element, values()]. `values` are shown first; `without` names options that are left out.
export async function optionForm(command, values, without = [], onchange = () => {}) {
  const fields = (await formOf(command)).filter((field) => !without.includes(field.name));
  const inputs = new Map();
  const panels = new Map();
  for (const field of fields) {
    const value = values[field.name] ?? field.default;
    const id = `option-${command}-${field.name}`;
    const input = element(field.repeats ? 'textarea' : 'input', {
      id, rows: field.repeats ? 2 : null, name: field.name, type: { flag: 'checkbox', number: 'number', text: 'text' }[field.kind], min: field.min, max: field.max,
      step: field.kind === 'number' ? field.step : null, 'aria-describedby': `${id}-help`, spellcheck: 'false', oninput: onchange,
    });
    if (field.kind === 'flag') input.checked = Boolean(value);
    else input.value = Array.isArray(value) ? value.join('\n') : value ?? '';
    inputs.set(field, input);
    const label = element('label', { for: id }, element('code', {}, field.flag ?? field.name.toUpperCase()));
    const row = element('div', { class: `option ${field.kind}` }, label, input, element('p', { class: 'help', id: `${id}-help` }, t(field.help)));
    panels.set(field.panel, [...(panels.get(field.panel) ?? []), row]);
  }
  const made = element('div', { class: 'options' }, [...panels].map(([panel, rows]) => (
    element('fieldset', {}, element('legend', {}, t(panel)), rows))));
  return [made, () => {
    const given = {};
    for (const [field, input] of inputs) {
      const text = input.value.trim();
      if (field.kind === 'flag') { if (input.checked) given[field.name] = true; continue; }
      if (text === '' || text === String(field.default ?? '')) continue;
      given[field.name] = field.repeats ? text.split('\n') : field.kind === 'number' ? Number(text) : text;
    }
    return given;
  }];
}
