/** The workbench: catalogue, editor, results. */
import { html, signal, useEffect, useMemo, useRef, useSignal } from '../vendor/preact.js';
import { Catalog } from '../parts/catalog.js';
import { Editor } from '../parts/editor.js';
import { feeding, stopFeeding } from '../parts/feed.js';
import { t } from '../parts/i18n.js';
import { openHistory } from '../parts/history.js';
import { pack, unpack } from '../parts/permalink.js';
import { PlanView } from '../parts/plan.js';
import { hasChart, Result } from '../parts/result.js';
import { route, setParams } from '../parts/router.js';
import { Session } from '../parts/session.js';
import { curl } from '../parts/statements.js';
import { Button, Choice, copy, Empty, Tabs } from '../parts/ui.js';
import { bench } from '../parts/bench.js';
import { Messages } from '../parts/messages.js';
import { useCheck } from '../parts/check.js';
import { post } from '../parts/api.js';

const LINK_PLAIN_MAX = 300;
/** Where there is little room the editor comes first. */
const NARROW = 760;
const catalogOpen = signal(innerWidth > NARROW);

/** The tabs of texts. */
function Sheets() {
  const { sheets, current } = bench;
  return html`<div class="sheets" role="group" aria-label=${t('sql.sheets')}>${sheets.value.map(sheet => html`<span class="sheet" key=${sheet.id}>
      <button type="button" class="sheet-name" aria-pressed=${sheet.id === current.value} onClick=${() => { current.value = sheet.id; }} onDblClick=${() => bench.rename(sheet.id)}>${sheet.name}</button>
      ${sheets.value.length > 1 && html`<button type="button" class="sheet-close" aria-label=${t('sql.closeSheet', { name: sheet.name })} onClick=${() => bench.close(sheet.id)}>×</button>`}
    </span>`)}<button type="button" class="sheet-new" aria-label=${t('sql.newSheet')} title=${t('sql.newSheet')} onClick=${() => bench.add()}>+</button></div>`;
}

/** What the text does, before it is run: or what is wrong with it. */
function Checked({ check, editor }) {
  const first = check.diagnostics.find(one => one.severity === 'error') ?? check.diagnostics[0];
  if (first) {
    return html`<div class=${`checked ${first.severity}`} data-diagnostic><button type="button" class="link" onClick=${() => editor()?.reveal(first.start, first.end)}><span aria-hidden="true">${first.severity === 'error' ? '✕' : '!'}</span> ${first.message}</button>
      ${first.detail && html`<span class="note">${first.detail}</span>`}${first.hint && html`<span class="note">${first.hint}</span>`}
      ${first.fix && html`<${Button} small kind="primary" label=${t('sql.fix', { text: first.fix.text })} onClick=${() => editor()?.apply(first.fix)} />`}
      ${check.diagnostics.length > 1 && html`<span class="note">${t('sql.more', { n: check.diagnostics.length - 1 })}</span>`}</div>`;
  }
  const statement = check.statements.at(-1);
  if (!statement) return html`<div class="checked"><span class="note">${t('sql.nothing')}</span></div>`;
  const parts = [
    check.statements.length > 1 && t('sql.statements', { n: check.statements.length }),
    statement.reads?.length > 0 && t('sql.reads', { names: statement.reads.join(', ') }),
    statement.writes?.length > 0 && t('sql.writes', { names: statement.writes.join(', ') }),
    statement.creates?.length > 0 && t('sql.creates', { names: statement.creates.join(', ') }),
    statement.role && t('sql.role', { role: t(`role.${String(statement.role).toLowerCase()}`) }),
  ].filter(Boolean);
  return html`<div class="checked"><span class="ok" aria-hidden="true">✓</span><span class="note">${parts.join(' · ')}</span></div>`;
}

const names = list => Object.entries(list).map(([name, value]) => html`<li key=${name}><code>${name} = ${value}</code></li>`);

/** Buttons above the results. */
function Bar({ editor, onExplain }) {
  const { from, properties, variables } = bench;
  const sheet = bench.sheet();
  const format = async () => {
    try {
      const { sql } = await post('/api/v1/format', { sql: editor().text() });
      editor().replace(sql);
    } catch (error) {
      bench.say('bad', error.message);
    }
  };
  const link = async () => {
    const text = editor().text();
    setParams(text.length < LINK_PLAIN_MAX ? { q: text, z: '', tab: bench.tab.value, view: bench.view.value } : { q: '', z: await pack(text), tab: bench.tab.value, view: bench.view.value });
    await copy(location.href);
  };
  const extra = Object.keys(properties.value).length + Object.keys(variables.value).length;
  return html`<div class="run-bar">
    <${Button} kind="primary" icon="play" label=${t('sql.run')} title="Ctrl Enter" data-run onClick=${() => bench.run(editor())} />
    <${Button} label=${t('sql.explain')} icon="graph" onClick=${onExplain} />
    <${Button} label=${t('sql.format')} icon="format" onClick=${format} />
    <${Button} label=${t('sql.history')} icon="history" onClick=${() => openHistory(text => editor().replace(text))} />
    <${Choice} label=${t('sql.fromWhy')} value=${from.value} onChange=${value => { from.value = value; }} options=${[['earliest', t('sql.earliest')], ['latest', t('sql.latest')]]} />
    ${extra > 0 && html`<details class="popover"><summary class="button small quiet">${t('sql.session', { n: extra })}</summary><div class="popover-body"><ul class="plain">${names(properties.value)}${names(variables.value)}</ul><p class="note">${t('sql.sessionWhy')}</p></div></details>`}
    <span class="grow" />
    ${feeding.value && html`<span class="feed"><span class="dot live" aria-hidden="true" />${t('samples.feeding', { name: t(`samples.${feeding.value}`) })} <button type="button" class="link" onClick=${stopFeeding}>${t('live.stop')}</button></span>`}
    <${Button} kind="quiet" icon="link" aria-label=${t('sql.link')} onClick=${link} />
    <${Button} kind="quiet" icon="copy" label="curl" class="button quiet roomy" title=${t('sql.curl')} onClick=${() => copy(curl('/query-stream', { sql: editor()?.text() ?? sheet.text, properties: { 'auto.offset.reset': from.value } }))} />
  </div>`;
}

export default function Workbench({ params }) {
  const editor = useRef(null);
  const ready = useSignal(0);
  const sheet = bench.sheet();
  const plan = useSignal(null);
  // A link opens its text in a sheet of its own. It never runs it: a link may come from anybody.
  useEffect(() => {
    const open = async () => {
      const text = params.get('q') ?? (params.get('z') ? await unpack(params.get('z')) : null);
      if (params.get('tab')) bench.tab.value = params.get('tab');
      if (params.get('view')) bench.view.value = params.get('view');
      if (text !== null) bench.open(text);
      if (text !== null) history.replaceState(null, '', '#/sql');
    };
    open();
  }, [route.value]);
  const check = useCheck(sheet.text);
  const diagnostics = useMemo(() => [...check.diagnostics, ...bench.failures.value], [check, bench.failures.value]);
  const complete = (text, at) => post('/api/v1/complete', { sql: text, at });
  const { results, result, tab, view } = bench;
  const live = results.value[result.value] ?? results.value.at(-1);
  const explain = async () => {
    tab.value = 'plan';
    plan.value = { loading: true };
    const { text, start } = bench.chosen(editor.current);
    try {
      plan.value = { start, data: await post('/api/v1/plan', { sql: text }) };
    } catch (error) {
      plan.value = { error };
    }
  };
  void ready.value;
  const tabs = [['rows', t('tab.rows'), live ? undefined : null], ['chart', t('tab.chart')], ['plan', t('tab.plan')], ['messages', t('tab.messages'), bench.messages.value.length || undefined]];
  return html`<div class=${`workbench ${catalogOpen.value ? '' : 'no-catalog'}`}>
    <aside class="catalog" aria-label=${t('catalog.title')}><${Catalog} onInsert=${text => editor.current?.insert(text)} onOpen=${text => bench.open(text)} /></aside>
    <div class="bench">
      <h1 class="sr">${t('page.sql')}</h1>
      <div class="sheet-bar"><${Button} kind="quiet" small icon="sources" aria-label=${t('catalog.toggle')} aria-expanded=${catalogOpen.value} onClick=${() => { catalogOpen.value = !catalogOpen.value; }} /><${Sheets} /></div>
      <div class="editor-box"><${Editor} key=${`${sheet.id}/${sheet.version ?? 0}`} text=${sheet.text} label=${t('sql.editor')} hint=${t('sql.placeholder')} diagnostics=${diagnostics} complete=${complete}
        onChange=${text => bench.edit(text)} onRun=${all => bench.run(editor.current, all)} onReady=${handle => { editor.current = handle; ready.value += 1; }} /></div>
      <${Checked} check=${{ ...check, diagnostics }} editor=${() => editor.current} />
      <${Bar} editor=${() => editor.current} onExplain=${explain} />
      <div class="results">
        <${Tabs} label=${t('tab.title')} tabs=${tabs} value=${tab.value} onChange=${value => { tab.value = value; }}>
          ${results.value.length > 1 && html`<${Choice} label=${t('sql.results')} value=${results.value.indexOf(live)} onChange=${value => { result.value = value; }} options=${results.value.map((_, at) => [at, t('sql.result', { n: at + 1 })])} />`}
        </${Tabs}>
        <div class="result-body">
          ${tab.value === 'messages' ? html`<${Messages} />`
    : tab.value === 'plan' ? html`<${PlanView} plan=${plan.value} onExplain=${explain} onReveal=${({ start, end }) => editor.current?.reveal(plan.value.start + start, plan.value.start + end)} />`
      : live && (tab.value === 'rows' || hasChart(live) || live.state.value !== 'live') ? html`<${Result} live=${live} tab=${tab.value} view=${view.value} onView=${value => { view.value = value; }} onRerun=${() => bench.again(live)} />`
        : bench.answers.value.length > 0 ? html`<${Session} answers=${bench.answers.value} />`
          : html`<${Empty} icon="play" title=${t('sql.ready')}><p class="note">${t('sql.readyHint')}</p><p><kbd>Ctrl</kbd> <kbd>Enter</kbd></p></${Empty}>`}
        </div>
      </div>
    </div>
  </div>`;
}
