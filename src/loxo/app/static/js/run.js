// A run: live progress, the strip of events, problems, and what to do next.

import { getJson, post } from './api.js';
import { actions } from './actions.js';
import { button, commandLine, element, fail, openDialog, refill, update } from './dom.js';
import { chip, progressBar, setProgress, stateNames } from './home.js';
import { duration, events, hours, language, moment, number, percent, plural, t } from './language.js';
import { drawStation } from './station.js';
import { drawStrip } from './strip.js';

const OPEN = ['waiting', 'running'];

export async function runPage(id, constants) {
  let run = await getJson(`api/runs/${id}`);
  let job = null; // the latest job that makes the run
  const status = element('div', { class: 'status' });
  const spoken = element('p', { class: 'sr', role: 'status' }); // what a screen reader says: the state, and each tenth
  const controls = element('div', { class: 'choices' });
  const bar = progressBar(0, t('Progress'));
  const facts = element('dl', { class: 'facts' });
  const strip = element('div', { class: 'strip' });
  const problems = element('div');
  const station = element('div', { class: 'station', hidden: true });
  const next = element('div', { class: 'next' });
  const command = element('div');
  const output = element('pre', { tabindex: 0 });
  const summary = () => ({ recordings: run.recordings, hours: run.hours, events: run.events });
  let live = { ...summary(), problems: [], problem_count: 0, strip: null };
  let before = '', line = '';

  const act = async (action) => {
    try { await post(`api/jobs/${job.id}/${action}`); } catch (error) { fail(error); }
  };

  const stateOf = () => (job?.stopping ? 'stopping' : job?.state ?? run.state);

  function showJob(place) {
    const state = stateOf();
    const isOpen = OPEN.includes(job?.state);
    const texts = {
      waiting: place ? plural(place, '{n} survey is before it.', '{n} surveys are before it.') : t('It starts in a moment.'),
      stopped: t('Nothing is lost. “Go on” continues where it stopped.'),
      interrupted: t('The search ended without a message, perhaps by a loss of power. “Go on” continues where it stopped.'),
      failed: t('The search ended with an error. See what the command printed.'),
      stopping: t('The recordings that are finished are being saved.'),
      running: job?.progress.elapsed_s ? '' : t('The model is being loaded.'),
    };
    status.replaceChildren(chip(state), element('span', { class: 'soft' }, texts[state] ?? (job?.ended ? moment(1000 * job.ended) : '')));
    const buttons = [];
    if (isOpen && !job.stopping) buttons.push(button(job.state === 'waiting' ? t('Leave the queue') : t('Stop'), () => act('stop')));
    if (job && !isOpen && !['finished'].includes(job.state)) buttons.push(button(t('Go on'), () => act('resume'), { class: 'main' }));
    if (job && job.state === 'finished' && job.command === 'detect') buttons.push(button(t('Search again for new recordings'), () => act('resume')));
    if (!isOpen) buttons.push(button(t('Remove from the list'), forget, { class: 'quiet' }));
    update(controls, buttons);
    bar.hidden = !job || !isOpen;
    if (job) setProgress(bar, job.progress.share ?? 0);
    if (job && job.line !== line) {
      line = job.line;
      refill(command, [commandLine(line, command.querySelector('details')?.open)]);
    }
    speak();
  }

  function speak() {
    const state = stateOf();
    const share = job?.state === 'running' ? Math.floor(10 * (job.progress.share ?? 0)) / 10 : 0;
    const words = [stateNames()[state] ?? state, share ? percent(share) : '', problemCount()].filter(Boolean).join(', ');
    if (spoken.textContent !== words) spoken.textContent = words;
  }

  const problemCount = () => (live.problem_count
    ? plural(live.problem_count, '{n} recording with a problem', '{n} recordings with problems') : '');

  function showFacts() {
    const p = job?.progress ?? {};
    const isRunning = job?.state === 'running';
    const total = isRunning && p.recordings ? p.recordings : null;
    const speed = p.elapsed_s > 0 && p.hours ? p.hours / p.elapsed_s * 3600 : null;
    const shown = [
      [hours(isRunning ? Math.max(p.hours ?? 0, live.hours) : live.hours), t('of sound analysed')],
      [total ? `${number(p.finished)} / ${number(total)}` : number(live.recordings), t('recordings')],
      [events(live.events) || '0', run.outputs.review ? t('listed events') : t('listed events, not checked yet')],
      isRunning ? [p.left_s ? duration(p.left_s) : '…', t('left')] : null,
      isRunning && speed ? [t('{n} times', { n: number(speed, speed < 10 ? 1 : 0) }), t('faster than the sound')] : null,
    ].filter(Boolean);
    facts.replaceChildren(...shown.map(([big, small]) => element('div', {}, element('dt', {}, big), element('dd', {}, small))));
  }

  function showRun() {
    drawStrip(strip, live.strip);
    drawStation(station, live.station);
    const details = problems.querySelector('details');
    update(problems, live.problem_count ? [element('details', { class: 'problems', open: details ? details.open : live.problem_count < 4 },
      element('summary', {}, problemCount()),
      element('ul', {}, live.problems.map((each) => element('li', {}, each.sentence || each.recording))))] : []);
    showFacts();
    speak();
  }

  async function reload() {
    run = await getJson(`api/runs/${id}`);
    const jobs = run.jobs.filter((each) => each.command !== 'adapt');
    output.textContent = jobs.at(-1)?.output || '–';
    refill(next, actions(run, constants, reload));
  }

  const forget = () => {
    const close = openDialog(t('Remove from the list'), element('p', {}, t('The survey is removed from this list. Its folder stays: {folder}', { folder: run.folder })),
      element('div', { class: 'choices' }, button(t('Remove from the list'), async () => {
        try { await post(`api/runs/${id}/forget`); close(); location.hash = '#/'; } catch (error) { fail(error); }
      }, { class: 'main' }), button(t('Cancel'), () => close())));
  };

  const source = new EventSource(`api/runs/${id}/events?language=${language}`);
  source.addEventListener('jobs', async ({ data }) => {
    const { jobs, place } = JSON.parse(data);
    job = jobs.filter((each) => ['detect', 'decode'].includes(each.command)).at(-1) ?? null;
    showJob(place);
    showFacts();
    const states = jobs.map((each) => each.id + each.state).join();
    if (states !== before) {
      before = states;
      await reload().catch(fail);
    }
  });
  source.addEventListener('run', ({ data }) => {
    live = JSON.parse(data);
    if (!live.strip) live = { ...live, ...summary() }; // the run has no journal, or nothing in it yet
    showRun();
  });
  source.onerror = () => dispatchEvent(new Event('offline-server'));
  source.onopen = () => dispatchEvent(new Event('online-server'));

  const ageing = setInterval(() => drawStation(station, live.station), 10_000);
  showJob(0);
  showRun();
  await reload();
  return [[
    element('div', { class: 'title' }, element('h1', {}, run.name), element('code', { class: 'soft' }, run.folder)),
    run.problem ? element('p', { class: 'note' }, run.problem) : '',
    element('section', { class: 'card' }, element('div', { class: 'split' }, status, controls), spoken, bar, station, facts, strip, problems, command,
      element('details', { class: 'output' }, element('summary', {}, t('What the command printed')), output)),
    next,
  ], () => { source.close(); clearInterval(ageing); }];
}
