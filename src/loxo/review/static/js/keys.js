// The keys. Each key has the function of a button; dialogs.js lists them for the user.

import { MAPS } from './maps.js';
import { modesOf } from './tools.js';

const EDGE_S = 0.1; // a key press moves an edge by this much
const VERDICTS = { y: 'yes', n: 'no', u: 'unsure' };
const EDGES = { a: ['start_s', -1], s: ['start_s', 1], k: ['end_s', -1], l: ['end_s', 1] };

const $ = (id) => document.getElementById(id);
const nextOf = (list, value, step = 1) => list[(list.indexOf(value) + step + list.length) % list.length];

// `page` contains the functions of the page; see main.js.
export function listen(page) {
  const single = ofPicture(page);
  const always = {
    g: () => page.toggleGrid(), r: page.openResults, e: page.openExport, w: page.openRecordings, c: page.random,
    '?': page.help, f: () => page.toggleFilters(true),
  };
  document.addEventListener('keydown', (e) => {
    if (e.altKey || document.querySelector('dialog[open]')) return;
    const typing = e.target.matches?.('input:not([type="range"]):not([type="checkbox"]), select, textarea');
    if (e.key === 'Escape' && page.closeFilters()) { e.preventDefault(); return; }
    if (typing) { if (e.key === 'Escape') e.target.blur(); return; }
    const tile = e.target.closest?.('#tiles');
    if (!tile && e.target.matches?.('button, summary, input') && (e.key === ' ' || e.key === 'Enter')) return; // its own key
    if (e.target.matches?.('input[type="range"]') && e.key.startsWith('Arrow')) return;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if ((e.ctrlKey || e.metaKey) && key !== 'z') return;
    let taken = true;
    if (key === 'z') page.back(e.shiftKey ? 'redo' : 'undo');
    else if (key in always) always[key]();
    else if (!$('grid').hidden) {
      if (key === 'Escape') page.toggleGrid(false);
      else if (e.target.matches?.('.play') && (key === ' ' || key === 'Enter')) return;
      else taken = page.grid.key(e);
    } else taken = single(e, key);
    if (taken) e.preventDefault();
  });
}

// Returns whether the key was for the picture.
function ofPicture(page) {
  const { settings, run, view, player } = page;
  const modes = modesOf(run);
  const acts = {
    o: page.decideOther, d: () => page.setDrawing(!view.drawing), j: page.select, v: page.searched,
    b: () => page.setBand(nextOf(Object.keys(run.bands), page.band())),
    m: () => page.setMap(nextOf(Object.keys(MAPS), settings.map)),
    ArrowLeft: () => page.go(-1), ArrowRight: () => page.go(1), Backspace: () => page.decide(null),
    PageUp: () => page.turn(-1), PageDown: () => page.turn(1), Home: () => page.turn(-Infinity), End: () => page.turn(Infinity),
    '+': () => view.zoom(0.5), '-': () => view.zoom(2),
    ',': () => { $('low').stepDown(); page.setLevels(); }, '.': () => { $('low').stepUp(); page.setLevels(); },
    Enter: () => view.drawing && page.drawnByKey(),
    Escape: () => {
      if (view.drawing) page.setDrawing(false);
      else if (player.playing) player.stop();
      else if (page.browsing()) page.leave();
    },
  };
  acts['='] = acts['+'];
  return (e, key) => {
    if (!view.place) return false;
    if (key === 't') { if (page.current()) $('note').focus(); }
    else if (key in VERDICTS) page.decide(VERDICTS[key]);
    else if (key in EDGES) page.moveEdge(EDGES[key][0], EDGES[key][1] * (e.shiftKey ? EDGE_S / 10 : EDGE_S));
    else if (key === ' ') {
      if (player.playing) player.stop();
      else if (e.shiftKey) page.play(settings.mode, ...view.range);
      else page.playEvent();
    } else if (key >= '1' && key <= String(modes.length)) page.playEvent(modes[key - 1]);
    else if (key in acts) acts[key]();
    else return false;
    return true;
  };
}
