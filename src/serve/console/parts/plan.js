/** A plan as a graph: the same picture for a statement that is explained and for a query that runs. */
import { html } from '../vendor/preact.js';
import { bytes, count, percent } from './format.js';
import { t } from './i18n.js';
import { Dag } from './dag.js';
import { Button, Empty, Failure, Loading } from './ui.js';

const KIND = { scan: 'topic', sink: 'topic', source: 'topic' };

/** Nodes of a plan with the numbers of a running query's stages. */
export function planNodes(plan, stages = []) {
  const numbers = new Map(stages.map(stage => [String(stage.id), stage]));
  return plan.nodes.map(node => {
    const stage = numbers.get(String(node.id));
    const lines = [];
    if (node.label && node.label !== node.op) lines.push({ text: cut(node.label) });
    if (node.hop) lines.push({ text: t(`plan.hop.${node.hop}`), kind: node.hop === 'topic' ? 'warn' : '' });
    if (node.state === 'bounded' || node.state === 'unbounded') lines.push({ text: t(`plan.state.${node.state}`), kind: node.state === 'unbounded' ? 'warn' : '' });
    if (stage) {
      lines.push({ text: t('plan.rows', { in: count(stage.rowsIn), out: count(stage.rowsOut) }), kind: 'live' });
      if (stage.stateKeys) lines.push({ text: t('plan.kept', { keys: count(stage.stateKeys), bytes: bytes(stage.stateBytes) }), kind: 'live' });
      if (stage.busyShare !== null && stage.busyShare !== undefined) lines.push({ text: t('plan.busy', { share: percent(stage.busyShare) }), kind: stage.busyShare > 0.8 ? 'warn' : 'live' });
      if (stage.late) lines.push({ text: t('plan.late', { n: count(stage.late) }), kind: 'warn' });
    }
    if (node.warning) lines.push({ text: cut(node.warning), kind: 'warn' });
    return { id: String(node.id), kind: KIND[String(node.op).toLowerCase()] ?? 'operator', title: node.op, lines, span: node.span, title2: [node.label, node.warning].filter(Boolean).join('\n') };
  });
}

const cut = text => (text.length > 42 ? `${text.slice(0, 41)}…` : text);
export const planEdges = plan => plan.edges.map(edge => ({ from: String(edge.from), to: String(edge.to) }));

/** @param {{ plan: { loading?: boolean, error?: Error, data?: any } | null, onExplain: () => void }} props */
export function PlanView({ plan, onExplain, onReveal }) {
  if (!plan) return html`<${Empty} icon="graph" title=${t('plan.empty')}><${Button} label=${t('sql.explain')} onClick=${onExplain} /></${Empty}>`;
  if (plan.loading) return html`<${Loading} />`;
  if (plan.error) return html`<${Failure} error=${plan.error} onRetry=${onExplain} />`;
  return html`<${Dag} nodes=${planNodes(plan.data)} edges=${planEdges(plan.data)} direction="auto" label=${t('tab.plan')} onOpen=${onReveal && (node => node.span && onReveal(node.span))} />`;
}
