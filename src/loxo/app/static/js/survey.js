// A new survey: the folder, its sites and time zone, and how to search it.

import { post } from './api.js';
import { button, commandLine, element, fail } from './dom.js';
import { day, hours, number, plural, size, t } from './language.js';
import { optionForm } from './options.js';
import { picker } from './picker.js';

const LINE_MS = 300; // after the last change, before the command line is asked for

export async function survey(constants) {
  const content = element('div', { role: 'status', 'aria-live': 'polite' });
  const rest = element('div', { class: 'steps' });
  const choice = element('section', { class: 'card' },
    element('h2', {}, t('1. Recordings')), element('p', { class: 'soft' }, t('Choose the memory card or the folder with the recordings. Its subfolders are searched too.')),
    picker(constants, { choose: t('Use this folder'), on: inspect }), content);

  async function inspect(folder) {
    content.replaceChildren(element('p', { class: 'soft' }, t('Looking at the recordings …')));
    rest.replaceChildren();
    try {
      const found = await post('api/inspect', { folder });
      content.replaceChildren(...summary(found));
      if (found.recordings) {
        rest.replaceChildren(...await settings(constants, found));
        content.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
      }
    } catch (error) {
      content.replaceChildren();
      fail(error);
    }
  }

  return [[element('div', { class: 'title' }, element('h1', {}, t('New survey'))), choice, rest], () => {}];
}

function summary(found) {
  const facts = [
    [plural(found.recordings, '{n} recording', '{n} recordings'), `${size(found.bytes)} · ${Object.keys(found.formats).join(', ').toUpperCase()}`],
    [found.is_estimate ? t('about {hours}', { hours: hours(found.hours) }) : hours(found.hours), t('of sound')],
    [found.sites.length ? plural(found.sites.length, '{n} site', '{n} sites') : t('no site'), found.sites.slice(0, 4).map((site) => site.name).join(', ')],
    found.first ? [day(found.first), found.days > 1 ? t('to {day}, {n} days with recordings', { day: day(found.last), n: number(found.days) }) : t('the only day')]
      : [t('no date'), t('The names contain no date.')],
  ];
  const warnings = [];
  if (found.without_start && found.first) warnings.push(plural(found.without_start, '{n} recording has no date in its name.', '{n} recordings have no date in their names.'));
  if (found.without_site) warnings.push(plural(found.without_site, '{n} recording has no site.', '{n} recordings have no site.'));
  if (found.free_bytes !== null && found.free_bytes < 200e6) warnings.push(t('The disk of the result has only {size} left.', { size: size(found.free_bytes) }));
  const problems = found.problems.length + found.more_problems;
  return [
    element('p', { class: 'chosen' }, element('code', {}, found.folder)),
    element('dl', { class: 'facts' }, facts.map(([big, small]) => element('div', {}, element('dt', {}, big), element('dd', {}, small)))),
    ...warnings.map((text) => element('p', { class: 'note' }, text)),
    problems ? element('details', { class: 'problems', open: problems < 4 },
      element('summary', {}, plural(problems, '{n} problem before the start', '{n} problems before the start')),
      element('ul', {}, found.problems.map((sentence) => element('li', {}, sentence))),
      element('p', { class: 'soft' }, t('The survey can start: these recordings are listed as problems.')))
      : element('p', { class: 'good' }, t('✓ No problem found.')),
  ];
}

async function settings(constants, found) {
  const presets = [
    ['survey', t('Survey'), t('The usual search. Frame scores are kept, so thresholds can be changed later in seconds.')],
    ['quick', t('Quick look'), t('A little faster. Good for a first impression of a card.')],
    ['doubtful', t('Everything doubtful'), t('Also lists events with low scores. Finds more calls, and many more false positives to review.')],
  ];
  let preset = 'survey';
  const fault = element('p', { class: 'fault', role: 'alert' });
  const line = element('div');
  const start = button(t('Start'), begin, { class: 'main large' });
  const zone = element('input', { list: 'zones', type: 'text', id: 'zone', placeholder: 'Africa/Libreville', oninput: changed, spellcheck: 'false' });
  const zones = element('datalist', { id: 'zones' }, Intl.supportedValuesOf('timeZone').map((name) => element('option', { value: name })));
  const out = element('input', { type: 'text', id: 'out', value: found.out, oninput: changed, spellcheck: 'false' });
  const sites = siteTable(found.sites, changed);
  const expert = element('div');
  const map = element('div', { class: 'map' });
  let shown = JSON.stringify({ sites: null });
  let values = () => ({});
  let timer;

  async function fillExpert() {
    const [form, read] = await optionForm('detect', constants.presets[preset], ['paths', 'out', 'time_zone'], changed);
    values = read;
    expert.replaceChildren(form);
  }

  const given = () => ({ ...values(), paths: [found.folder], out: out.value.trim(), ...(zone.value.trim() ? { time_zone: zone.value.trim() } : {}) });

  function changed() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const answer = await post('api/line', { command: 'detect', values: given(), sites: sites.rows() });
        line.replaceChildren(commandLine(answer.line, line.querySelector('details')?.open ?? true));
        await showMap({ sites: sites.rows(), table: values().sites });
        fault.textContent = '';
        start.disabled = false;
      } catch (error) {
        fault.textContent = error.message;
        start.disabled = true;
      }
    }, LINE_MS);
  }

  // A map of the sites with coordinates, from the form or the table of --sites.
  async function showMap(places) {
    const key = JSON.stringify(places);
    if (key === shown) return;
    shown = key;
    const { svg } = await post('api/map', places);
    map.replaceChildren(...(svg ? [element('img', { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`, alt: t('Map of the sites') })] : []));
  }

  async function begin() {
    start.disabled = true;
    try {
      const { run } = await post('api/start', { command: 'detect', values: given(), sites: sites.rows() });
      location.hash = `#/runs/${run}`;
    } catch (error) {
      fault.textContent = error.message;
      start.disabled = false;
    }
  }

  const choices = presets.map(([name, title, text]) => element('label', { class: 'preset' },
    element('input', { type: 'radio', name: 'preset', value: name, checked: name === preset, onchange: async () => { preset = name; await fillExpert(); changed(); } }),
    element('span', {}, element('strong', {}, title), element('span', { class: 'soft' }, text))));
  await fillExpert();
  changed();
  return [
    element('section', { class: 'card' }, element('h2', {}, t('2. Sites and time zone')),
      element('div', { class: 'field' }, element('label', { for: 'zone' }, t('Time zone of the recorders’ clocks')), zone, zones,
        element('p', { class: 'help' }, found.has_zone ? t('The names contain a time zone, so this can stay empty.')
          : t('For example Africa/Libreville or +01:00. Empty: times are shown as the recorders wrote them.'))),
      sites.element, map),
    element('section', { class: 'card' }, element('h2', {}, t('3. Search')),
      element('fieldset', { class: 'presets' }, element('legend', { class: 'sr' }, t('Preset')), choices),
      element('div', { class: 'field' }, element('label', { for: 'out' }, t('Folder of the result')), out),
      element('details', { class: 'expert' }, element('summary', {}, t('All options')), expert),
      line, fault, element('div', { class: 'go' }, start, element('span', { class: 'soft' }, t('You can close the page: the search goes on.')))),
  ];
}

function siteTable(sites, changed) {
  if (!sites.length) return { element: element('p', { class: 'soft' }, t('No site was recognised: all recordings count as one place.')), rows: () => null };
  const field = (name, value, text, mode = 'text') => element('input', { type: 'text', inputmode: mode, placeholder: { latitude: t('Latitude'), longitude: t('Longitude') }[name], 'data-name': name, value, 'aria-label': text, oninput: changed });
  const rows = sites.map((site) => [site.name, element('tr', {},
    element('td', {}, site.name, ' ', element('span', { class: 'soft' }, `(${number(site.recordings)})`)),
    element('td', {}, field('site', site.name, t('Name of {site}', { site: site.name }))),
    element('td', {}, field('latitude', '', t('Latitude of {site}', { site: site.name }), 'decimal')),
    element('td', {}, field('longitude', '', t('Longitude of {site}', { site: site.name }), 'decimal')))]);
  const heads = [t('Recognised'), t('Name of the site'), t('Latitude'), t('Longitude')];
  const table = element('table', { class: 'sites', 'aria-label': t('Sites') },
    element('thead', {}, element('tr', {}, heads.map((text) => element('th', { scope: 'col' }, text)))), element('tbody', {}, rows.map(([, row]) => row)));
  return {
    element: element('details', { open: sites.length <= 3 }, element('summary', {}, plural(sites.length, 'Name and place of {n} site', 'Names and places of {n} sites')),
      element('p', { class: 'help' }, t('Coordinates are optional, in degrees: 0.39 and 9.45. With them the report has a map, sunrise and sunset.')),
      element('div', { class: 'wide', tabindex: 0 }, table)),
    // Rows of a table of sites, or null if nothing was changed.
    rows: () => {
      const found = rows.map(([recorder, row]) => ({ recorder, ...Object.fromEntries([...row.querySelectorAll('input')].map((input) => [input.dataset.name, input.value.trim().replace(',', '.')])) }));
      return found.some((row) => row.latitude || row.longitude || row.site !== row.recorder) ? found : null;
    },
  };
}
