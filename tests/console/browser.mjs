// The console in a browser: what a person does, checked where a person would look.
//
//     node browser.mjs TIDEGATE CHROMIUM NODE_MODULES [NAME...]
//
// Starts servers of its own on free ports. Prints a line per check; any failure ends with exit code 1. `CONSOLE_LONG=1` adds the
// checks that take minutes on a slow machine; `CONSOLE_DISK=1` takes the console's files from the checkout, so that a change of
// one of them needs no build.
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { Server } from './server.mjs';

const [,, tidegate, chromiumPath, packages, ...names] = process.argv;
const require = createRequire(join(packages, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(join(packages, 'axe-core/axe.min.js'), 'utf8');
const PATIENCE = 20_000;
const folder = mkdtempSync(join(tmpdir(), 'tidegate-console-'));
const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const checks = [];
const check = (name, run, { long = false } = {}) => checks.push({ name, run, long });
const assert = (condition, what) => { if (!condition) throw new Error(what); };
const equal = (found, wanted, what) => assert(JSON.stringify(found) === JSON.stringify(wanted), `${what}: ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);

const files = fileURLToPath(new URL('../../src/serve/console/', import.meta.url));
const fromDisk = route => {
  const path = new URL(route.request().url()).pathname.slice('/console/'.length) || 'index.html';
  return route.fulfill({ path: join(files, path) });
};

/** A page that fails the check for each error of a script, each violation of the policy, and each request to another host. */
async function open(server, hash = '', { language = 'en', theme = 'light', width = 1280, height = 800, context } = {}) {
  const own = context ?? await browser.newContext({ viewport: { width, height }, locale: language === 'ko' ? 'ko-KR' : 'en-GB', colorScheme: theme, timezoneId: 'UTC' });
  if (process.env.CONSOLE_DISK) await own.route('**/console/**', fromDisk);
  const page = await own.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.faults = [];
  page.on('pageerror', error => page.faults.push(String(error.stack ?? error)));
  page.on('console', message => { if (message.type() === 'error' && !/ERR_|Failed to load resource/.test(message.text())) page.faults.push(message.text()); });
  await page.addInitScript(() => addEventListener('securitypolicyviolation', event => console.error(`policy: ${event.violatedDirective} ${event.sourceFile}:${event.lineNumber} ${event.sample}`)));
  page.on('request', request => { if (!/^(data:|blob:)/.test(request.url()) && new URL(request.url()).host !== server.address) page.faults.push(`asked ${request.url()}`); });
  await page.goto(`${server.url}/console/${hash}`);
  return page;
}

async function close(page) {
  const { faults } = page;
  await page.close();
  equal(faults, [], 'the page is without faults');
}

const READINGS = "CREATE STREAM readings (car VARCHAR KEY, speed DOUBLE, big BIGINT) WITH (KAFKA_TOPIC='readings', VALUE_FORMAT='JSON', PARTITIONS=2);";
const insert = (car, speed, big = '9007199254740993') => `INSERT INTO readings VALUES ('${car}', ${speed}, ${big});`;

/** Types a text into the editor, in place of what is there. */
async function type(page, text) {
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+a');
  // Text over coloured text makes Chromium try a style attribute, which the policy blocks: nothing is lost, but it is reported.
  await page.keyboard.press('Delete');
  await page.keyboard.insertText(text);
}

const rows = page => page.locator('.grid tbody tr:not(.space)').evaluateAll(list => list.map(row => [...row.querySelectorAll('td[tabindex]')].map(cell => cell.textContent)));
const until = async (what, done) => {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await done();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise(resolve => { setTimeout(resolve, 50); });
  }
};

check('paints soon and loads little', async server => {
  const page = await open(server);
  await page.locator('.nav').waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  const bytes = await page.evaluate(() => performance.getEntriesByType('resource').reduce((sum, one) => sum + one.encodedBodySize, 0));
  console.log(`     first paint ${Math.round(paint)} ms, ${bytes} bytes`);
  assert(paint < 5000, `first paint after ${paint} ms, on however loaded a machine`);
  assert(bytes < 300_000, `the overview loads ${bytes} bytes: the editor is not for it`);
  await close(page);
});

check('runs a query, shows rows live, by key and as changes', async server => {
  const page = await open(server, '#/sql');
  await type(page, 'SELECT * FROM readings EMIT CHANGES;');
  await page.keyboard.press('Control+Enter');
  await until('rows', async () => (await rows(page)).length === 2);
  const first = (await rows(page)).sort();
  equal(first, [['porsche', '210.5', '9007199254740993'], ['포르쉐', '180', '9007199254740993']], 'all digits of a BIGINT are shown');
  await server.ksql(insert('porsche', 99));
  await until('a row that comes later', async () => (await rows(page)).length === 3);
  await page.getByRole('button', { name: 'Latest per key' }).click();
  await until('one row a key', async () => (await rows(page)).length === 2);
  assert((await rows(page)).some(row => row[0] === 'porsche' && row[1] === '99'), 'the latest of porsche');
  await page.getByRole('button', { name: 'Changelog' }).click();
  const ops = await page.locator('.grid td.op').allTextContents();
  equal(ops, ['~', '+', '+'], 'what each row did');
  await page.getByRole('button', { name: 'Pause' }).click();
  await server.ksql(insert('porsche', 1) + insert('porsche', 2));
  await page.getByText('2 rows not shown').waitFor();
  equal((await rows(page)).length, 3, 'rows in sight while paused');
  await page.getByRole('button', { name: 'Resume' }).click();
  await until('all rows', async () => (await rows(page)).length === 5);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('stopped').waitFor();
  await until('the query is gone on the server', async () => !(await server.get('/session/names')).queries.some(id => id.startsWith('transient')));
  await close(page);
});

check('shows an error at its place, in Korean text too', async server => {
  const page = await open(server, '#/sql');
  await type(page, "SELECT '포르쉐' AS `차`, sped FROM readings EMIT CHANGES;");
  await page.keyboard.press('Control+Enter');
  await page.locator('[data-diagnostic]').waitFor();
  const said = await page.locator('[data-diagnostic]').textContent();
  assert(said.includes("'SPED' cannot be resolved"), `the message: ${said}`);
  await until('the mark', async () => (await page.locator('.cm-lintRange-error').allTextContents()).join('') === 'sped');
  await page.locator('[data-diagnostic] button.link').click();
  const selected = await page.evaluate(() => document.querySelector('[data-editor]').shadowRoot.getSelection?.()?.toString() ?? '');
  assert(selected === '' || selected === 'sped', `the cursor is at ${selected}`);
  await close(page);
});

check('draws a chart of a number', async server => {
  const page = await open(server, '#/sql');
  await type(page, 'SELECT ROWTIME, car, speed FROM readings EMIT CHANGES;');
  await page.locator('[data-run]').click();
  await until('rows', async () => (await rows(page)).length > 0);
  await page.getByRole('tab', { name: 'Chart' }).click();
  await page.locator('.u-over').waitFor();
  const legend = await page.locator('.u-legend .u-label').allTextContents();
  assert(legend.includes('porsche') && legend.includes('포르쉐'), `a line per key: ${legend}`);
  await close(page);
});

check('runs several statements, and says what each answered', async server => {
  const page = await open(server, '#/sql');
  await type(page, "CREATE STREAM fast AS SELECT * FROM readings WHERE speed > 200; SHOW STREAMS; SET 'auto.offset.reset' = 'earliest';");
  await page.locator('[data-run]').click();
  await page.getByText('Created query with ID CSAS_FAST').first().waitFor();
  await page.locator('.answers td', { hasText: 'FAST' }).first().waitFor();
  await page.getByText('session 1').waitFor();
  await close(page);
});

check('refuses one live result too many, and says why', async server => {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 }, locale: 'en-GB' });
  const pages = [];
  for (let n = 0; n < 5; n += 1) {
    const page = await open(server, '#/sql', { context });
    await type(page, 'SELECT * FROM readings EMIT CHANGES;');
    await page.locator('[data-run]').click();
    pages.push(page);
    if (n < 4) await page.locator('.live-state.live').waitFor();
  }
  await pages[4].getByText('4 live results are open in this browser').waitFor();
  await close(pages.shift());
  await pages[3].getByRole('button', { name: 'Run again' }).click();
  await pages[3].locator('.live-state.live').waitFor();
  for (const page of pages) await close(page);
  await context.close();
});

check('says that the server is gone, and comes back', async () => {
  const server = await Server.start(tidegate, ['--data', join(folder, 'gone')]);
  await server.ksql(READINGS + insert('porsche', 1));
  const page = await open(server, '#/sql');
  await type(page, 'SELECT * FROM readings EMIT CHANGES;');
  await page.locator('[data-run]').click();
  await until('a row', async () => (await rows(page)).length === 1);
  await server.kill();
  await page.getByText('The server does not respond').waitFor();
  equal((await rows(page)).length, 1, 'rows stay');
  await server.again();
  await until('the banner goes', async () => (await page.getByText('The server does not respond').count()) === 0);
  await page.getByRole('button', { name: 'Run again' }).click();
  await until('the row again', async () => (await rows(page)).length === 1 && (await page.locator('.live-state.live').count()) === 1);
  await close(page);
  await server.kill();
});

check('logs in, and a reader sees why buttons are disabled', async () => {
  const users = join(folder, 'users');
  for (const [name, role] of [['alice', 'admin'], ['bob', 'reader']]) execFileSync(tidegate, ['user', name, role, '--file', users], { input: `${name}-secret\n`, stdio: ['pipe', 'ignore', 'ignore'] });
  const server = await Server.start(tidegate, ['--temp', '--users', users]);
  const page = await open(server);
  await page.getByLabel('User').fill('bob');
  await page.locator('input[name=password]').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('is wrong').waitFor();
  await page.locator('input[name=password]').fill('bob-secret');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.locator('.who', { hasText: 'bob' }).waitFor();
  const run = page.getByRole('button', { name: 'Run it' }).first();
  await run.waitFor();
  assert(await run.isDisabled() && (await run.getAttribute('title')).includes('writer'), 'the example needs a writer, and says so');
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('User').waitFor();
  await close(page);
  await server.kill();
});

check('begins with an example: the cars move on a chart', async () => {
  const server = await Server.start(tidegate, ['--temp']);
  const page = await open(server);
  const start = Date.now();
  await page.getByRole('button', { name: 'Run it' }).first().click();
  await page.locator('.u-over').waitFor();
  await until('six lines', async () => (await page.locator('.u-legend .u-label').count()) === 7);
  console.log(`     from click to chart ${Date.now() - start} ms`);
  await close(page);
  await server.kill();
});

/** A command that serves while it runs: the address that it prints, and a function that ends it. */
async function printed(command, pattern) {
  const child = spawn(tidegate, command, { stdio: ['pipe', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.on('data', piece => { text += piece; });
  const [url] = await until(`${command.join(' ')} prints its address`, () => text.match(pattern));
  return { url, address: new URL(url).host, end: () => child.kill('SIGKILL') };
}

check('opens for its owner, and for nobody without the token', async () => {
  const { url, address, end } = await printed(['console', '--temp'], /http:\S+#token=\S+/);
  const page = await open({ url: url.slice(0, url.indexOf('/console/')), address }, url.slice(url.indexOf('#')));
  await page.locator('.who', { hasText: 'console' }).waitFor();
  assert(!page.url().includes('token'), `the token is gone from ${page.url()}`);
  equal((await fetch(`http://${address}/info`)).status, 401, 'a program without the token');
  await close(page);
  end();
});

check('shows the cars of the demonstration on a chart', async () => {
  const { url, address, end } = await printed(['demo'], /http:\S+#\/demo/);
  const start = Date.now();
  const page = await open({ url: `http://${address}`, address }, url.slice(url.indexOf('#')));
  await until('six lines', async () => (await page.locator('.u-legend .u-label').count()) === 7);
  console.log(`     from the address to the chart ${Date.now() - start} ms`);
  const total = async () => Number((await page.locator('.live-facts').textContent()).match(/([\d,]+) rows(?!\/)/)[1].replaceAll(',', ''));
  const before = await total();
  await until('they move', async () => (await total()) > before);
  await close(page);
  end();
});

check('pauses and resumes a query, and asks before it terminates one', async server => {
  await server.ksql('CREATE STREAM slow AS SELECT * FROM readings WHERE speed < 100;');
  const page = await open(server, '#/queries');
  const row = page.locator('tr', { hasText: 'CSAS_SLOW' });
  await row.locator('input[type=checkbox]').check();
  await page.getByRole('button', { name: 'Pause' }).click();
  await row.getByText('Paused').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await row.getByText('Running').waitFor();
  await page.getByRole('button', { name: 'Terminate' }).click();
  await page.getByRole('dialog').getByText('There is no undo').waitFor();
  await page.keyboard.press('Escape');
  equal(await row.count(), 1, 'the query runs on');
  await page.getByRole('button', { name: 'Terminate' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Terminate' }).click();
  await until('the query is gone', async () => (await row.count()) === 0);
  await close(page);
});

check('shows the numbers of the engine', async server => {
  const page = await open(server);
  await page.locator('.figures').waitFor();
  const { queries, topics } = await server.get('/api/v1/overview');
  await page.locator('.tile', { hasText: 'Topics' }).getByText(String(topics), { exact: true }).waitFor();
  await page.locator('.tile', { hasText: 'Queries' }).getByText(String(queries.running), { exact: false }).first().waitFor();
  await close(page);
});

check('works by keys alone', async server => {
  const page = await open(server);
  await page.locator('.nav').waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await page.keyboard.type('workb');
  await page.keyboard.press('Enter');
  await page.locator('[data-editor]').waitFor();
  await page.goto(`${server.url}/console/#/queries`);
  await page.getByRole('heading', { name: 'Queries' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await page.getByRole('heading', { name: 'Topics' }).waitFor();
  await page.keyboard.press('/');
  assert(await page.evaluate(() => document.activeElement.matches('[data-filter]')), '/ moves to the filter');
  await page.keyboard.press('Tab');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await until('the dialog closes', async () => (await page.getByRole('dialog').count()) === 0);
  await close(page);
});

const PAGES = ['', 'sql', 'queries', 'query/CSAS_FAST_1', 'graph', 'graph?view=table', 'topics', 'topic/readings', 'topic/readings?tab=produce', 'problems', 'sources', 'source/READINGS', 'server', 'server?tab=statements'];

check('mends a bad record: found under Problems, edited, written again', async server => {
  await server.ksql("CREATE STREAM laps (car VARCHAR KEY, lap INT) WITH (KAFKA_TOPIC='laps', VALUE_FORMAT='JSON', PARTITIONS=1); CREATE STREAM fine AS SELECT * FROM laps;");
  const body = JSON.stringify({ records: [{ key: 'porsche', value: '{"LAP": "three"}', as: 'text', headers: [{ key: 'from', value: 'pit' }] }] });
  await fetch(`${server.url}/api/v1/topics/laps/records`, { method: 'POST', body });
  const page = await open(server, '#/problems');
  const row = page.locator('tr', { hasText: 'laps' });
  await row.getByText('LAP', { exact: false }).first().waitFor();
  await row.getByRole('button', { name: 'Edit and write again' }).click();
  const dialog = page.getByRole('dialog');
  const value = dialog.getByLabel('Value', { exact: true });
  equal([await value.inputValue(), await dialog.getByLabel('Key', { exact: true }).inputValue(), await dialog.locator('textarea').nth(1).inputValue()], ['{"LAP": "three"}', 'porsche', 'from=pit'], 'the record as it was written');
  await value.fill('{"LAP": 3}');
  await dialog.getByRole('button', { name: 'Write', exact: true }).click();
  await page.getByText('Written to partition 0 at offset 1').waitFor();
  await until('the query has read it', async () => (await server.get('/api/v1/queries')).queries.find(query => query.id.startsWith('CSAS_FINE'))?.rowsOut === 1);
  await close(page);
});

check('keeps only the rows in sight of a long table in the page', async server => {
  const page = await open(server);
  const topics = Array.from({ length: 5000 }, (_, n) => ({ name: `topic-${String(n).padStart(4, '0')}`, partitions: 1, replicas: 1, records: n, bytes: n, retentionMillis: null, readBy: [], writtenBy: [], internal: false }));
  await page.route('**/api/v1/topics', route => route.fulfill({ json: { topics } }));
  await page.evaluate(() => { location.hash = '#/topics'; });
  await page.getByText('topic-0000').waitFor();
  assert((await page.locator('table.data tbody tr').count()) < 100, 'few rows are in the page');
  await page.locator('.table-box').evaluate(box => { box.scrollTop = box.scrollHeight; });
  await page.getByText('topic-4999').waitFor();
  await close(page);
});

check('has two logins on two ports of one host', async () => {
  const users = join(folder, 'two-users');
  execFileSync(tidegate, ['user', 'carol', 'reader', '--file', users], { input: 'carol-secret\n', stdio: ['pipe', 'ignore', 'ignore'] });
  const servers = await Promise.all([1, 2].map(() => Server.start(tidegate, ['--temp', '--users', users])));
  const context = await browser.newContext({ locale: 'en-GB' });
  const pages = [];
  for (const server of servers) {
    const page = await open(server, '', { context });
    await page.getByLabel('User').fill('carol');
    await page.locator('input[name=password]').fill('carol-secret');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('.who', { hasText: 'carol' }).waitFor();
    pages.push(page);
  }
  await pages[0].reload();
  await pages[0].locator('.who', { hasText: 'carol' }).waitFor();
  for (const page of pages) await close(page);
  await context.close();
  for (const server of servers) await server.kill();
});

check('has 32 live results over https', async () => {
  if (spawnSync('openssl', ['version']).error) {
    console.log('     SKIPPED: no openssl makes a certificate here');
    return;
  }
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'ignore' });
  const server = await Server.start(tidegate, ['--temp', '--tls-cert', cert, '--tls-key', key], '127.0.0.1:0', 'https');
  const context = await browser.newContext({ locale: 'en-GB', ignoreHTTPSErrors: true });
  const page = await open(server, '', { context });
  await page.locator('.nav').waitFor();
  const states = await page.evaluate(async () => {
    const send = (path, body) => fetch(path, { method: 'POST', body: JSON.stringify(body) });
    await send('/ksql', { ksql: "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1); INSERT INTO s VALUES (1);" });
    const { Live } = await import('./parts/live.js');
    const wait = done => new Promise(resolve => { const timer = setInterval(() => { if (done()) { clearInterval(timer); resolve(); } }, 20); });
    const start = () => new Live('SELECT * FROM s EMIT CHANGES;', { properties: { 'auto.offset.reset': 'earliest' } });
    const lives = Array.from({ length: 32 }, start);
    await wait(() => lives.every(live => live.rows.length === 1 || live.state.value !== 'live' && live.state.value !== 'opening'));
    const more = start();
    await wait(() => more.state.value !== 'opening');
    const begun = performance.now();
    await fetch('/info');
    const found = { live: lives.filter(live => live.state.value === 'live' && live.rows.length === 1).length, more: more.state.value, quick: performance.now() - begun < 5000, protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol };
    lives.forEach(live => live.stop());
    return found;
  });
  equal(states, { live: 32, more: 'refused', quick: true, protocol: 'h2' }, 'live results over HTTP/2');
  await close(page);
  await context.close();
  await server.kill();
});

check('fits a phone, and a window at 200 %', async server => {
  for (const [width, height] of [[390, 844], [640, 400]]) {
    const page = await open(server, '', { width, height, language: 'ko' });
    await page.locator('main h1').waitFor();
    for (const path of PAGES) {
      await page.evaluate(to => { location.hash = `#/${to}`; }, path);
      await page.locator('main h1').waitFor();
      await until('the page is loaded', async () => (await page.locator('.skeleton').count()) === 0);
      const wide = await page.evaluate(() => {
        const inner = document.documentElement.clientWidth;
        const clipped = element => { for (let at = element.parentElement; at; at = at.parentElement) if (/auto|scroll|hidden/.test(getComputedStyle(at).overflowX)) return at.getBoundingClientRect().right <= inner + 1; return false; };
        return [...document.querySelectorAll('main *')].filter(element => element.getBoundingClientRect().right > inner + 1 && element.checkVisibility() && !clipped(element)).slice(0, 3).map(element => `${element.tagName}.${element.className}`);
      });
      equal([wide, await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)], [[], true], `#/${path} at ${width} px`);
    }
    await close(page);
  }
});

check('is accessible on every page, in both themes', async server => {
  for (const theme of ['light', 'dark']) {
    const page = await open(server, '', { theme, language: theme === 'dark' ? 'ko' : 'en' });
    await page.locator('.nav').waitFor();
    await page.evaluate(axe);
    for (const path of PAGES) {
      await page.evaluate(to => { location.hash = `#/${to}`; }, path);
      await page.locator('main h1').waitFor();
      await until('the page is loaded', async () => (await page.locator('.skeleton').count()) === 0);
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations.map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.target.join(' ')).join(', ')}`)));
      equal(found, [], `axe-core on #/${path}, ${theme}`);
    }
    await close(page);
  }
});

check('stays small and quick under a million rows', async server => {
  await server.ksql("CREATE STREAM seeds (n INT) WITH (KAFKA_TOPIC='seeds', VALUE_FORMAT='JSON', PARTITIONS=1);" + Array.from({ length: 100 }, (_, n) => `INSERT INTO seeds VALUES (${n});`).join(''));
  const page = await open(server, '#/sql');
  await type(page, 'SELECT EXPLODE(GENERATE_SERIES(1, 10000)) AS n FROM seeds EMIT CHANGES;');
  await browser.startTracing(page, { categories: ['toplevel'] });
  await page.locator('[data-run]').click();
  await until('a million rows', async () => (await page.locator('.live-facts').textContent()).includes('1,000,000 rows'));
  const heap = await page.evaluate(() => performance.memory.usedJSHeapSize);
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const mains = new Set(traceEvents.filter(event => event.args?.name === 'CrRendererMain').map(event => `${event.pid}/${event.tid}`));
  // Processor time: on a loaded machine a task is interrupted for longer than it takes.
  const longest = Math.max(0, ...traceEvents.filter(event => mains.has(`${event.pid}/${event.tid}`) && event.tdur).map(event => event.tdur)) / 1000;
  console.log(`     heap ${Math.round(heap / 1e6)} MB, longest task ${Math.round(longest)} ms of processor time`);
  assert(heap < 300e6, `heap of ${heap} bytes`);
  assert(longest > 0 && longest <= 100, `a task of ${longest} ms`);
  await close(page);
}, { long: true });

const server = await Server.start(tidegate, ['--temp']);
await server.ksql(READINGS + insert('porsche', 210.5) + insert('포르쉐', 180));
let failed = 0;
for (const { name, run, long } of checks) {
  if (names.length > 0 ? !names.some(one => name.includes(one)) : long && !process.env.CONSOLE_LONG) continue;
  const start = Date.now();
  try {
    await run(server);
    console.log(`ok   ${name} (${Date.now() - start} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
  }
}
await browser.close();
await server.kill();
rmSync(folder, { recursive: true, force: true });
process.exit(failed > 0 ? 1 : 0);
