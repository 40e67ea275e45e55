/** The record browser: from where, how decoded, which ones; a record opens whole. */
import { html, useEffect, useSignal } from '../vendor/preact.js';
import { writeAgain } from './again.js';
import { may } from './api.js';
import { bytes, clock, count, timestamp } from './format.js';
import { t } from './i18n.js';
import { stringify, text } from './json.js';
import { decode, hex, Records } from './records.js';
import { setParams } from './router.js';
import { curl } from './statements.js';
import { Button, Choice, copy, Empty, Facts, Failure, openDialog, roleWhy, Sql, Tabs } from './ui.js';
import { Space, useWindow } from './windowed.js';

const FROM = ['last', 'offset', 'time', 'live'];
const AS = ['declared', 'json', 'kafka', 'text', 'hex'];
/** Height of a row, as app.css has it. */
const HEIGHT = 30;
const LIMITS = [50, 100, 500, 1000];

/** One record in all its forms. */
function Whole({ record }) {
  const tab = useSignal('value');
  const whole = value => (value === null ? 'NULL' : typeof value === 'string' ? value : stringify(value, 2));
  return html`<${Facts} facts=${[[t('facts.partition'), record.partition], [t('facts.offset'), count(record.offset)], [t('facts.time'), `${timestamp(record.time)}${record.timeKind ? ` · ${record.timeKind}` : ''}`], [t('facts.size'), bytes(record.size)]]} />
    ${record.bad && html`<div class="failure" role="alert"><p class="failure-title"><span aria-hidden="true">✕</span> ${record.bad.reason}</p>${record.bad.path && html`<p class="failure-detail">${record.bad.path}</p>`}</div>`}
    <${Tabs} label=${t('records.parts')} value=${tab.value} onChange=${name => { tab.value = name; }} tabs=${[['value', t('records.value')], ['key', t('records.key')], ['hex', t('records.hex')], ['headers', t('records.headers'), record.headers?.length || undefined]]} />
    <div class="tab-body">${tab.value === 'value' ? html`<${Sql} text=${whole(record.value)} />`
    : tab.value === 'key' ? html`<${Sql} text=${whole(record.key)} />`
      : tab.value === 'hex' ? html`<h3>${t('records.key')}</h3><${Sql} text=${hex(decode(record.keyRaw))} /><h3>${t('records.value')}</h3><${Sql} text=${hex(decode(record.valueRaw))} />`
        : record.headers?.length > 0 ? html`<dl class="headers">${record.headers.map((header, at) => html`<div key=${at}><dt>${header.key}</dt><dd><code>${text(header.value)}</code></dd></div>`)}</dl>` : html`<p class="note pad">${t('records.noHeaders')}</p>`}</div>`;
}

const show = (topic, record) => openDialog({ title: t('records.one', { partition: record.partition, offset: count(record.offset) }), wide: true, body: () => html`<${Whole} record=${record} />`, actions: [[t('produce.again'), '', () => writeAgain(topic, record), roleWhy('writer', may('writer'))], [t('common.copy'), 'primary', () => copy(stringify(record, 2))]] });

/** What the browser is asked for, from the page's address. */
function options(params) {
  const from = FROM.includes(params.get('from')) ? params.get('from') : 'last';
  return { from, at: params.get('at') ?? '', partition: params.get('partition') ?? '', as: AS.includes(params.get('as')) ? params.get('as') : 'declared', where: params.get('where') ?? '', limit: Number(params.get('limit')) || 100 };
}

const asked = ({ from, at, partition, as, where, limit }) => ({
  partition, as, where, limit: from === 'live' ? undefined : limit, last: from === 'last' ? limit : undefined, live: from === 'live' || undefined,
  offset: from === 'offset' ? at || 0 : undefined, time: from === 'time' ? new Date(at).getTime() || 0 : undefined,
});

function Row({ topic, record }) {
  return html`<tr class=${record.bad ? 'bad opens' : record.tombstone ? 'gone opens' : 'opens'} onClick=${() => !String(getSelection()) && show(topic, record)}>
    <td class="number">${record.partition}</td><td class="number"><button type="button" class="link" onClick=${event => { event.stopPropagation(); show(topic, record); }}>${count(record.offset)}</button></td><td title=${timestamp(record.time)}>${clock(record.time)}</td>
    <td class="mono cut">${text(record.key)}</td><td class="mono cut value">${record.tombstone ? html`<span class="tag">${t('records.tombstone')}</span>` : text(record.value)}</td>
    <td>${record.bad ? html`<span class="warn-text">✕ ${record.bad.reason}${record.bad.path ? ` (${record.bad.path})` : ''}</span>` : ''}</td></tr>`;
}

/** Records as a table: only those in sight are in the page. */
function List({ topic, rows }) {
  const { box, from, to } = useWindow(rows.length, HEIGHT);
  return html`<div class="table-box long" ref=${box} tabindex="0" role="region" aria-label=${t('topic.records')}><table class="data dense records" aria-rowcount=${rows.length + 1}>
    <thead><tr><th class="number">P</th><th class="number">${t('facts.offset')}</th><th>${t('facts.time')}</th><th>${t('records.key')}</th><th>${t('records.value')}</th><th><span class="sr">${t('facts.problem')}</span></th></tr></thead>
    <tbody><${Space} rows=${from} height=${HEIGHT} columns=${6} />${rows.slice(from, to).map(record => html`<${Row} key=${`${record.partition}/${record.offset}`} topic=${topic} record=${record} />`)}<${Space} rows=${rows.length - to} height=${HEIGHT} columns=${6} /></tbody></table></div>`;
}

/** @param {{ topic: string, partitions: number, params: URLSearchParams }} props */
export function Browser({ topic, partitions, params }) {
  const wanted = options(params);
  const reading = useSignal(null);
  const draft = useSignal({ where: wanted.where, at: wanted.at });
  const key = JSON.stringify(wanted);
  const read = () => {
    reading.value?.stop();
    reading.value = new Records(topic, asked(wanted));
  };
  useEffect(() => {
    read();
    return () => reading.value?.stop();
  }, [topic, key]);
  const apply = event => {
    event?.preventDefault();
    if (draft.value.where === wanted.where && draft.value.at === wanted.at) read();
    else setParams({ where: draft.value.where, at: draft.value.at });
  };
  const field = (name, label, list, value, onChange) => html`<label class="field-inline">${label}<select class="input" name=${name} onChange=${event => onChange(event.target.value)}>${list.map(([one, shown]) => html`<option key=${one} value=${one} selected=${String(one) === String(value)}>${shown}</option>`)}</select></label>`;
  const records = reading.value;
  const list = records?.list.value ?? [];
  const rows = wanted.from === 'live' || wanted.from === 'last' ? [...list].reverse() : list;
  return html`<form class="row wrap toolbar" onSubmit=${apply}>
      <${Choice} label=${t('records.from')} value=${wanted.from} onChange=${from => setParams({ from, at: from === 'time' && !draft.value.at ? new Date(Date.now() - 600_000 - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 23) : draft.value.at })} options=${FROM.map(name => [name, t(`records.from.${name}`)])} />
      ${wanted.from === 'offset' && html`<input class="input narrow" type="number" min="0" aria-label=${t('facts.offset')} placeholder="0" value=${draft.value.at} onInput=${event => { draft.value = { ...draft.value, at: event.target.value }; }} onChange=${apply} />`}
      ${wanted.from === 'time' && html`<input class="input" type="datetime-local" step="0.001" aria-label=${t('facts.time')} value=${draft.value.at} onInput=${event => { draft.value = { ...draft.value, at: event.target.value }; }} onChange=${apply} />`}
      ${wanted.from !== 'live' && field('limit', t('records.limit'), LIMITS.map(one => [one, count(one)]), wanted.limit, limit => setParams({ limit }))}
      ${field('partition', t('facts.partition'), [['', t('records.all')], ...Array.from({ length: partitions }, (_, at) => [at, at])], wanted.partition, partition => setParams({ partition }))}
      ${field('as', t('records.as'), AS.map(name => [name, t(`records.as.${name}`)]), wanted.as, as => setParams({ as }))}
      <input class="input grow" data-filter type="search" placeholder=${t('records.where')} aria-label=${t('records.whereLabel')} value=${draft.value.where} onInput=${event => { draft.value = { ...draft.value, where: event.target.value }; }} onChange=${apply} />
      <${Button} kind="primary" icon="play" label=${t('records.read')} type="submit" onClick=${apply} />
      <${Button} kind="quiet" icon="copy" label="curl" onClick=${() => records && copy(curl(records.path))} />
    </form>
    ${records?.error.value && html`<${Failure} error=${records.error.value} onRetry=${read} />`}
    <p class="note live-line"><span class=${`live-state ${records?.state.value === 'reading' ? 'live' : 'done'}`}><span class="dot" aria-hidden="true" /></span>${records?.state.value === 'reading' ? (wanted.from === 'live' ? t('records.following', { n: records.total }) : t('records.reading')) : t('records.count', { n: list.length })}
      ${records?.state.value === 'reading' && html` <button type="button" class="link" onClick=${() => records.stop()}>${t('live.stop')}</button>`}</p>
    ${rows.length === 0 && records && records.state.value !== 'failed' ? html`<${Empty} icon="topics" title=${records.state.value === 'reading' ? t('records.waiting') : t('records.none')} />` : rows.length > 0 && html`<${List} topic=${topic} rows=${rows} />`}`;
}
