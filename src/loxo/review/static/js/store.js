// The list under review, the details of its events, and decisions that are being written.

import { getBytes, getJson, post, unpack } from './api.js';

const PAGE = 100; // number of details per request
const MIN_FRAME_S = 15, MIN_RANGE_S = 2;
const AHEAD = [1, 2, 3, -1]; // pictures loaded ahead, relative to the event shown

export const bandOf = (event) => (event.high_hz !== null && event.high_hz > 250 ? '2000' : '250');

// The part of a recording of which a picture is requested to show a range of it: on a grid, so that pictures are found
// again when the reviewer goes back, and so long that small movements need no other picture.
export function frameOf([from, to], duration) {
  let length = MIN_FRAME_S;
  while (length < 1.999 * (to - from)) length *= 2;
  if (length >= duration) return [0, duration];
  const step = length / 4;
  const start = Math.max(Math.round(((from + to - length) / 2) / step) * step, 0);
  return [start, Math.min(start + length, duration)];
}

// The range moved and stretched so that it lies within a recording.
export function limitedRange(from, to, duration) {
  const length = Math.min(Math.max(to - from, MIN_RANGE_S), duration);
  const start = Math.min(Math.max((from + to - length) / 2, 0), duration - length);
  return [start, start + length];
}

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
    this.decidedInRun = 0; // detected events with a decision of this reviewer, in the list or not
  }

  // Loads the list that passes a filter. Resolves to the first row to show (of the event `at`, or the first of the list),
  // to null if the list is empty, and to undefined if another list was requested in the meantime.
  async open(filter, at = '') {
    const turn = (this.turn = Symbol('turn'));
    const query = new URLSearchParams(Object.entries({ ...filter, at }).filter(([, value]) => value !== '' && value !== null));
    const { rows, verdicts, row, events, decided } = await getJson(`api/queue?${query}`);
    if (turn !== this.turn) return undefined;
    this.decidedInRun = decided;
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
    for (const event of await getJson(`api/events?rows=${missing.join()}`)) this.details.set(event.row, event);
  }

  // The picture of a frame (see frameOf) of a recording; place: {source, channel}.
  picture({ source, channel }, [start, end], band) {
    const query = new URLSearchParams({ start, end, band });
    if (channel) query.set('channel', channel);
    const path = `api/picture/${source}?${query}`;
    return this.pictures.get(path, async () => unpack(await getBytes(path)));
  }

  thumb(event) {
    const band = bandOf(event.detected ?? event);
    return this.thumbs.get(`${event.row} ${band}`, async () =>
      unpack(await getBytes(`api/thumb/${event.row}?band=${band}`)));
  }

  around(source, [start, end]) { return getJson(`api/around/${source}?start=${start}&end=${end}`); }

  overview({ source, channel }) { return getJson(`api/overview/${source}${channel ? `?channel=${channel}` : ''}`); }

  // Requests the pictures of the next events. `pictureOf` gives that of an event; `ready` receives each of them.
  async prefetch(row, pictureOf, ready) {
    const place = this.place.get(row);
    if (place === undefined) return;
    for (const step of AHEAD) {
      const next = this.rows[place + step];
      if (next === undefined) continue;
      const event = await this.detail(next);
      await pictureOf(event).then(ready, () => {}); // a failure is reported when the event is shown
    }
  }

  async act(changes) { return this.take(await post('api/act', { changes })); }

  // 'undo' or 'redo'. Resolves to the events and to the words for the changes; none: there was nothing to do.
  async back(which) {
    const answer = await post(`api/${which}`);
    return { events: this.take(answer), said: answer.said };
  }

  take({ events, decided }) {
    this.decidedInRun = decided;
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
