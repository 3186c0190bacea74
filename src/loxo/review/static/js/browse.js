// Any stretch of any recording: opened from the list of recordings, or chosen at random to measure the recall.

import { getJson } from './api.js';
import { plural, t } from './language.js';
import { element } from './words.js';

const MARGIN_S = 4; // shown before and after a random stretch
const MAX_SEARCHED_S = 300; // a longer picture is too coarse to see every call
const ALL = '*'; // all labels

const $ = (id) => document.getElementById(id);

export class Browse {
  // page: run, settings, view, keep(), tell(text, fault), fail(error), goTo(place, range), act(changes), refresh(), leave()
  constructor(page) {
    Object.assign(this, { page, place: null, target: null });
    const labels = [...page.run.labels, ...(page.run.labels.length > 1 ? [ALL] : [])];
    $('stretch-label').append(...labels.map((label) => element('option', { value: label }, label === ALL ? t('all labels') : label)));
    if (labels.includes(page.settings.searching)) $('stretch-label').value = page.settings.searching;
    $('stretch-label').addEventListener('change', () => {
      page.settings.searching = $('stretch-label').value;
      page.keep();
      $('stretch-label').blur();
      if (this.place) this.describe();
    });
  }

  get labels() {
    const chosen = $('stretch-label').value;
    return chosen === ALL ? this.page.run.labels : [chosen];
  }

  // recording: one of GET /api/recordings.
  open(recording, range = [0, this.page.settings.context]) {
    this.target = null;
    return this.show(recording, range);
  }

  async show(recording, range) {
    const channel = this.page.run.channels ? 1 : null;
    this.place = { channel, ...recording };
    await this.page.goTo(this.place, range);
    this.describe();
  }

  async random() {
    const after = this.target?.number ?? -1;
    const query = new URLSearchParams({ labels: this.labels.join(), after });
    const next = await getJson(`api/random?${query}`);
    if (!next) {
      this.page.tell(after < 0 ? t('Every random stretch was searched.') : t('This is the last random stretch that was not searched.'));
      return;
    }
    const recordings = await (this.recordings ??= getJson('api/recordings'));
    this.target = next;
    await this.show(recordings[next.source], [next.start_s - MARGIN_S, next.end_s + MARGIN_S]);
  }

  // Stores that every call of the labels in the stretch has a box.
  async searched() {
    const { page, target, place } = this;
    if (!place) { page.tell(t('Open a recording first (W), or a random stretch (C).')); return; }
    const [from, to] = page.view.range;
    if (!target && to - from > MAX_SEARCHED_S) {
      page.tell(t('Zoom in to 5 minutes or less. In a longer picture single calls cannot be seen.'), true);
      return;
    }
    if (page.view.failure || page.view.picture?.clips) { page.tell(t('The recording cannot be shown, so it cannot be searched.'), true); return; }
    const [start, end] = target ? [target.start_s, target.end_s] : [Number(from.toFixed(3)), Number(Math.min(to, place.duration).toFixed(3))];
    const changes = this.labels.map((label) => ({ searched: place.source, label, start_s: start, end_s: end, ...(target ? { random: target.number } : {}) }));
    if (!await page.act(changes)) return;
    await page.refresh();
    const open = page.view.others.filter((e) => this.labels.includes(e.label) && !e.verdict && e.start_s < end && e.end_s > start).length;
    page.tell(open ? plural(open, 'Stored. {n} listed event in this stretch is not decided: select with J, then decide.', 'Stored. {n} listed events in this stretch are not decided: select with J, then decide.')
      : t('Stored: every call in this stretch has a box.'));
    if (target && !open) await this.random();
  }

  close() {
    this.place = this.target = null;
    $('stretch-bar').hidden = true;
  }

  describe() {
    $('stretch-bar').hidden = false;
    $('stretch-text').textContent = this.target
      ? t('Random stretch ({n} searched so far). Between the green lines: decide on the listed events, and draw every {label} that has no box.', { n: this.target.searched, label: this.labels.join(` ${t('and')} `) })
      : t('Draw calls that have no box. A part without missed calls can be stored as searched.');
  }
}
