/** The overview: what the server is, how much goes through it, and what needs attention. */
import { html, signal, useEffect } from '../vendor/preact.js';
import { may, usePoll } from '../parts/api.js';
import { bench } from '../parts/bench.js';
import { feed, setUp } from '../parts/feed.js';
import { ago, bytes, count, duration, rate, short } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { Icon } from '../parts/icons.js';
import { go } from '../parts/router.js';
import { SAMPLES } from '../parts/samples.js';
import { problemCount } from '../parts/shell.js';
import { Spark } from '../parts/spark.js';
import { Button, Failure, Loading, PageHead, State, roleWhy, toast } from '../parts/ui.js';
import { target } from '../parts/links.js';

const HISTORY = '/api/v1/history?query=*&series=in,out,lag,late,bad';
const SHOWN_POINTS = 120;

/** A number of the server, with how it went. */
function Figure({ label, value, values, kind = '', href, note }) {
  const inner = html`<span class="figure-label">${label}</span><span class="figure-value">${value}</span>${values ? html`<${Spark} values=${values.slice(-SHOWN_POINTS)} label=${t('overview.trend', { name: label })} width=${110} />` : html`<span class="figure-note">${note}</span>`}`;
  return href ? html`<a class=${`figure ${kind}`} href=${href}>${inner}</a>` : html`<div class=${`figure ${kind}`}>${inner}</div>`;
}

const busy = signal(null);

async function start(sample) {
  busy.value = sample.name;
  try {
    await setUp(sample);
    feed(sample.name);
    bench.open(sample.look);
    bench.tab.value = sample.view.tab;
    bench.view.value = sample.view.view;
    go(['sql']);
    await bench.runText(sample.look);
    bench.tab.value = sample.view.tab;
  } catch (error) {
    toast(error.message, 'bad');
  }
  busy.value = null;
}

/** What to begin with. */
const Cards = () => html`<section aria-labelledby="begin"><h2 id="begin">${t('samples.title')}</h2><p class="note">${t('samples.note')}</p>
  <div class="cards">${SAMPLES.map(sample => html`<article class="card" key=${sample.name}><h3>${t(`samples.${sample.name}`)}</h3><p>${t(`samples.${sample.name}.text`)}</p><pre class="card-sql" tabindex="0">${sample.setup.at(-1)}</pre>
    <${Button} kind="primary" icon="play" label=${busy.value === sample.name ? t('samples.starting') : t('samples.run')} why=${busy.value ? t('samples.starting') : roleWhy('writer', may('writer'))} onClick=${() => start(sample)} /></article>`)}</div></section>`;

function Attention({ list }) {
  if (list.length === 0) return html`<p class="calm"><span class="ok" aria-hidden="true">✓</span> ${t('overview.calm')}</p>`;
  return html`<ul class="attention">${list.map((one, at) => html`<li key=${at} class=${one.severity}><span class="mark" aria-hidden="true">${one.severity === 'error' ? '✕' : '!'}</span>
    <div><p>${one.query ? html`<a href=${target.query(one.query)}>${one.query}</a> ` : one.topic ? html`<a href=${target.topic(one.topic)}>${one.topic}</a> ` : null}${one.text}${one.since ? html` <span class="note">${ago(one.since)}</span>` : null}</p>
    ${one.statements?.length > 0 && html`<p class="row wrap">${one.statements.map(sql => html`<button key=${sql} type="button" class="chip" title=${t('overview.openStatement')} onClick=${() => { bench.open(sql); go(['sql']); }}><code>${sql}</code></button>`)}</p>`}</div></li>`)}</ul>`;
}

export default function Overview() {
  const { data, error, reload } = usePoll('/api/v1/overview');
  const { data: history } = usePoll(HISTORY);
  useEffect(() => { problemCount.value = data?.attention?.length ?? 0; }, [data]);
  const series = history?.series ?? {};
  if (!data) return html`<${PageHead} title=${t('nav.overview')} />${error ? html`<${Failure} error=${error} onRetry=${reload} />${error.status === 404 && html`<${Cards} />`}` : html`<${Loading} rows=${6} />`}`;
  const { queries, rates, sources } = data;
  const total = queries.running + queries.paused + queries.waiting + queries.error;
  const empty = total === 0 && sources.streams + sources.tables === 0;
  const states = [['RUNNING', queries.running], ['PAUSED', queries.paused], ['WAITING', queries.waiting], ['ERROR', queries.error]].filter(([state, n]) => n > 0 || state === 'RUNNING');
  return html`<${PageHead} title=${t('nav.overview')} note=${html`Tidegate ${data.version}${data.commit ? html` <code>${String(data.commit).slice(0, 9)}</code>` : ''} · ${t(`log.${data.log.kind}`)}${data.log.place ? html` <code>${data.log.place}</code>` : ''} · ${t('overview.up', { value: duration(data.now - data.startedAt) })}`} api="/api/v1/overview">
      ${data.readOnly && html`<span class="tag">${t('overview.readOnly')}</span>`}
    </${PageHead}>
    ${empty ? html`<${Cards} />` : null}
    <section class="figures" aria-label=${t('overview.figures')}>
      <${Figure} label=${t('facts.in')} value=${rate(rates.in)} values=${series.in} />
      <${Figure} label=${t('facts.out')} value=${rate(rates.out)} values=${series.out} />
      <${Figure} label=${t('facts.lag')} value=${short(data.lag)} values=${series.lag} />
      <${Figure} label=${t('facts.bad')} value=${count(data.bad)} values=${series.bad} kind=${data.bad > 0 ? 'warn' : ''} href="#/problems" />
      <${Figure} label=${t('facts.late')} value=${count(data.late)} values=${series.late} kind=${data.late > 0 ? 'warn' : ''} href="#/problems" />
      <${Figure} label=${t('facts.state')} value=${bytes(data.stateBytes)} note=${t('overview.disk', { value: bytes(data.diskFreeBytes) })} />
      <${Figure} label=${t('facts.memory')} value=${bytes(data.rssBytes)} note=${t('overview.resident')} />
    </section>
    <section aria-labelledby="attention"><h2 id="attention">${t('overview.attention')}</h2><${Attention} list=${data.attention ?? []} /></section>
    <section class="tiles" aria-label=${t('overview.contents')}>
      <a class="tile" href="#/queries"><${Icon} name="queries" /><b>${count(total)}</b> ${t('nav.queries')}<span class="tile-states">${states.map(([state, n]) => html`<span key=${state}>${n} <${State} state=${state} /></span>`)}</span></a>
      <a class="tile" href="#/sources"><${Icon} name="sources" /><b>${count(sources.streams)}</b> ${t('overview.streams')}</a>
      <a class="tile" href="#/sources"><${Icon} name="sources" /><b>${count(sources.tables)}</b> ${t('overview.tables')}</a>
      <a class="tile" href="#/topics"><${Icon} name="topics" /><b>${count(data.topics)}</b> ${t('nav.topics')}</a>
    </section>
    ${!empty && total < 3 ? html`<${Cards} />` : null}`;
}
