// Colours of the canvases: those of the page's theme, and boxes that are visible on the chosen colour map.

const LIGHT_MAPS = ['paper'];
const BOXES = {
  dark: { yes: '#3ddc97', no: '#ff8a5c', unsure: '#ffe066', other: '#e39bd0', open: '#ffffff', cursor: '#ffffff', halo: 'rgba(0, 0, 0, 0.65)', tag: 'rgba(10, 15, 18, 0.8)' },
  light: { yes: '#00693e', no: '#a83200', unsure: '#6b5000', other: '#8a1f6e', open: '#10181d', cursor: '#0b3bd6', halo: 'rgba(255, 255, 255, 0.8)', tag: 'rgba(255, 255, 255, 0.86)' },
};
const scheme = matchMedia('(prefers-color-scheme: light)');

export const isLight = () => scheme.matches;
export const onTheme = (act) => scheme.addEventListener('change', act);
export const boxes = (map) => BOXES[LIGHT_MAPS.includes(map) ? 'light' : 'dark'];

// The value of a colour of colours.css.
export const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
