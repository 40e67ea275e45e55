/** What statements without rows answer: lists as tables, descriptions as facts, the rest as it is. */
import { html } from '../vendor/preact.js';
import { t } from './i18n.js';
import { stringify, text } from './json.js';
import { DataTable } from './table.js';
import { Sql } from './ui.js';

const HIDDEN = new Set(['@type', 'statementText', 'warnings', 'commandSequenceNumber']);

/** The list within an entity, if that is what it holds. */
const listOf = entity => Object.entries(entity).find(([name, value]) => !HIDDEN.has(name) && Array.isArray(value) && value.length > 0 && typeof value[0] === 'object');
const plain = value => (value !== null && typeof value === 'object' ? stringify(value) : text(value));

function Entity({ entity }) {
  if (entity.commandStatus) return html`<p class="answer-line"><span class="ok" aria-hidden="true">✓</span> ${entity.commandStatus.message}</p>`;
  const plan = entity.queryDescription?.executionPlan;
  if (plan) return html`<${Sql} text=${plan} />`;
  const described = entity.sourceDescription;
  const [, rows] = (described ? ['fields', described.fields] : listOf(entity)) ?? [];
  if (rows) {
    const names = [...new Set(rows.flatMap(row => Object.keys(row)))].filter(name => !HIDDEN.has(name));
    const columns = names.map(name => ({ id: name, title: name, value: row => (row[name] !== null && typeof row[name] === 'object' ? stringify(row[name]) : row[name]), cell: row => plain(name === 'schema' ? row.schema.type : row[name] ?? null), wide: name === 'queryString' }));
    return html`${described && html`<p class="answer-line"><b>${described.name}</b> <span class="note">${described.type} · ${described.topic} · ${described.keyFormat} / ${described.valueFormat}</span></p>`}
      <${DataTable} dense columns=${columns} rows=${rows.map((row, at) => ({ ...row, at }))} id=${row => row.at} label=${t('tab.rows')} />`;
  }
  const rest = Object.fromEntries(Object.entries(entity).filter(([name]) => !HIDDEN.has(name)));
  const empty = Object.values(rest).every(value => Array.isArray(value) && value.length === 0);
  return empty ? html`<p class="note pad">${t('sql.emptyList')}</p>` : html`<${Sql} text=${stringify(rest, 2)} />`;
}

export const Session = ({ answers }) => html`<div class="answers" tabindex="0" role="region" aria-label=${t('tab.rows')}>${answers.map(({ sql, entities }, at) => html`<section key=${at} class="answer"><code class="answer-sql">${sql}</code>
  ${entities.length === 0 && html`<p class="answer-line"><span class="ok" aria-hidden="true">✓</span> ${t('sql.done')}</p>`}
  ${entities.map((entity, index) => html`<${Entity} key=${index} entity=${entity} />`)}</section>`)}</div>`;
