// The list under review, the details of its events, and decisions that are being written.

import { getBytes, getJson, post, unpack } from './api.js';

const PAGE = 100; // number of details per request
const AHEAD = [1, 2, 3, -1]; // pictures loaded ahead, relative to the event shown

export const bandOf = (event) => (event.high_hz !== null && event.high_hz > 250 ? '2000' : '250');

class Kept { // the last `size` promises; a failed one is removed
  constructor(size) { this.size = size; this.map = new Map(); }
  get(key, make) {
    if (this.map.has(key)) {
      const value = this.map.get(key);
      this.map.delete(key);
      this.map.set(key, value);
      return value;
    }
    const value = make();
    this.map.set(key, value);
    value.catch(() => this.map.delete(key));
    if (this.map.size > this.size) this.map.delete(this.map.keys().next().value);
    return value;
  }
}

class Places { // index of each row in the list; an array, because filling a map of a hundred thousand takes long
  constructor(rows) {
    this.at = new Int32Array(rows.reduce((most, row) => Math.max(most, row + 1), 0)).fill(-1);
    for (let k = 0; k < rows.length; k++) this.at[rows[k]] = k;
  }
  get(row) { const place = this.at[row]; return place >= 0 ? place : undefined; }
  has(row) { return this.get(row) !== undefined; }
}

export class Store {
  constructor() {
    this.rows = [];
    this.place = new Places([]);
    this.verdicts = new Map(); // of the rows in the list
    this.details = new Map();
    this.pictures = new Kept(16);
    this.thumbs = new Kept(400);
  }

  // Loads the list that passes a filter. Resolves to the first row to show (of the event `at`, or the first of the list),
  // to null if the list is empty, and to undefined if another list was requested in the meantime.
  async open(filter, at = '') {
    const turn = (this.turn = Symbol('turn'));
    const query = new URLSearchParams(Object.entries({ ...filter, at }).filter(([, value]) => value !== '' && value !== null));
    const { rows, verdicts, row, events } = await getJson(`/api/queue?${query}`);
    if (turn !== this.turn) return undefined;
    this.rows = rows;
    this.place = new Places(rows);
    for (const event of events) if (!this.details.has(event.row)) this.details.set(event.row, event);
    this.verdicts = new Map();
    for (let k = 0; k < rows.length; k++) if (verdicts[k] !== '-') this.verdicts.set(rows[k], verdicts[k]);
    return row;
  }

  get decided() { return this.verdicts.size; }

  async detail(row) {
    if (!this.details.has(row)) {
      const from = Math.max((this.place.get(row) ?? 0) - 10, 0);
      const wanted = this.place.has(row) ? this.rows.slice(from, from + PAGE) : [row];
      await this.fetchDetails(wanted);
    }
    return this.details.get(row);
  }

  async fetchDetails(rows) {
    const missing = rows.filter((row) => !this.details.has(row));
    if (!missing.length) return;
    for (const event of await getJson(`/api/events?rows=${missing.join()}`)) this.details.set(event.row, event);
  }

  picture(row, band) {
    return this.pictures.get(`${row} ${band}`, async () => unpack(await getBytes(`/api/picture/${row}?band=${band}`)));
  }

  thumb(event) {
    const band = bandOf(event.detected ?? event);
    return this.thumbs.get(`${event.row} ${band}`, async () =>
      unpack(await getBytes(`/api/thumb/${event.row}?band=${band}`)));
  }

  around(row) { return getJson(`/api/around/${row}`); }

  // `ready` receives each next picture, which is painted before it is shown.
  async prefetch(row, bandFor, ready) {
    const place = this.place.get(row);
    if (place === undefined) return;
    for (const step of AHEAD) {
      const next = this.rows[place + step];
      if (next === undefined) continue;
      const event = await this.detail(next);
      await this.picture(next, bandFor(event)).then(ready, () => {}); // a failure is reported when the event is shown
    }
  }

  async act(changes) { return this.take(await post('/api/act', { changes })); }
  async undo() { return this.take(await post('/api/undo')); }
  async redo() { return this.take(await post('/api/redo')); }

  take(events) {
    for (const event of events) {
      if (event.gone) this.details.delete(event.row);
      else this.details.set(event.row, event);
      if (!this.place.has(event.row)) continue;
      if (event.verdict) this.verdicts.set(event.row, event.verdict[0]);
      else this.verdicts.delete(event.row);
    }
    return events;
  }
}
