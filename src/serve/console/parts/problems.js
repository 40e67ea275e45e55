/** Problems by query and reason: how many, the last one, and the record itself. */
import { html } from '../vendor/preact.js';
import { writeAgainAt } from './again.js';
import { may } from './api.js';
import { ago, count } from './format.js';
import { t } from './i18n.js';
import { Query, target, Topic } from './links.js';
import { DataTable } from './table.js';
import { Button, Empty, roleWhy } from './ui.js';

const columns = () => [
  { id: 'kind', title: t('facts.kind'), cell: row => html`<span class=${`tag ${row.kind === 'ended' ? 'bad' : 'warn'}`}>${t(`problems.${row.kind}`)}</span>` },
  { id: 'query', title: t('facts.query'), cell: row => (row.query ? html`<${Query} id=${row.query} />` : '–') },
  { id: 'reason', title: t('facts.reason'), wide: true, cell: row => html`<span class="wrap-text">${row.reason ?? '–'}</span>` },
  { id: 'topic', title: t('kind.topic'), cell: row => (row.topic ? html`<${Topic} name=${row.topic} />` : '–') },
  { id: 'count', title: t('facts.count'), number: true, cell: row => count(row.count) },
  { id: 'last', title: t('facts.last'), number: true, cell: row => (row.last ? ago(row.last) : '–') },
  { id: 'sample', title: '', cell: row => (row.sample && row.topic ? html`<a class="button small" href=${target.topic(row.topic, { partition: row.sample.partition, from: 'offset', at: row.sample.offset, limit: 1 })}>${t('problems.record')}</a> <${Button} small label=${t('produce.again')} why=${roleWhy('writer', may('writer'))} onClick=${() => writeAgainAt(row.topic, row.sample)} />` : '') },
];

/** @param {{ groups: any[] }} props */
export function ProblemGroups({ groups }) {
  if (groups.length === 0) return html`<${Empty} icon="check" title=${t('problems.empty')}><p class="note">${t('problems.emptyHint')}</p></${Empty}>`;
  const rows = groups.map((group, at) => ({ ...group, at }));
  return html`<${DataTable} label=${t('nav.problems')} sort="last" down columns=${columns()} rows=${rows} id=${row => row.at} />`;
}
