/** What could not be used: bad records, late rows, queries that ended. */
import { html } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { count } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { ProblemGroups } from '../parts/problems.js';
import { setParams } from '../parts/router.js';
import { Loaded, PageHead, Tabs } from '../parts/ui.js';

const KINDS = ['all', 'bad', 'late', 'ended'];

export default function Problems({ params }) {
  const poll = usePoll('/api/v1/problems');
  const kind = KINDS.includes(params.get('kind')) ? params.get('kind') : 'all';
  const groups = poll.data?.groups ?? [];
  const sum = one => groups.filter(group => one === 'all' || group.kind === one).reduce((total, group) => total + (group.count ?? 0), 0);
  return html`<${PageHead} title=${t('nav.problems')} note=${t('problems.note')} api="/api/v1/problems" />
    <${Tabs} label=${t('nav.problems')} value=${kind} onChange=${value => setParams({ kind: value })} tabs=${KINDS.map(one => [one, t(`problems.${one}`), sum(one) > 0 ? count(sum(one)) : undefined])} />
    <div class="tab-body"><${Loaded} poll=${poll}>${data => html`<${ProblemGroups} groups=${data.groups.filter(group => kind === 'all' || group.kind === kind)} />`}</${Loaded}></div>`;
}
