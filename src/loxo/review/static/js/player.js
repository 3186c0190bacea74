// Plays an excerpt of a recording, faster or pitch-shifted, and reports the current time.

import { getBytes } from './api.js';

export class Player {
  constructor(onStop) {
    this.onStop = onStop;
    this.source = null;
    this.last = { key: null, buffer: null };
  }

  // mode: '1', '4', '8', '16' or 'pitched'. Plays [from, to] of the excerpt [start, end], all in recording seconds.
  async play(row, mode, start, end, from, to) {
    this.stop();
    this.context ??= new AudioContext();
    const turn = (this.turn = Symbol('turn'));
    await this.context.resume();
    const buffer = await this.load(row, mode, start, end);
    if (turn !== this.turn) return; // another sound was requested in the meantime
    this.factor = mode === 'pitched' ? 1 : Number(mode);
    this.offset = Math.max(from, start) - Math.max(start, 0);
    this.begin = Math.max(start, 0) + this.offset;
    this.to = to;
    this.source = this.context.createBufferSource();
    this.source.buffer = buffer;
    this.source.connect(this.context.destination);
    this.source.onended = () => this.stop();
    this.startedAt = this.context.currentTime;
    this.source.start(0, this.offset / this.factor, (to - this.begin) / this.factor);
  }

  async load(row, mode, start, end) {
    const query = new URLSearchParams({ start, end, ...(mode === 'pitched' ? { pitched: true } : { speed: mode }) });
    const key = `${row}?${query}`;
    if (this.last.key !== key) {
      const bytes = await getBytes(`/api/sound/${key}`);
      this.last = { key, buffer: await this.context.decodeAudioData(bytes) };
    }
    return this.last.buffer;
  }

  get playing() { return this.source !== null; }

  // The current time in recording seconds, or null.
  get position() {
    if (!this.source) return null;
    return Math.min(this.begin + (this.context.currentTime - this.startedAt) * this.factor, this.to);
  }

  stop() {
    this.turn = null;
    if (!this.source) return;
    this.source.onended = null;
    this.source.stop();
    this.source = null;
    this.onStop();
  }
}
