/** The state of the workbench, which outlives its page: sheets, results, messages. */
import { signal } from '../vendor/preact.js';
import { ApiError, post } from './api.js';
import { remember } from './history.js';
import { t } from './i18n.js';
import { Live } from './live.js';
import { store, stored } from './preferences.js';
import { isPush, isQuery, sessionChange, split, wordAt } from './statements.js';
import { ask, confirm } from './ui.js';

const KEY = 'tidegate.sheets';
const MESSAGES_MAX = 200;
/** Results that can be looked at again; older ones are stopped and forgotten. */
const RESULTS_MAX = 4;
/** The code of ksqlDB's refusal at the endpoint for the other kind of statement. */
const OTHER_ENDPOINT = 40002;

const saved = stored(KEY, null);
const first = { id: 1, name: '1', text: '' };
const sheets = signal(Array.isArray(saved?.sheets) && saved.sheets.length > 0 ? saved.sheets : [first]);
const current = signal(saved?.current ?? sheets.value[0].id);

const save = () => store(KEY, { sheets: sheets.value.map(({ id, name, text }) => ({ id, name, text })), current: current.value });
const number = () => Math.max(0, ...sheets.value.map(sheet => sheet.id)) + 1;

export const bench = {
  sheets,
  current,
  results: signal([]),
  /** Which result is looked at; beyond the end = the last one. */
  result: signal(0),
  /** What statements answered that have no rows: `{ sql, entities }`. */
  answers: signal([]),
  messages: signal([]),
  /** Errors of the last run that have a place in the text. */
  failures: signal([]),
  tab: signal('rows'),
  view: signal('append'),
  from: signal('earliest'),
  properties: signal({}),
  variables: signal({}),

  sheet: () => sheets.value.find(sheet => sheet.id === current.value) ?? sheets.value[0],

  edit(text) {
    const { id } = bench.sheet();
    sheets.value = sheets.value.map(sheet => (sheet.id === id ? { ...sheet, text } : sheet));
    bench.failures.value = [];
    save();
  },

  add(text = '') {
    const id = number();
    sheets.value = [...sheets.value, { id, name: String(id), text }];
    current.value = id;
    save();
  },

  /** Opens a text in the sheet that has it, in an empty one, or in a new one. */
  open(text) {
    const there = sheets.value.find(sheet => sheet.text.trim() === text.trim());
    const now = bench.sheet();
    if (there) {
      current.value = there.id;
    } else if (now.text.trim() === '') {
      sheets.value = sheets.value.map(sheet => (sheet.id === now.id ? { ...sheet, text, version: (sheet.version ?? 0) + 1 } : sheet));
    } else {
      bench.add(text);
    }
    save();
  },

  close(id) {
    const sheet = sheets.value.find(one => one.id === id);
    const run = () => {
      sheets.value = sheets.value.filter(one => one.id !== id);
      if (current.value === id) current.value = sheets.value.at(-1).id;
      save();
    };
    if (sheet.text.trim() === '') run();
    else confirm({ title: t('sql.closeSheet', { name: sheet.name }), body: t('sql.closeSheetBody'), action: t('common.close'), run });
  },

  rename(id) {
    const sheet = sheets.value.find(one => one.id === id);
    ask({
      title: t('sql.renameSheet'), label: t('sql.renameSheet'), value: sheet.name,
      run: name => {
        sheets.value = sheets.value.map(one => (one.id === id ? { ...one, name } : one));
        save();
      },
    });
  },

  say(kind, text, sql = null) {
    bench.messages.value = [{ at: Date.now(), kind, text, sql }, ...bench.messages.value].slice(0, MESSAGES_MAX);
  },

  /** The text that is meant, and where it begins: the selection; else the statement at the cursor. */
  chosen(editor) {
    const text = editor.text();
    const { from, to, head } = editor.selection();
    if (from !== to) return { text: text.slice(from, to), start: from };
    const pieces = split(text);
    const at = pieces.find(piece => head <= piece.end + 1) ?? pieces.at(-1);
    return at ?? { text: '', start: 0 };
  },

  /** Runs the selection, else the whole sheet: statements one after the other. `all` = the sheet, whatever is selected. */
  run(editor, all = false) {
    if (!editor) return undefined;
    const { from, to } = all ? { from: 0, to: 0 } : editor.selection();
    const text = editor.text();
    const offset = from === to ? 0 : from;
    return bench.runText(from === to ? text : text.slice(from, to), offset);
  },

  async runText(text, offset = 0) {
    bench.failures.value = [];
    bench.answers.value = [];
    const pieces = split(text);
    if (pieces.length === 0) return;
    remember(text.trim());
    for (const live of bench.results.value) live.stop();
    bench.results.value = [];
    for (const piece of pieces) {
      if (!(await bench.statement(piece, offset + piece.start))) break;
    }
  },

  /** Runs one statement; false = it failed, and what follows is not run. */
  async statement({ text }, start) {
    const change = sessionChange(text);
    if (change) {
      const next = { ...bench[change.kind].value };
      if (change.value === null) delete next[change.name];
      else next[change.name] = change.value;
      bench[change.kind].value = next;
      bench.say('good', t('sql.sessionSet', { name: change.name, value: change.value ?? '–' }), text);
      return true;
    }
    if (isQuery(text)) {
      const live = bench.show(text);
      // The next statement may need what this query reads to its end.
      if (!live.isPush) await live.ended();
      if (live.state.value === 'failed') bench.fail(live.error.value, start, text);
      else live.failed = error => bench.fail(error, start, text);
      return live.state.value !== 'failed';
    }
    try {
      const entities = await post('/ksql', { ksql: `${text};`, streamsProperties: bench.request().properties, sessionVariables: bench.variables.value });
      bench.answers.value = [...bench.answers.value, { sql: text, entities }];
      for (const entity of entities) if (entity.commandStatus) bench.say('good', entity.commandStatus.message, text);
      if (entities.length === 0) bench.say('good', t('sql.done'), text);
      if (bench.results.value.length === 0) bench.tab.value = 'rows';
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.code === OTHER_ENDPOINT) return bench.show(text) !== null;
      bench.fail(error, start, text);
      return false;
    }
  },

  request: () => ({ properties: { 'auto.offset.reset': bench.from.value, ...bench.properties.value }, variables: bench.variables.value }),

  show(text) {
    const live = new Live(`${text};`, { ...bench.request(), isPush: isPush(text) });
    bench.results.value = [...bench.results.value, live].slice(-RESULTS_MAX);
    bench.result.value = bench.results.value.length - 1;
    if (!['rows', 'chart'].includes(bench.tab.value)) bench.tab.value = 'rows';
    return live;
  },

  again(live) {
    const next = new Live(live.sql, { ...bench.request(), isPush: live.isPush });
    bench.results.value = bench.results.value.map(one => (one === live ? next : one));
  },

  /** Marks an error at its place in the text. */
  fail(error, start, text) {
    bench.say('bad', [error.message, error.detail, error.hint].filter(Boolean).join(' · '), text);
    if (bench.results.value.length === 0) bench.tab.value = 'messages';
    const span = error.span ?? (error.place ? wordAt(text, error.place) : { start: 0, end: text.length });
    bench.failures.value = [{ start: start + span.start, end: start + span.end, severity: 'error', message: error.message, detail: error.detail, hint: error.hint }];
  },
};
