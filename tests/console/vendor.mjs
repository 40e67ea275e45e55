// Writes src/serve/console/vendor: each library of the console as one minified ES module, with its licences beside it.
//
//     npm ci && npm run vendor      (in this folder; versions are those of package-lock.json)
//
// Nothing here runs in a build: `cargo build` embeds what is committed, and tests/it/console.rs compares its checksums.
import { build } from 'esbuild';
import { minify } from 'terser';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, '../../src/serve/console/vendor');

/** What the console imports of each bundle. Only these names are kept. */
const BUNDLES = {
  preact: `
    export { h, render } from 'preact';
    export { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
    export { signal, effect, useSignal } from '@preact/signals';
    import { h } from 'preact';
    import htm from 'htm';
    export const html = htm.bind(h);`,
  codemirror: `
    export { EditorState, Prec, StateEffect, StateField } from '@codemirror/state';
    export { Decoration, EditorView, gutter, GutterMarker, keymap, lineNumbers, drawSelection, highlightActiveLine,
      highlightActiveLineGutter, placeholder } from '@codemirror/view';
    export { defaultKeymap, history, historyKeymap, indentWithTab, toggleComment } from '@codemirror/commands';
    export { StreamLanguage, HighlightStyle, syntaxHighlighting, bracketMatching } from '@codemirror/language';
    export { autocompletion, completionKeymap, closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete';
    export { tags } from '@lezer/highlight';`,
  uplot: `export { default } from 'uplot';`,
};

/** The package that a bundled file belongs to. */
const packageOf = file => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1];
const describe = name => JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8'));
const licence = name => {
  const folder = join(here, 'node_modules', name);
  const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no licence file`);
  return readFileSync(join(folder, file), 'utf8').trim();
};
const sha256 = bytes => createHash('sha256').update(bytes).digest('hex');

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const rows = [];
const packages = new Map();
for (const [name, contents] of Object.entries(BUNDLES)) {
  const result = await build({
    stdin: { contents, resolveDir: here, sourcefile: `${name}.js` },
    bundle: true, minify: true, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', metafile: true, write: false,
  });
  // esbuild drops what is not imported, terser makes what is left smaller: 3 % of what a browser loads.
  const { code } = await minify(result.outputFiles[0].text, {
    module: true, ecma: 2020, compress: { passes: 3, pure_getters: true, keep_fargs: false, unsafe_arrows: true },
  });
  const text = Buffer.from(code);
  writeFileSync(join(target, `${name}.js`), text);
  const used = [...new Set(Object.keys(result.metafile.inputs).map(packageOf).filter(Boolean))].sort();
  used.forEach(one => packages.set(one, describe(one)));
  rows.push([`${name}.js`, text, used]);
}
const css = readFileSync(join(here, 'node_modules/uplot/dist/uPlot.min.css'));
writeFileSync(join(target, 'uplot.css'), css);
rows.push(['uplot.css', css, ['uplot']]);

const licences = [...packages].sort().map(([name, { version, license }]) => `${name} ${version} (${license})\n\n${licence(name)}\n`);
const licenceText = licences.join(`\n${'-'.repeat(80)}\n\n`);
writeFileSync(join(target, 'LICENCES.txt'), licenceText);
rows.push(['LICENCES.txt', Buffer.from(licenceText), []]);

const versions = used => used.map(name => `${name} ${packages.get(name).version}`).join(', ') || 'the licences of all of these';
const table = rows.map(([file, bytes, used]) =>
  `| ${file} | ${bytes.length} | ${gzipSync(bytes).length} | \`${sha256(bytes)}\` | ${versions(used)} |`);
writeFileSync(join(target, 'README.md'), `# Libraries of the console

Written by \`tests/console/vendor.mjs\` from the versions of \`tests/console/package-lock.json\`; do not edit. All are under
the MIT licence, or Apache-2.0 (htm); the texts are in LICENCES.txt. \`tests/it/console.rs\` recomputes the checksums.

| file | bytes | gzipped | sha256 | made from |
|---|---|---|---|---|
${table.join('\n')}
`);
if (!existsSync(join(target, 'README.md'))) throw new Error('nothing was written');
console.log(table.join('\n'));
