/** PAUSE, RESUME and TERMINATE: as buttons, with what follows from them said before. */
import { html } from '../vendor/preact.js';
import { may, post } from './api.js';
import { t } from './i18n.js';
import { Button, confirm, roleWhy, toast } from './ui.js';

/** Is there more to say than the state itself? */
export const needsReason = query => ['WAITING', 'ERROR'].includes(query.state) && Boolean(query.sentence);

/** Runs the statement for each query; says how it went. */
async function each(word, queries, reload) {
  for (const { id } of queries) {
    try {
      await post('/ksql', { ksql: `${word} ${id};` });
      toast(t(`query.did.${word}`, { id }));
    } catch (error) {
      toast(`${id}: ${error.message}`, 'bad');
    }
  }
  reload?.();
}

const consequences = queries => html`<p>${t('query.terminateBody')}</p><ul>${queries.map(query => html`<li key=${query.id}><code>${query.id}</code>${query.sink ? ` → ${query.sink}` : ''}</li>`)}</ul><p class="note">${t('query.terminateUndo')}</p>`;

export const terminate = (queries, reload) => confirm({
  title: t('query.terminateTitle', { n: queries.length }), body: consequences(queries), action: t('query.terminate'), run: () => each('TERMINATE', queries, reload),
});

/** @param {{ queries: any[], reload: () => void }} props The queries that are meant. */
export function Actions({ queries, reload }) {
  const persistent = queries.filter(query => query.persistent !== false);
  const none = queries.length === 0 ? t('query.selectFirst') : roleWhy('writer', may('writer'));
  const pausable = persistent.filter(query => query.state !== 'PAUSED' && query.state !== 'ERROR');
  const paused = persistent.filter(query => query.state === 'PAUSED');
  return html`<${Button} icon="pause" label=${t('query.pause')} why=${none ?? (pausable.length === 0 ? t('query.nonePausable') : undefined)} onClick=${() => each('PAUSE', pausable, reload)} />
    <${Button} icon="play" label=${t('query.resume')} why=${none ?? (paused.length === 0 ? t('query.nonePaused') : undefined)} onClick=${() => each('RESUME', paused, reload)} />
    <${Button} kind="danger" icon="stop" label=${`${t('query.terminate')}…`} why=${none} onClick=${() => terminate(queries, reload)} />`;
}
