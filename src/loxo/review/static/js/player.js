// Plays an excerpt of a recording, faster or pitch-shifted, and reports the current time.

import { getBytes } from './api.js';

export class Player {
  constructor(settings, onStop) {
    Object.assign(this, { settings, onStop, source: null, last: { key: null, buffer: null } });
  }

  // mode: '1', '4', '8', '16' or 'pitched'. Plays [from, to] of the excerpt [start, end] of a recording, all in recording
  // seconds; again and again if `settings.loop`.
  async play(place, mode, [start, end], [from, to]) {
    this.stop();
    this.context ??= new AudioContext();
    if (!this.gain) {
      this.gain = this.context.createGain();
      this.gain.connect(this.context.destination);
    }
    this.setVolume();
    const turn = (this.turn = Symbol('turn'));
    await this.context.resume();
    const buffer = await this.load(place, mode, start, end);
    if (turn !== this.turn) return; // another sound was requested in the meantime
    this.factor = mode === 'pitched' ? 1 : Number(mode);
    this.begin = Math.max(from, start);
    this.to = to;
    this.start(buffer, this.begin - start);
  }

  start(buffer, offset) {
    this.source = this.context.createBufferSource();
    this.source.buffer = buffer;
    this.source.connect(this.gain);
    this.source.onended = () => { if (this.settings.loop) this.start(buffer, offset); else this.stop(); };
    this.startedAt = this.context.currentTime;
    this.source.start(0, offset / this.factor, (this.to - this.begin) / this.factor);
  }

  async load(place, mode, start, end) {
    const query = new URLSearchParams({ start, end, ...(mode === 'pitched' ? { pitched: true } : { speed: mode }) });
    if (place.channel) query.set('channel', place.channel);
    const key = `${place.source}?${query}`;
    if (this.last.key !== key) {
      const bytes = await getBytes(`api/sound/${key}`);
      this.last = { key, buffer: await this.context.decodeAudioData(bytes) };
    }
    return this.last.buffer;
  }

  setVolume() { if (this.gain) this.gain.gain.value = this.settings.volume / 100; }

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
