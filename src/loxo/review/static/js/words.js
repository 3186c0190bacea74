// Numbers and times as text; creation of elements.

export const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name.startsWith('aria-') || value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

// Seconds of a recording: 75.3 -> 1:15, 4000 -> 1:06:40.
export function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const h = Math.floor(rounded / 3600), m = Math.floor((rounded % 3600) / 60);
  const s = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
  return h ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// 2018-01-26T03:04:05 -> 26 Jan 2018, 03:04:05: the recorder's clock, independent of the browser's time zone.
export function wallClock(iso) {
  if (!iso) return '';
  const [date, time] = iso.split('T');
  const [year, month, day] = date.split('-').map(Number);
  return `${day} ${MONTHS[month - 1]} ${year}, ${time}`;
}

export const count = (number, word) => `${number.toLocaleString('en')} ${word}${number === 1 ? '' : 's'}`;
