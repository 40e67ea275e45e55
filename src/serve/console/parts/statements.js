/** Texts of several statements: where each one begins and ends, and where it has to be sent. */

/** Splits at semicolons that are in no string, name or comment. `[{ start, end, text }]`, without the semicolons. */
export function split(text) {
  const found = [];
  let start = 0;
  const take = end => {
    const piece = text.slice(start, end);
    const bare = piece.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, ' ').trim();
    if (bare) {
      const from = start + piece.search(/\S/);
      found.push({ start: from, end, text: piece.trim() });
    }
    start = end + 1;
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "'" || letter === '"' || letter === '`') {
      const close = text.indexOf(letter, at + 1);
      at = close < 0 ? text.length : close;
    } else if (letter === '-' && text[at + 1] === '-') {
      const line = text.indexOf('\n', at);
      at = line < 0 ? text.length : line;
    } else if (letter === '/' && text[at + 1] === '*') {
      const close = text.indexOf('*/', at + 2);
      at = close < 0 ? text.length : close + 1;
    } else if (letter === ';') {
      take(at);
    }
  }
  take(text.length);
  return found;
}

/** The word at a line and column, counted from 1. */
export function wordAt(text, { line, column }) {
  const start = text.split('\n').slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + column - 1;
  const word = text.slice(start).match(/^[\p{L}\p{N}_]+|^./u);
  return { start, end: start + (word ? word[0].length : 0) };
}

const bare = text => text.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, ' ').trim();

/** Has rows for an answer. */
export const isQuery = text => /^(SELECT|WITH|VALUES|TABLE|FROM|PRINT|VERIFY|EXPLAIN\s+ANALYZE|\()/i.test(bare(text));
/** Rows that do not end by themselves. */
export const isPush = text => {
  const plain = bare(text).replace(/'(?:[^']|'')*'/g, "''");
  return /\bEMIT\s+(CHANGES|FINAL)\b/i.test(plain) || (/^PRINT\b/i.test(plain) && !/\bLIMIT\s+\d+\s*$/i.test(plain));
};

const NAME = String.raw`'((?:[^']|'')*)'`;
const unquoted = text => text.replaceAll("''", "'");

/** What the console keeps itself, because each request has a session of its own: `SET 'a'='b'`, `UNSET`, `DEFINE`, `UNDEFINE`. */
export function sessionChange(text) {
  const plain = bare(text);
  let match = plain.match(new RegExp(String.raw`^SET\s+${NAME}\s*=\s*${NAME}$`, 'i'));
  if (match) return { kind: 'properties', name: unquoted(match[1]), value: unquoted(match[2]) };
  match = plain.match(new RegExp(String.raw`^UNSET\s+${NAME}$`, 'i'));
  if (match) return { kind: 'properties', name: unquoted(match[1]), value: null };
  match = plain.match(new RegExp(String.raw`^DEFINE\s+(\w+)\s*=\s*${NAME}$`, 'i'));
  if (match) return { kind: 'variables', name: match[1], value: unquoted(match[2]) };
  match = plain.match(/^UNDEFINE\s+(\w+)$/i);
  return match ? { kind: 'variables', name: match[1], value: null } : null;
}

/** A name as SQL writes it. */
export const quoted = name => (/^[A-Z_][A-Z0-9_]*$/.test(name) ? name.toLowerCase() : `\`${name.replaceAll('`', '``')}\``);

/** The command that does the same. */
export function curl(path, body) {
  const data = body === undefined ? '' : ` \\\n  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  return `curl -sN ${location.origin}${path}${data}`;
}
