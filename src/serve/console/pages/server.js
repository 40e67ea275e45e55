/** The server: settings with their origin, the statements that made it what it is, limits. */
import { html } from '../vendor/preact.js';
import { session, usePoll } from '../parts/api.js';
import { bench } from '../parts/bench.js';
import { timestamp } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { text } from '../parts/json.js';
import { go, setParams } from '../parts/router.js';
import { DataTable, Filter } from '../parts/table.js';
import { Empty, Loaded, PageHead, Tabs } from '../parts/ui.js';

const settingColumns = () => [
  { id: 'name', title: t('facts.name'), cell: row => html`<code>${row.name}</code>` },
  { id: 'value', title: t('facts.value'), cell: row => html`<code>${row.value === null || row.value === '' ? '–' : text(row.value)}</code>` },
  { id: 'origin', title: t('server.origin'), cell: row => html`<span class=${`tag ${String(row.origin).toLowerCase() === 'default' ? '' : 'warn'}`}>${row.origin}</span>` },
  { id: 'effect', title: t('server.effect'), wide: true, cell: row => html`<span class="wrap-text note">${row.effect ?? '–'}</span>` },
];

const statementColumns = () => [
  { id: 'sequence', title: '#', number: true },
  { id: 'time', title: t('facts.time'), cell: row => timestamp(row.time, false) },
  { id: 'sql', title: t('tab.statement'), wide: true, cell: row => html`<button type="button" class="link code" title=${t('overview.openStatement')} onClick=${() => { bench.open(row.sql); go(['sql']); }}>${row.sql}</button>` },
  { id: 'status', title: t('facts.status'), cell: row => row.status ?? '–' },
];

function Settings({ filter }) {
  const poll = usePoll('/api/v1/settings', 0);
  return html`<${Loaded} poll=${poll} rows=${8}>${data => html`<${DataTable} dense label=${t('tab.settings')} columns=${settingColumns()} sort="name" id=${row => row.name} rows=${data.settings.filter(row => row.name.toLowerCase().includes(filter.toLowerCase()))} />`}</${Loaded}>`;
}

function Statements({ filter }) {
  const poll = usePoll('/api/v1/statements', 4000);
  return html`<${Loaded} poll=${poll} rows=${8} empty=${{ when: data => data.statements.length === 0, view: html`<${Empty} icon="history" title=${t('server.noStatements')} />` }}>${data => html`<${DataTable} dense label=${t('server.statements')} columns=${statementColumns()} sort="sequence" down id=${row => row.sequence} rows=${data.statements.filter(row => row.sql.toLowerCase().includes(filter.toLowerCase()))} />`}</${Loaded}>`;
}

function Limits() {
  const poll = usePoll('/api/v1/overview', 0);
  return html`<${Loaded} poll=${poll}>${data => html`<${DataTable} dense label=${t('server.limits')} columns=${settingColumns().slice(0, 2)} sort="name" id=${row => row.name} rows=${Object.entries(data.limits ?? {}).map(([name, value]) => ({ name, value }))} />`}</${Loaded}>`;
}

const VIEWS = { settings: Settings, statements: Statements, limits: Limits };

export default function Server({ params }) {
  const tab = VIEWS[params.get('tab')] ? params.get('tab') : 'settings';
  const View = VIEWS[tab];
  const filter = params.get('filter') ?? '';
  const who = session.value;
  return html`<${PageHead} title=${t('nav.server')} note=${t('server.note', { user: who?.user ?? '–', role: who?.role ? t(`role.${who.role}`) : '–' })}>
      <${Filter} value=${filter} label=${t('server.filter')} onInput=${value => setParams({ filter: value })} /><a class="button" href="/metrics" target="_blank" rel="noopener">${t('server.metrics')}</a></${PageHead}>
    <${Tabs} label=${t('tab.title')} value=${tab} onChange=${value => setParams({ tab: value })} tabs=${[['settings', t('tab.settings')], ['statements', t('server.statements')], ['limits', t('server.limits')]]} />
    <div class="tab-body"><${View} filter=${filter} /></div>`;
}
