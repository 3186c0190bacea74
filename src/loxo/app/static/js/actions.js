// What can be done with a run: review, report, tables, thresholds from a review, evaluation, adaptation.

import { post } from './api.js';
import { button, commandLine, element, openDialog, tell } from './dom.js';
import { percent, t } from './language.js';
import { optionForm } from './options.js';
import { chip } from './home.js';

const quoted = (path) => (/^[\w./:\\-]+$/.test(path) ? path : `"${path}"`);

export function actions(run, constants, reload) {
  const folder = run.path;
  const has = run.outputs;
  const isReady = run.recordings > 0;
  const join = (...names) => [folder, ...names].join(folder.includes('\\') ? '\\' : '/');
  const of = (command, values) => ({ command, values, run });
  const recordings = has.recordings ?? undefined;
  const list = [
    {
      title: t('Review'), text: t('Confirm or reject the listed events. Without a review, their number says little.'),
      link: [t('Open the review'), `runs/${run.id}/review/`], line: `loxo review ${quoted(folder)}`, isFirst: !has.review,
    },
    {
      title: t('Report'), text: t('A page with effort, rates, activity by hour and date, and the number of true events after a review.'),
      link: has.report && [t('Open the report'), `runs/${run.id}/files/report.html`],
      target: '_blank', job: of('report', { runs: [folder] }), before: has.review && of('review', { run: folder, export: true }), again: t('Write the report'), isFirst: has.review && !has.report,
    },
    {
      title: t('Tables'), text: t('Writes the reviewed events as Raven tables and CSV, into the folder “reviewed”.'),
      job: of('review', { run: folder, export: true }), again: t('Export the tables'), needs: has.review || t('Needs a review.'),
      fact: has.reviewed && join('reviewed'),
    },
    {
      title: t('Thresholds from the review'), text: t('Lists the events again as a new survey, with scores and thresholds that fit your decisions.'),
      job: of('decode', { run: folder, out: `${folder}-reviewed`, reviewed: true }), again: t('List the events again'), needs: has.review || t('Needs a review.'),
      link: run.next && [t('Open the new list'), `#/runs/${run.next}`],
    },
    {
      title: t('Calibration'), text: t('Writes a model file whose scores fit your decisions, for further recordings of these sites.'),
      job: of('calibrate', { review: folder, out: join('calibrated.safetensors') }), again: t('Calibrate'), needs: has.review || t('Needs a review.'),
    },
    {
      title: t('Evaluation'), text: t('Compares the listed events with your own tables of all true events.'),
      link: has.evaluation && [t('Open the evaluation'), `runs/${run.id}/files/evaluation.html`],
      target: '_blank', job: of('evaluate', { detections: [folder], recordings, html: join('evaluation.html') }), again: t('Evaluate …'), ask: true,
    },
    {
      title: t('Adaptation'), text: t('Trains the model with your reviewed events, for these sites. Takes minutes to hours and needs the extra “train”.'),
      job: of('adapt', { tables: [join('reviewed')], recordings: recordings && [recordings], out: `${folder}-adapted` }), again: t('Adapt …'), ask: true,
      needs: has.reviewed || t('Needs exported tables.'),
    },
  ];
  if (!isReady) return [];
  const cards = list.map((each) => card(each, run, reload));
  return [element('h2', {}, t('What next')), element('div', { class: 'actions' }, cards.slice(0, 3)),
    element('h2', {}, t('Better thresholds and models')), element('div', { class: 'actions more' }, cards.slice(3))];
}

function card(each, run, reload) {
  const job = each.job && run.jobs.filter((one) => one.command === each.job.command && one.command !== 'decode').at(-1);
  const isBusy = job && ['waiting', 'running'].includes(job.state);
  const isAllowed = (each.needs ?? true) === true;
  const buttons = [];
  if (each.link) buttons.push(element('a', { class: `action${each.isFirst || each.job ? ' main' : ''}`, href: each.link[1], target: each.link[1].startsWith('#') ? null : each.target }, each.link[0]));
  if (each.job) {
    const begin = () => (each.ask ? options(each, reload) : start(each, each.job.values, reload).catch((error) => tell(error.message, true)));
    buttons.push(button(each.again, begin, { disabled: !isAllowed || isBusy, class: each.isFirst && !each.link ? 'main' : null }));
    if (!each.ask) buttons.push(button(t('Options …'), () => options(each, reload), { disabled: !isAllowed || isBusy, class: 'quiet', 'aria-label': `${each.title}: ${t('Options …')}` }));
  }
  const state = job && (isBusy || job.state === 'failed' || job.state === 'interrupted') ? element('p', { class: 'status' }, chip(job.state),
    job.progress.total ? ` ${percent(job.progress.completed / job.progress.total)}` : '', ` ${job.progress.note ?? ''}`) : null;
  const fault = job && ['failed', 'interrupted'].includes(job.state) ? element('p', { class: 'fault' }, lastLine(job.output)) : null;
  const line = each.line ?? job?.line ?? (isAllowed && !each.ask ? async () => (await post('api/line', { command: each.job.command, values: each.job.values })).line : null);
  return element('section', { class: 'card' }, element('h3', {}, each.title), element('p', { class: 'soft' }, each.text),
    isAllowed ? null : element('p', { class: 'note' }, each.needs),
    each.fact ? element('p', {}, element('code', {}, each.fact)) : null, state, fault,
    element('div', { class: 'choices' }, buttons), line ? commandLine(line) : null);
}

// The error that a command has printed, in the language of its start, or else its last line.
function lastLine(output) {
  const lines = output.trim().split('\n');
  const starts = [t('error: {sentence}', { sentence: '' }), 'error: '];
  for (const start of starts) {
    const found = lines.findLast((text) => text.startsWith(start));
    if (found) return found.slice(start.length);
  }
  return lines.at(-1);
}

// `before` is a job that must run before: a report counts what was exported from the review.
async function start({ job, before }, values, reload) {
  if (before) await post('api/start', { command: before.command, values: before.values, run: job.run.id });
  const { run } = await post('api/start', { command: job.command, values, run: job.run.id });
  if (run === job.run.id) await reload();
  else location.hash = `#/runs/${run}`; // the command makes another run
}

async function options(each, reload) {
  const { title, job, again } = each;
  const fault = element('p', { class: 'fault', role: 'alert' });
  const line = element('div');
  const show = async () => {
    try {
      line.replaceChildren(commandLine((await post('api/line', { command: job.command, values: read() })).line));
      fault.textContent = '';
    } catch (error) { fault.textContent = error.message; }
  };
  const [form, read] = await optionForm(job.command, job.values, [], () => { clearTimeout(timer); timer = setTimeout(show, 300); });
  let timer;
  const close = openDialog(title, form, line, fault, element('div', { class: 'choices' }, button(again.replace(' …', ''), async () => {
    try { await start(each, read(), reload); close(); } catch (error) { fault.textContent = error.message; }
  }, { class: 'main' })));
}
