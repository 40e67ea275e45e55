/** Writes a record once more, changed: how a record that could not be used is mended. The record itself stays where it is. */
import { html } from '../vendor/preact.js';
import { open } from './api.js';
import { count } from './format.js';
import { t } from './i18n.js';
import { parse } from './json.js';
import { Raw } from './produce.js';
import { decode } from './records.js';
import { closeDialog, openDialog, toast } from './ui.js';

/** Bytes as text, or `null` if they are none. */
function textOf(bytes) {
  try {
    return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

const hexOf = bytes => [...(bytes ?? [])].map(byte => byte.toString(16).padStart(2, '0')).join('');

/** What the form begins with: texts if key and value are texts, else hexadecimal digits. */
function asForm({ partition, keyRaw, valueRaw, tombstone, headers }) {
  const [key, value] = [decode(keyRaw), decode(valueRaw)];
  const isText = [key, value].every(bytes => bytes === null || textOf(bytes) !== null);
  const shown = isText ? bytes => textOf(bytes) ?? '' : hexOf;
  const lines = headers.filter(header => header.value !== null && !header.value.includes('\n')).map(header => `${header.key}=${header.value}`);
  return { key: shown(key), value: shown(value), partition: String(partition), tombstone, as: isText ? 'text' : 'hex', headers: lines.join('\n') };
}

/** Opens the form with a record of a topic. */
export function writeAgain(topic, record) {
  const kept = record.headers.filter(header => header.value === null || header.value.includes('\n')).map(({ key, valueRaw }) => ({ key, valueRaw }));
  const done = at => {
    closeDialog();
    toast(t('produce.done', { partition: at?.partition ?? '–', offset: at?.offset ?? '–' }));
  };
  closeDialog();
  // The dialog that is open closes first: the next one is another element.
  setTimeout(() => openDialog({
    title: t('produce.againTitle', { partition: record.partition, offset: count(record.offset) }), wide: true,
    body: () => html`<p class="note">${t('produce.againNote', { topic })}</p>
      ${record.bad && html`<p class="failure-title warn-text"><span aria-hidden="true">✕</span> ${record.bad.reason}</p>`}
      <${Raw} topic=${topic} initial=${asForm(record)} kept=${kept} onDone=${done} />`,
  }));
}

/** The same with the record at a place, which is read first. */
export async function writeAgainAt(topic, { partition, offset }) {
  try {
    const response = await open(`/api/v1/topics/${encodeURIComponent(topic)}/records?${new URLSearchParams({ partition, offset, limit: 1 })}`);
    const record = parse((await response.text()).split('\n')[0] || 'null');
    if (record?.offset === offset) writeAgain(topic, record);
    else toast(t('produce.againGone'), 'bad');
  } catch (error) {
    toast(error.message, 'bad');
  }
}
