// Levels to colours. A level is a byte; a table contains its colour at the chosen contrast.

import { MAPS } from './maps.js';

const tables = new Map();

// 256 colours as 32-bit pixels for levels from `low` to `high` dB; the bytes of the picture cover the range `db`.
export function table(name, db = [0, 1], low = 0, high = 1) {
  const key = [name, ...db, low, high].join();
  if (!tables.has(key)) {
    if (tables.size > 50) tables.clear();
    const pixels = new Uint32Array(256);
    for (let k = 0; k < 256; k++) {
      const level = db[0] + (k / 255) * (db[1] - db[0]);
      pixels[k] = colour(name, Math.min(Math.max((level - low) / (high - low), 0), 1));
    }
    tables.set(key, pixels);
  }
  return tables.get(key);
}

function colour(name, share) {
  const hex = MAPS[name];
  const place = share * (hex.length / 6 - 1);
  const first = Math.min(Math.floor(place), hex.length / 6 - 2);
  const part = (k, c) => parseInt(hex.substr(6 * k + 2 * c, 2), 16);
  const mix = (c) => Math.round(part(first, c) + (place - first) * (part(first + 1, c) - part(first, c)));
  return (255 << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0);
}

// A canvas of `rows` x `columns` pixels; the first row of `bytes` is the lowest one.
export function painted(bytes, rows, columns, pixels, canvas = document.createElement('canvas'), flipped = true) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const target = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row++) {
    const from = row * columns, to = (flipped ? rows - 1 - row : row) * columns;
    for (let k = 0; k < columns; k++) target[to + k] = pixels[bytes[from + k]];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
