/** Lineage: what reads and writes what, on the whole server or around one name; and the same as a table. */
import { html } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { Dag } from '../parts/dag.js';
import { rate, short } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { target } from '../parts/links.js';
import { setParams } from '../parts/router.js';
import { DataTable } from '../parts/table.js';
import { Button, Choice, Empty, Loaded, PageHead, State } from '../parts/ui.js';

const open = { topic: target.topic, stream: target.source, table: target.source, query: target.query };

/** Wider lines for more records: their logarithm. */
const weight = edge => (edge.rate > 0 ? Math.min(4, Math.log10(1 + edge.rate)) : 0);

function nodes(graph, at) {
  return graph.nodes.map(node => {
    const lines = [];
    if (node.kind === 'query') lines.push({ text: [t(`state.${node.state ?? 'RUNNING'}`), node.lag > 0 ? t('graph.lag', { value: short(node.lag) }) : null].filter(Boolean).join(' · '), kind: node.state === 'ERROR' ? 'bad' : node.state === 'RUNNING' ? 'live' : 'warn' });
    else lines.push({ text: t(`kind.${node.kind}`) });
    return { id: node.id, kind: node.kind, name: node.name, state: node.state, title: node.name, lines, marked: node.name === at };
  });
}

const columns = () => [
  { id: 'kind', title: t('facts.kind'), cell: row => t(`kind.${row.kind}`) },
  { id: 'name', title: t('facts.name'), cell: row => html`<a href=${open[row.kind]?.(row.name)}>${row.name}</a>` },
  { id: 'state', title: t('facts.status'), cell: row => (row.state ? html`<${State} state=${row.state} />` : '–') },
  { id: 'from', title: t('graph.from'), cell: row => row.from.join(', ') || '–' },
  { id: 'to', title: t('graph.to'), cell: row => row.to.join(', ') || '–' },
  { id: 'rate', title: t('facts.in'), number: true, value: row => row.rates?.in, cell: row => rate(row.rates?.in) },
  { id: 'lag', title: t('facts.lag'), number: true, cell: row => short(row.lag) },
];

function Table({ graph }) {
  const names = new Map(graph.nodes.map(node => [node.id, node.name]));
  const rows = graph.nodes.map(node => ({ ...node, from: graph.edges.filter(edge => edge.to === node.id).map(edge => names.get(edge.from)), to: graph.edges.filter(edge => edge.from === node.id).map(edge => names.get(edge.to)) }));
  return html`<${DataTable} label=${t('nav.graph')} columns=${columns()} rows=${rows} id=${row => row.id} sort="kind" />`;
}

export default function Graph({ params }) {
  const at = params.get('at') ?? '';
  const depth = params.get('depth') ?? '2';
  const view = params.get('view') === 'table' ? 'table' : 'picture';
  const poll = usePoll(`/api/v1/graph${at ? `?at=${encodeURIComponent(at)}&depth=${encodeURIComponent(depth)}` : ''}`);
  return html`<${PageHead} title=${t('nav.graph')} note=${at ? t('graph.around', { name: at }) : t('graph.note')} api="/api/v1/graph">
      ${at && html`<${Choice} label=${t('graph.depth')} value=${depth} onChange=${value => setParams({ depth: value })} options=${[['1', '1'], ['2', '2'], ['4', '4']]} /><${Button} label=${t('graph.whole')} onClick=${() => setParams({ at: '', depth: '' })} />`}
      <${Choice} label=${t('graph.view')} value=${view} onChange=${value => setParams({ view: value })} options=${[['picture', t('graph.picture')], ['table', t('graph.table')]]} /></${PageHead}>
    <${Loaded} poll=${poll} empty=${{ when: data => data.nodes.length === 0, view: html`<${Empty} icon="graph" title=${t('graph.empty')}><p><a class="button primary" href="#/">${t('samples.title')}</a></p></${Empty}>` }}>${graph => (view === 'table' ? html`<${Table} graph=${graph} />`
    : html`<div class="lineage"><${Dag} direction="auto" label=${t('nav.graph')} nodes=${nodes(graph, at)} edges=${graph.edges.map(edge => ({ ...edge, weight: weight(edge), label: edge.rate > 0 ? rate(edge.rate) : '' }))} onOpen=${node => { location.hash = open[node.kind]?.(node.name) ?? '#/graph'; }} /></div>
      <p class="legend"><span class="key-topic">${t('kind.topic')}</span><span class="key-stream">${t('kind.stream')}</span><span class="key-table">${t('kind.table')}</span><span class="key-query">${t('kind.query')}</span><span class="note">${t('graph.help')}</span></p>`)}</${Loaded}>`;
}
