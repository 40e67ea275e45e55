/** Writes a record: fields from the schema of the topic's stream or table, or raw texts with headers. */
import { html, useSignal } from '../vendor/preact.js';
import { may, post } from './api.js';
import { t } from './i18n.js';
import { curl, quoted } from './statements.js';
import { Button, Choice, copy, Failure, roleWhy, toast } from './ui.js';

const NUMBER = /^(INT|INTEGER|BIGINT|DOUBLE|DECIMAL|BOOLEAN)/;

/** A field's text as SQL writes it. */
function literal(column, value) {
  if (value === '' || value === undefined) return 'NULL';
  if (NUMBER.test(column.type) || /^(ARRAY|MAP|STRUCT)/.test(column.type)) return value;
  return `'${value.replaceAll("'", "''")}'`;
}

const statement = (source, values) => {
  const given = source.columns.filter(column => values[column.name] !== undefined && values[column.name] !== '');
  return `INSERT INTO ${quoted(source.name)} (${given.map(column => quoted(column.name)).join(', ')}) VALUES (${given.map(column => literal(column, values[column.name])).join(', ')});`;
};

/** By the schema: one field a column. */
function Typed({ source, onDone }) {
  const values = useSignal({});
  const error = useSignal(null);
  const sql = statement(source, values.value);
  const send = async event => {
    event.preventDefault();
    error.value = null;
    try {
      await post('/ksql', { ksql: sql });
      onDone();
    } catch (failure) {
      error.value = failure;
    }
  };
  return html`<form class="form" onSubmit=${send}>${source.columns.map(column => html`<label class="field" key=${column.name}><span>${column.name} <small class="type">${column.type}${column.key ? ` · ${t('rows.key')}` : ''}</small></span>
      <input class="input" value=${values.value[column.name] ?? ''} onInput=${event => { values.value = { ...values.value, [column.name]: event.target.value }; }} /></label>`)}
    <pre class="code-box sql-line" tabindex="0">${sql}</pre>
    <${Failure} error=${error.value} />
    <div class="row"><${Button} kind="primary" icon="play" type="submit" label=${t('produce.insert')} why=${roleWhy('writer', may('writer'))} onClick=${send} /><${Button} kind="quiet" icon="copy" label=${t('common.copySql')} onClick=${() => copy(sql)} /></div></form>`;
}

const NOTHING = { key: '', value: '', partition: '', tombstone: false, as: 'declared', headers: '' };

/** As bytes go: texts of key and value, headers, a tombstone. `kept` are headers that are no text: they are written as they were. */
export function Raw({ topic, onDone, initial = NOTHING, kept = [] }) {
  const record = useSignal(initial);
  const error = useSignal(null);
  const now = record.value;
  const set = change => { record.value = { ...now, ...change }; };
  const written = now.headers.split('\n').filter(line => line.includes('=')).map(line => ({ key: line.slice(0, line.indexOf('=')).trim(), value: line.slice(line.indexOf('=') + 1).trim() }));
  const headers = [...written, ...kept];
  const path = `/api/v1/topics/${encodeURIComponent(topic)}/records`;
  const body = () => {
    const read = text => {
      if (now.as === 'text' || now.as === 'hex') return text;
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    };
    const one = { key: now.key === '' ? null : read(now.key), value: now.tombstone ? null : read(now.value), as: now.as };
    if (headers.length > 0) one.headers = headers;
    if (now.partition !== '') one.partition = Number(now.partition);
    return { records: [one] };
  };
  const send = async event => {
    event.preventDefault();
    error.value = null;
    try {
      const { offsets } = await post(path, body());
      onDone(offsets?.[0]);
    } catch (failure) {
      error.value = failure;
    }
  };
  return html`<form class="form" onSubmit=${send}>
    <label class="field"><span>${t('records.key')}</span><input class="input mono" value=${now.key} onInput=${event => set({ key: event.target.value })} /></label>
    <label class="field"><span>${t('records.value')}</span><textarea class="input mono" rows="6" disabled=${now.tombstone} value=${now.value} onInput=${event => set({ value: event.target.value })} /></label>
    <label class="check"><input type="checkbox" checked=${now.tombstone} onChange=${event => set({ tombstone: event.target.checked })} />${t('produce.tombstone')}</label>
    <label class="field"><span>${t('records.headers')} <small class="type">${t('produce.headersHint')}</small></span><textarea class="input mono" rows="2" value=${now.headers} onInput=${event => set({ headers: event.target.value })} /></label>
    <div class="row"><label class="field-inline">${t('facts.partition')}<input class="input narrow" type="number" min="0" placeholder=${t('produce.byKey')} value=${now.partition} onInput=${event => set({ partition: event.target.value })} /></label>
      <${Choice} label=${t('records.as')} value=${now.as} onChange=${as => set({ as })} options=${['declared', 'json', 'text', 'hex'].map(name => [name, t(`records.as.${name}`)])} /></div>
    <${Failure} error=${error.value} />
    <div class="row"><${Button} kind="primary" icon="play" type="submit" label=${t('produce.write')} why=${roleWhy('writer', may('writer'))} onClick=${send} /><${Button} kind="quiet" icon="copy" label="curl" onClick=${() => copy(curl(path, body()))} /></div></form>`;
}

/** @param {{ topic: string, sources: any[], onDone: () => void }} props */
export function Produce({ topic, sources, onDone }) {
  const usable = sources.filter(source => source.topic === topic);
  const form = useSignal(usable.length > 0 ? usable[0].name : 'raw');
  const done = at => {
    toast(at ? t('produce.done', { partition: at.partition, offset: at.offset }) : t('produce.inserted'));
    onDone();
  };
  const source = usable.find(one => one.name === form.value);
  return html`<${Choice} label=${t('produce.how')} value=${form.value} onChange=${value => { form.value = value; }} options=${[...usable.map(one => [one.name, one.name]), ['raw', t('produce.raw')]]} />
    ${source ? html`<${Typed} key=${source.name} source=${source} onDone=${() => done()} />` : html`<${Raw} topic=${topic} onDone=${done} />`}`;
}
