/**
 * What the server found wrong with a text, marked in the editor: a wavy line under the place, a dot before the line, F8 to the
 * next one. What is wrong is said below the editor, with its fix; here it is the title of the place.
 */
import { Decoration, gutter, GutterMarker, EditorView, StateEffect, StateField } from '../vendor/codemirror.js';

const replace = StateEffect.define();

class Dot extends GutterMarker {
  constructor(severity) {
    super();
    this.severity = severity;
  }

  eq(other) {
    return other.severity === this.severity;
  }

  toDOM() {
    const dot = document.createElement('div');
    dot.className = `cm-mark-dot cm-mark-${this.severity}`;
    return dot;
  }
}

const DOTS = { error: new Dot('error'), warning: new Dot('warning') };

/** Marks move with the text around them. */
const field = StateField.define({
  create: () => Decoration.none,
  update(marks, change) {
    let found = marks.map(change.changes);
    for (const effect of change.effects) if (effect.is(replace)) found = Decoration.set(effect.value, true);
    return found;
  },
  provide: of => EditorView.decorations.from(of),
});

const each = (state, from, to, visit) => state.field(field).between(from, to, (start, end, mark) => visit({ from: start, to: end, ...mark.spec.found }));

const dots = gutter({
  class: 'cm-marks',
  lineMarker(view, line) {
    let worst = null;
    each(view.state, line.from, line.to, ({ from, severity }) => {
      if (from >= line.from && worst !== DOTS.error) worst = DOTS[severity] ?? DOTS.error;
    });
    return worst;
  },
  lineMarkerChange: update => update.startState.field(field) !== update.state.field(field),
});

const look = EditorView.baseTheme({
  '.cm-marks': { width: '12px' },
  '.cm-mark-dot': { width: '8px', height: '8px', marginTop: '6px', borderRadius: '50%', backgroundColor: 'var(--bad)' },
  '.cm-mark-warning': { borderRadius: '2px', backgroundColor: 'var(--warn)' },
  '.cm-lintRange-error': { textDecoration: 'underline wavy var(--bad)', textUnderlineOffset: '3px' },
  '.cm-lintRange-warning': { textDecoration: 'underline wavy var(--warn)', textUnderlineOffset: '3px' },
});

export const marks = [field, dots, look];

/** What is marked, in order. */
export function marked(state) {
  const all = [];
  each(state, 0, state.doc.length, one => { all.push(one); });
  return all;
}

/** Marks what was found, in place of what was marked. */
export function mark(view, diagnostics) {
  const length = view.state.doc.length;
  const within = at => Math.min(Math.max(0, at), length);
  const seen = new Set();
  const decorations = diagnostics.flatMap(({ start, end, severity, message, detail, hint }) => {
    const from = Math.max(0, Math.min(within(start), length - 1));
    const to = within(Math.max(end, from + 1));
    const found = { severity, message: [message, detail, hint].filter(Boolean).join('\n') };
    // The check of the text and a run of it find the same: one mark.
    const place = `${from}-${to}`;
    const isNew = to > from && !seen.has(place);
    seen.add(place);
    return isNew ? [Decoration.mark({ class: `cm-lintRange-${severity}`, attributes: { title: found.message }, found }).range(from, to)] : [];
  });
  view.dispatch({ effects: replace.of(decorations) });
}

/** Selects the mark behind the cursor, or the first one. */
export function nextMark(view) {
  const all = marked(view.state);
  const next = all.find(one => one.from > view.state.selection.main.from) ?? all[0];
  if (next) view.dispatch({ selection: { anchor: next.from, head: next.to }, scrollIntoView: true });
  return Boolean(next);
}
