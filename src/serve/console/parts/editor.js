/**
 * The SQL editor: CodeMirror in a shadow root. In the document its styles would break the content security policy; a shadow
 * root takes constructed style sheets. Completion, errors and formats come from the server; Korean input methods work as in
 * any CodeMirror, because nothing here touches text while it is composed.
 */
import {
  autocompletion, bracketMatching, closeBrackets, closeBracketsKeymap, completionKeymap, defaultKeymap, drawSelection, EditorState, EditorView,
  highlightActiveLine, highlightActiveLineGutter, HighlightStyle, history, historyKeymap, indentWithTab, keymap, lineNumbers, placeholder, Prec,
  StreamLanguage, syntaxHighlighting, tags, toggleComment,
} from '../vendor/codemirror.js';
import { html, useEffect, useRef } from '../vendor/preact.js';
import { mark, marked, marks, nextMark } from './marks.js';
import { TYPES, WORDS } from './words.js';

const language = StreamLanguage.define({
  name: 'ksql',
  startState: () => ({ comment: false }),
  token(stream, state) {
    if (state.comment) {
      if (stream.match(/.*?\*\//)) state.comment = false;
      else stream.skipToEnd();
      return 'comment';
    }
    if (stream.eatSpace()) return null;
    if (stream.match('--')) {
      stream.skipToEnd();
      return 'comment';
    }
    if (stream.match('/*')) {
      state.comment = true;
      return 'comment';
    }
    if (stream.match(/'(?:[^']|'')*'?/)) return 'string';
    if (stream.match(/`[^`]*`?|"[^"]*"?/)) return 'propertyName';
    if (stream.match(/\d+(\.\d+)?([eE][+-]?\d+)?/)) return 'number';
    if (stream.match(/\$\{\w*\}?/)) return 'variableName';
    const word = stream.match(/[\p{L}_@][\p{L}\p{N}_]*/u);
    if (!word) {
      stream.next();
      return null;
    }
    const lower = word[0].toLowerCase();
    if (TYPES.has(lower)) return 'typeName';
    if (WORDS.has(lower)) return 'keyword';
    return stream.match(/\s*\(/, false) ? 'function' : null;
  },
  tokenTable: { function: tags.function(tags.variableName) },
  languageData: { commentTokens: { line: '--' } },
});

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--syntax-keyword)', fontWeight: '600' },
  { tag: tags.typeName, color: 'var(--syntax-type)' },
  { tag: tags.string, color: 'var(--syntax-string)' },
  { tag: tags.number, color: 'var(--syntax-number)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
  { tag: tags.propertyName, color: 'var(--syntax-name)' },
  { tag: tags.variableName, color: 'var(--syntax-name)' },
  { tag: tags.function(tags.variableName), color: 'var(--syntax-function)' },
]);

const look = EditorView.theme({
  '&': { height: '100%', fontSize: '13px', color: 'var(--text)', backgroundColor: 'var(--surface)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6' },
  '.cm-content': { caretColor: 'var(--accent)', padding: '8px 0' },
  '.cm-cursor': { borderLeftColor: 'var(--accent)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'var(--muted)', border: 'none', paddingLeft: '4px' },
  '.cm-activeLine': { backgroundColor: 'var(--line-active)' },
  '.cm-activeLineGutter': { backgroundColor: 'transparent', color: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--selection) !important' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '.cm-tooltip': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--border)', borderRadius: '6px', boxShadow: 'var(--shadow)', overflow: 'hidden' },
  '.cm-tooltip-autocomplete ul': { fontFamily: 'var(--mono)', fontSize: '12.5px', maxHeight: '17em' },
  '.cm-tooltip-autocomplete ul li': { padding: '3px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionDetail': { fontStyle: 'normal', opacity: '0.75', marginLeft: '1em' },
  '.cm-completionInfo': { padding: '6px 10px', maxWidth: '320px', fontFamily: 'var(--sans)', fontSize: '12.5px', whiteSpace: 'pre-wrap' },
});

const KINDS = { keyword: 'keyword', column: 'property', function: 'function', source: 'class', stream: 'class', table: 'class', topic: 'variable', type: 'type', query: 'constant' };

/** Letters of a detail in the list. */
const DETAIL_MAX = 44;

/** Completion by the server, which knows names, types and what may follow. */
const completions = complete => async context => {
  if (!context.explicit && !context.matchBefore(/[\p{L}_`.]\w*$/u)) return null;
  const found = await complete(context.state.doc.toString(), context.pos).catch(() => null);
  if (!found || context.aborted || found.options.length === 0) return null;
  const options = found.options.map(({ label, kind, detail, doc }) => {
    // The calls of a function are several lines: the list shows the first, the box beside it all of them.
    const [first, ...more] = String(detail ?? '').split('\n');
    return { label, type: KINDS[String(kind).toLowerCase()] ?? 'text', detail: first.length > DETAIL_MAX ? `${first.slice(0, DETAIL_MAX)}…` : first, info: [more.length > 0 || first.length > DETAIL_MAX ? detail : '', doc].filter(Boolean).join('\n\n') || undefined };
  });
  return { from: found.from, options, validFor: /^[\p{L}\p{N}_`]*$/u };
};

/**
 * @param {{ text: string, label: string, hint?: string, onChange: (text: string) => void, onRun: (all: boolean) => void, onReady: (handle: any) => void,
 *   complete?: (text: string, at: number) => Promise<any>, diagnostics: any[] }} props `text` is the text at the start; a new `key` makes a new editor.
 */
export function Editor({ text, label, hint, onChange, onRun, onReady, complete, diagnostics }) {
  const host = useRef(null);
  const view = useRef(null);
  const calls = useRef({});
  calls.current = { onChange, onRun, complete };
  useEffect(() => {
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: 'open' });
    const run = all => () => {
      calls.current.onRun(all);
      return true;
    };
    const editor = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          Prec.highest(keymap.of([{ key: 'Mod-Enter', run: run(false) }, { key: 'Mod-Shift-Enter', run: run(true) }, { key: 'Mod-/', run: toggleComment }])),
          lineNumbers(), marks, history(), drawSelection(), highlightActiveLine(), highlightActiveLineGutter(), bracketMatching(), closeBrackets(),
          language, syntaxHighlighting(colours), look,
          autocompletion({ override: [completions((...found) => calls.current.complete?.(...found) ?? Promise.resolve(null))], icons: false, maxRenderedOptions: 60 }),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, { key: 'F8', run: nextMark }, ...defaultKeymap, ...historyKeymap, indentWithTab]),
          placeholder(hint ?? ''),
          EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', autocorrect: 'off', autocapitalize: 'off' }),
          EditorView.updateListener.of(update => {
            if (update.docChanged) calls.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    onReady(handle(editor));
    return () => editor.destroy();
  }, []);
  useEffect(() => {
    if (view.current) mark(view.current, diagnostics);
  }, [diagnostics]);
  return html`<div class="editor" ref=${host} data-editor />`;
}

/** What pages do with an editor. */
function handle(view) {
  return {
    text: () => view.state.doc.toString(),
    selection: () => {
      const { from, to, head } = view.state.selection.main;
      return { from, to, head };
    },
    replace(text) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    insert(text) {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    apply({ start, end, text }) {
      view.dispatch({ changes: { from: start, to: Math.min(end, view.state.doc.length), insert: text } });
      view.focus();
    },
    reveal(start, end = start) {
      const length = view.state.doc.length;
      view.dispatch({ selection: { anchor: Math.min(start, length), head: Math.min(end, length) }, scrollIntoView: true });
      view.focus();
    },
    focus: () => view.focus(),
    marked: () => marked(view.state),
  };
}
