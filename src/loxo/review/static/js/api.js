// Requests to the server. A refusal becomes an Error with its sentence. An unreachable server fires "offline-server".

import { language, t } from './language.js';

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, 'Accept-Language': language } });
  } catch (error) {
    if (error.name !== 'AbortError') window.dispatchEvent(new Event('offline-server'));
    throw new Error(t('The server does not answer.'), { cause: error });
  }
  window.dispatchEvent(new Event('online-server'));
  if (answer.ok) return answer;
  let content = { error: t('The server answers with status {status}.', { status: answer.status }) };
  try {
    const text = await answer.text();
    content = text.startsWith('{') ? JSON.parse(text) : { error: text || content.error };
  } catch { /* keep the sentence above */ }
  const { error, ...details } = content;
  throw Object.assign(new Error(error), details);
}

export const getJson = async (path) => (await ask(path)).json();
export const getBytes = async (path) => (await ask(path)).arrayBuffer();
export const post = async (path, content = {}) =>
  (await ask(path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(content),
  })).json();

// The message of a picture: header, levels (rows x columns, lowest frequency first), frame scores (classes x steps).
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const [rows, columns] = header.shape;
  const levels = new Uint8Array(buffer, 4 + length, rows * columns);
  const [classes, steps] = header.score_shape;
  const scores = new Uint8Array(buffer, 4 + length + rows * columns, classes * steps);
  return { ...header, rows, columns, levels, classes, steps, heat: scores };
}
