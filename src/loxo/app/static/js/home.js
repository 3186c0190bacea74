// The list of runs with their state, effort and counts.

import { getJson, post } from './api.js';
import { button, element, fail, openDialog, refill } from './dom.js';
import { day, events, hours, number, percent, plural, t } from './language.js';
import { picker } from './picker.js';

const POLL_MS = 3000;

export const stateNames = () => ({
  waiting: t('waiting'), running: t('running'), finished: t('finished'), failed: t('failed'), stopped: t('stopped'),
  interrupted: t('interrupted'), missing: t('not found'), stopping: t('stopping'),
});

export const chip = (state) => element('span', { class: `chip ${state}` }, stateNames()[state] ?? state);

export const progressBar = (share, name) => element('div', {
  class: 'progress', role: 'progressbar', 'aria-label': name, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(100 * share),
}, element('div', { style: null, class: 'bar' }));

export function setProgress(bar, share) {
  bar.setAttribute('aria-valuenow', Math.round(100 * share));
  bar.firstChild.style.width = `${100 * share}%`;
}

export async function home(constants) {
  const body = element('div', { id: 'runs' });
  const search = element('input', { type: 'search', placeholder: t('Name of a survey'), 'aria-label': t('Search'), oninput: () => draw() });
  const begin = element('a', { class: 'action main', href: '#/new' }, t('New survey'));
  let runs = [], shown = '';

  function draw() {
    const wanted = search.value.toLowerCase();
    const found = runs.filter((run) => `${run.name} ${run.folder}`.toLowerCase().includes(wanted));
    search.hidden = runs.length < 8;
    begin.hidden = !runs.length;
    if (!runs.length) { refill(body, [empty()]); return; }
    const heads = [t('Survey'), t('State'), t('Recordings'), t('Effort'), t('Listed events'), t('Problems'), t('Changed')];
    refill(body, [element('table', { class: 'runs', 'aria-label': t('Surveys') },
      element('thead', {}, element('tr', {}, heads.map((text) => element('th', { scope: 'col' }, text)))),
      element('tbody', {}, found.map((run) => row(run, heads))))]);
    if (!found.length) body.append(element('p', { class: 'soft' }, t('No survey has this name.')));
  }

  function row(run, heads) {
    const share = run.share;
    const bar = share === null ? null : progressBar(share, run.name);
    if (bar) setProgress(bar, share);
    const cells = [
      element('a', { href: `#/runs/${run.id}` }, run.name),
      element('div', {}, chip(run.state), share ? ` ${percent(share)}` : '', bar),
      number(run.recordings), hours(run.hours), events(run.events) || '–', run.problems ? number(run.problems) : '–', day(1000 * run.changed),
    ];
    return element('tr', { title: run.problem ?? run.folder }, cells.map((cell, k) => element(k ? 'td' : 'th', { 'data-head': heads[k], scope: k ? null : 'row' }, cell)));
  }

  const empty = () => element('div', { class: 'hero' },
    element('img', { src: 'static/icon.svg', alt: '', width: 72, height: 72 }),
    element('h2', {}, t('No survey yet')),
    element('p', {}, t('Choose the folder or the memory card with your recordings. Loxo lists the elephant rumbles and gunshots in them. Nothing leaves this computer.')),
    element('a', { class: 'action main', href: '#/new' }, t('New survey')));

  async function refresh() {
    const found = await getJson('api/home');
    const text = JSON.stringify(found.runs);
    if (text === shown) return;
    shown = text;
    runs = found.runs;
    draw();
  }

  const open = () => {
    const fault = element('p', { class: 'fault', role: 'alert' });
    const close = openDialog(t('Open a run folder'),
      element('p', {}, t('Choose a folder that loxo detect has written: it contains run.json.')),
      picker(constants, { choose: t('Open this folder'), on: async (folder) => {
        try {
          const { id } = await post('api/open', { folder });
          close();
          location.hash = `#/runs/${id}`;
        } catch (error) { fault.textContent = error.message; }
      } }), fault);
  };

  await refresh();
  const timer = setInterval(() => refresh().catch(() => {}), POLL_MS);
  const count = runs.length ? plural(runs.length, '{n} survey', '{n} surveys') : '';
  return [[
    element('div', { class: 'title' }, element('h1', {}, t('Surveys')), element('span', { class: 'soft' }, count), search,
      element('span', { class: 'space' }), button(t('Open a run folder'), () => { try { open(); } catch (error) { fail(error); } }), begin),
    body,
  ], () => clearInterval(timer)];
}
