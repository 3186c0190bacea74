// What is played: an event, all that is shown, or an event of the grid.

import { t } from './language.js';
import { fail } from './messages.js';
import { pressed } from './tools.js';

const MARGIN_S = 1; // played before and after an event
const MAX_EXCERPT_S = 120; // of sound that is loaded as a whole
const MAX_PLAYED_S = 300;

const $ = (id) => document.getElementById(id);

// page: settings, keep(), store, view, player, grid, current()
export function sounds({ settings, keep, store, view, player, grid, current }) {
  async function play(mode, from, to) {
    const { place, range } = view;
    if (!place) return;
    settings.mode = mode;
    keep();
    pressed($('modes'), 'mode', mode);
    const part = [Math.max(from, 0), Math.min(to, from + MAX_PLAYED_S, place.duration)];
    const whole = range[1] - range[0] <= MAX_EXCERPT_S && part[0] < range[1] && part[1] > range[0];
    const excerpt = whole ? range : part; // a short picture is loaded as a whole, for the next play
    try {
      await player.play(place, mode, excerpt, [Math.max(part[0], excerpt[0]), Math.min(part[1], excerpt[1])]);
      started(mode);
      const frame = () => {
        if (!player.playing) return;
        view.cursor = player.position;
        view.draw();
        requestAnimationFrame(frame);
      };
      frame();
    } catch (error) { fail(error); }
  }

  function started(mode) {
    if (!player.playing) return;
    document.body.dataset.playing = mode;
    $('play-button').textContent = t('■ Stop');
  }

  // Plays the event, or without one all that is shown.
  function playEvent(mode = settings.mode) {
    const event = current();
    return event ? play(mode, event.start_s - MARGIN_S, event.end_s + MARGIN_S) : play(mode, ...view.range);
  }

  // Plays an event of the grid, or stops it.
  async function playRow(row) {
    const stops = player.playing && playRow.row === row;
    player.stop();
    if (stops) return;
    playRow.row = row;
    const event = await store.detail(row);
    const part = [Math.max(event.start_s - MARGIN_S, 0), Math.min(event.end_s + MARGIN_S, event.duration)];
    await player.play(event, settings.mode, part, part);
    started(settings.mode);
    grid.playing(row);
  }

  return { play, playEvent, playRow };
}
