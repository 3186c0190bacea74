// Small spectrograms: the strip below the large picture, and the grid for decisions on many events at once.

import { boxes } from './ink.js';
import { plural, t } from './language.js';
import { painted, table } from './paint.js';
import { MARKS } from './view.js';
import { clock, clockDate, clockTime, element, placeOf } from './words.js';

const PAGE = 60; // tiles per page of the grid
const STRIP = 4; // events on either side
const VERDICTS = { y: 'yes', n: 'no', u: 'unsure', o: 'other' };

export class Tiles {
  constructor(store, settings, onFault) { Object.assign(this, { store, settings, onFault }); }

  make(row, onclick) {
    const canvas = element('canvas', { width: 200, height: 90 });
    const tile = element('button', { type: 'button', class: 'tile', 'data-row': row, 'data-selected': t('selected'), onclick }, canvas,
      element('span', { class: 'what' }), element('span', { class: 'where' }));
    this.refresh(tile);
    this.fill(tile, canvas).catch((error) => {
      tile.title = error.message;
      tile.classList.add('failed');
      if (!tile.querySelector('.fault')) tile.append(element('span', { class: 'fault' }, t('No picture: the recording cannot be read')));
    });
    return tile;
  }

  async fill(tile, canvas) {
    const event = await this.store.detail(Number(tile.dataset.row));
    this.refresh(tile);
    const picture = await this.store.thumb(event);
    const { map, low, range } = this.settings;
    painted(picture.levels, picture.rows, picture.columns, table(map, picture.db, low, low + range + 6), canvas);
    const c = canvas.getContext('2d');
    const home = event.detected ?? event;
    const x = (s) => (s - picture.start + picture.hop / 2) / picture.hop;
    c.strokeStyle = boxes(map).open;
    for (const edge of [home.start_s, home.end_s]) {
      c.beginPath();
      c.moveTo(Math.round(x(edge)) + 0.5, canvas.height);
      c.lineTo(Math.round(x(edge)) + 0.5, canvas.height - 6);
      c.stroke();
    }
  }

  refresh(tile) {
    const event = this.store.details.get(Number(tile.dataset.row));
    if (!event) return;
    const letter = event.verdict?.[0];
    for (const known of 'ynuo') tile.classList.toggle(`verdict-${known}`, known === letter);
    const mark = letter ? `${MARKS[VERDICTS[letter]]} ` : '';
    const score = event.score === null ? '' : ` ${event.score.toFixed(2)}`;
    tile.querySelector('.what').textContent = `${mark}${event.other ?? event.label}${score}`;
    const day = clockDate(event.begin, event.start_s).replace(/ \d+$/, ''); // the year has no room
    const time = event.begin ? `${day} ${clockTime(event.begin, event.start_s)}` : t('{time} in {recording}', { time: clock(event.start_s, 1), recording: event.recording });
    tile.querySelector('.where').textContent = [time, placeOf(event)].filter(Boolean).join(' · ');
    tile.title ||= [event.recording, t('{time} in the file', { time: clock(event.start_s, 1) })].join(' · ');
  }
}

export class Strip {
  constructor(box, tiles, open) { Object.assign(this, { box, tiles, open, made: new Map() }); }

  show(row) {
    const { rows, place } = this.tiles.store;
    const at = place.get(row);
    const wanted = at === undefined ? [] : rows.slice(Math.max(at - STRIP, 0), at + STRIP + 1);
    const made = new Map(wanted.map((r) => [r, this.made.get(r) ?? this.tiles.make(r, () => this.open(r))]));
    this.made = made;
    this.box.replaceChildren(...made.values());
    for (const [r, tile] of made) {
      tile.classList.toggle('current', r === row);
      if (r === row) tile.setAttribute('aria-current', 'true');
      else tile.removeAttribute('aria-current');
      this.tiles.refresh(tile);
    }
    const current = made.get(row);
    if (current) this.box.scrollLeft = current.offsetLeft - (this.box.clientWidth - current.offsetWidth) / 2;
  }
}

export class Grid {
  // on: {decide(rows, verdict), open(row), play(row), refuse(sentence)}
  constructor(section, tiles, on) {
    Object.assign(this, { section, tiles, on, page: 0, selected: new Set(), focus: 0 });
    this.box = section.querySelector('#tiles');
    this.text = section.querySelector('#grid-text');
    for (const button of section.querySelectorAll('[data-verdict]')) {
      button.addEventListener('click', () => this.decide(button.dataset.verdict));
    }
    section.querySelector('#grid-all').addEventListener('click', () => this.selectAll());
    section.querySelector('#grid-previous').addEventListener('click', () => this.turn(-1));
    section.querySelector('#grid-next').addEventListener('click', () => this.turn(1));
    section.querySelector('#grid-open').addEventListener('click', () => this.on.open(this.rows[this.focus]));
  }

  get rows() { return this.tiles.store.rows.slice(this.page * PAGE, (this.page + 1) * PAGE); }

  async show(row) {
    const place = this.tiles.store.place.get(row) ?? 0;
    this.page = Math.floor(place / PAGE);
    this.focus = place % PAGE;
    await this.fill();
  }

  async fill() {
    this.selected.clear();
    await this.tiles.store.fetchDetails(this.rows);
    this.box.replaceChildren(...this.rows.map((row, k) => element('div', { class: 'cell' },
      this.tiles.make(row, (e) => this.click(row, e)),
      element('button', { type: 'button', class: 'play', 'aria-label': t('play event {n} of this page', { n: k + 1 }), onclick: () => this.on.play(row) }, '▶'))));
    this.focus = Math.min(this.focus, Math.max(this.rows.length - 1, 0));
    this.mark();
    this.tile(this.focus)?.focus();
  }

  tile(place) { return this.box.children[place]?.firstElementChild; }

  // The row that is playing, or null.
  playing(row) {
    this.rows.forEach((r, k) => { this.box.children[k]?.querySelector('.play').replaceChildren(r === row ? '■' : '▶'); });
  }

  click(row, e) {
    const at = this.rows.indexOf(row);
    if (e.shiftKey) {
      for (let k = Math.min(at, this.focus); k <= Math.max(at, this.focus); k++) this.selected.add(this.rows[k]);
    } else this.toggle(row);
    this.focus = at;
    this.mark();
  }

  toggle(row) { if (!this.selected.delete(row)) this.selected.add(row); }

  mark() {
    const { store } = this.tiles;
    for (const tile of this.box.querySelectorAll('.tile')) {
      tile.setAttribute('aria-pressed', this.selected.has(Number(tile.dataset.row)));
      this.tiles.refresh(tile);
    }
    const pages = Math.max(Math.ceil(store.rows.length / PAGE), 1);
    this.text.textContent = `${plural(this.selected.size, '{n} event selected', '{n} events selected')} · ${t('page {n} of {all}', { n: this.page + 1, all: pages })}`;
  }

  selectAll() {
    const all = this.rows.every((row) => this.selected.has(row));
    this.selected = new Set(all ? [] : this.rows);
    this.mark();
  }

  turn(pages) {
    const last = Math.ceil(this.tiles.store.rows.length / PAGE) - 1;
    const page = Math.min(Math.max(this.page + pages, 0), Math.max(last, 0));
    if (page === this.page) return;
    this.page = page;
    this.focus = 0;
    this.fill().catch(this.tiles.onFault);
  }

  async decide(verdict) {
    if (!this.selected.size) { this.on.refuse(t('No event is selected. Select events with X, a click or a tap.')); return; }
    if (this.box.querySelector('.tile.failed[aria-pressed="true"]')) {
      this.on.refuse(t('The recording of a selected event cannot be read. Decide only on events that you can see: open one of them to read the reason.'));
      return;
    }
    await this.on.decide([...this.selected], verdict);
    this.selected.clear();
    this.mark();
  }

  // Returns whether the key was for the grid.
  key(e) {
    const columns = getComputedStyle(this.box).gridTemplateColumns.split(' ').length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (key in steps) {
      this.focus = Math.min(Math.max(this.focus + steps[key], 0), this.rows.length - 1);
      this.tile(this.focus)?.focus();
    } else if (key === 'x' || key === ' ') {
      this.toggle(this.rows[this.focus]);
      this.mark();
    } else if (key === 'a') this.selectAll();
    else if (key === 'PageDown') this.turn(1);
    else if (key === 'PageUp') this.turn(-1);
    else if (key === 'p') this.on.play(this.rows[this.focus]);
    else if (key === 'Enter') this.on.open(this.rows[this.focus]);
    else if (key in VERDICTS && key !== 'o') this.decide(VERDICTS[key]);
    else return false;
    return true;
  }
}
