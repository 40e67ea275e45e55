/** The columns of a stream or table. */
import { html } from '../vendor/preact.js';
import { t } from './i18n.js';
import { DataTable } from './table.js';

export const Columns = ({ columns }) => html`<${DataTable} dense label=${t('source.columns')} columns=${[
  { id: 'name', title: t('facts.name'), cell: row => html`<code>${row.name}</code>` },
  { id: 'type', title: t('facts.type'), cell: row => html`<code class="type">${row.type}</code>` },
  { id: 'key', title: t('rows.key'), value: row => (row.key ? 0 : 1), cell: row => (row.key ? html`<span class="tag">${t('rows.key')}</span>` : '') },
]} rows=${columns} id=${row => row.name} />`;
