/** One stream or table: columns, who reads and writes it, its statement, and a box that looks keys up. */
import { html, useSignal } from '../vendor/preact.js';
import { may, open, usePoll } from '../parts/api.js';
import { bench } from '../parts/bench.js';
import { timestamp } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { parse, text } from '../parts/json.js';
import { Names, Query, target, Topic } from '../parts/links.js';
import { go } from '../parts/router.js';
import { Columns } from '../parts/schema.js';
import { quoted } from '../parts/statements.js';
import { Button, confirm, Facts, Failure, Loading, PageHead, roleWhy, Sql, toast } from '../parts/ui.js';
import { post } from '../parts/api.js';

const SHOWN_MAX = 50;
const TEXT = /^(VARCHAR|STRING)/;

/** The lookup of these keys. */
function lookup(source, values) {
  const keys = source.columns.filter(column => column.key && values[column.name] !== undefined && values[column.name] !== '');
  const conditions = keys.map(column => `${quoted(column.name)} = ${TEXT.test(column.type) ? `'${values[column.name].replaceAll("'", "''")}'` : values[column.name]}`);
  return `SELECT * FROM ${quoted(source.name)}${conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : ''} LIMIT ${SHOWN_MAX};`;
}

/** Rows of a result that ends, all at once. */
async function rows(sql) {
  const response = await open('/query-stream', { method: 'POST', body: { sql, properties: { 'auto.offset.reset': 'earliest' } }, headers: { accept: 'application/vnd.ksqlapi.delimited.v1' } });
  const [head, ...lines] = (await response.text()).split('\n').filter(Boolean).map(parse);
  return { head, rows: lines.filter(Array.isArray) };
}

function Lookup({ source }) {
  const values = useSignal({});
  const found = useSignal(null);
  const sql = lookup(source, values.value);
  const look = async event => {
    event.preventDefault();
    const start = performance.now();
    try {
      found.value = { ...(await rows(sql)), millis: performance.now() - start };
    } catch (error) {
      found.value = { error };
    }
  };
  const keys = source.columns.filter(column => column.key && !/^WINDOW(START|END)$/.test(column.name));
  const isTime = name => /^WINDOW(START|END)$/.test(name);
  return html`<section aria-labelledby="lookup"><h2 id="lookup">${t('source.lookup')}</h2><form class="row wrap" onSubmit=${look}>
      ${keys.map(column => html`<label class="field-inline" key=${column.name}>${column.name}<input class="input mono" placeholder=${column.type} value=${values.value[column.name] ?? ''} onInput=${event => { values.value = { ...values.value, [column.name]: event.target.value }; }} /></label>`)}
      <${Button} kind="primary" icon="search" type="submit" label=${t('source.look')} onClick=${look} />${found.value?.millis !== undefined && html`<span class="note">${t('source.found', { n: found.value.rows.length, millis: found.value.millis.toFixed(1) })}</span>`}</form>
    <pre class="code-box sql-line" tabindex="0">${sql}</pre>
    ${found.value?.error && html`<${Failure} error=${found.value.error} />`}
    ${found.value?.rows?.length > 0 && html`<div class="table-box" tabindex="0" role="region" aria-label=${t('source.lookup')}><table class="data dense"><thead><tr>${found.value.head.columnNames.map(name => html`<th key=${name}>${name}</th>`)}</tr></thead>
      <tbody>${found.value.rows.map((row, at) => html`<tr key=${at}>${row.map((value, index) => html`<td key=${index} class=${typeof value === 'number' ? 'number mono' : 'mono'}>${isTime(found.value.head.columnNames[index]) ? timestamp(value) : text(value)}</td>`)}</tr>`)}</tbody></table></div>`}</section>`;
}

export default function SourcePage({ path: [name] }) {
  const poll = usePoll('/api/v1/sources', 4000);
  if (!poll.data) return html`<${PageHead} title=${name} />${poll.error ? html`<${Failure} error=${poll.error} onRetry=${poll.reload} />` : html`<${Loading} rows=${8} />`}`;
  const source = poll.data.sources.find(one => one.name === name);
  if (!source) return html`<${PageHead} title=${name} /><${Failure} error=${new Error(t('source.unknown', { name }))}><a href="#/sources">${t('nav.sources')}</a></${Failure}>`;
  const watch = () => {
    const sql = `SELECT * FROM ${quoted(name)} EMIT CHANGES;`;
    bench.open(sql);
    go(['sql']);
    bench.runText(sql);
  };
  const drop = () => confirm({
    title: t('source.dropTitle', { name }), body: html`<p>${t('source.dropBody')}</p>`, action: t('source.drop'),
    run: async () => {
      try {
        await post('/ksql', { ksql: `DROP ${source.type} ${quoted(name)};` });
        toast(t('source.dropped', { name }));
        go(['sources']);
      } catch (error) {
        toast([error.message, error.hint].filter(Boolean).join(' · '), 'bad');
      }
    },
  });
  return html`<${PageHead} title=${name} note=${`${t(`kind.${source.type.toLowerCase()}`)}${source.windowed ? ` · ${t('catalog.windowed')}` : ''}`}>
      <${Button} kind="primary" icon="play" label=${t('source.watch')} onClick=${watch} /><a class="button" href=${target.graph(name)}>${t('nav.graph')}</a>
      <${Button} kind="danger" icon="trash" label=${`${t('source.drop')}…`} why=${roleWhy('writer', may('writer'))} onClick=${drop} /></${PageHead}>
    <${Facts} facts=${[[t('kind.topic'), html`<${Topic} name=${source.topic} />`], [t('facts.formats'), `${source.keyFormat} / ${source.valueFormat}`], [t('facts.writtenBy'), html`<${Names} names=${source.writers} link=${Query} prop="id" />`], [t('facts.readBy'), html`<${Names} names=${source.readers} link=${Query} prop="id" />`]]} />
    <section><h2>${t('source.columns')}</h2><${Columns} columns=${source.columns} /></section>
    ${source.type === 'TABLE' && html`<${Lookup} source=${source} />`}
    ${source.statement && html`<section><h2>${t('tab.statement')}</h2><${Sql} text=${source.statement} /></section>`}`;
}
