// The live page and the API's description in a real Chromium, against a real daemon.
//
//   node page.mjs PATH_TO_PINWIRE [PATH_TO_CHROMIUM]
//
// Exit 0 if all holds, 1 with the reason if not. Every wait is for an event and has the one limit; nothing sleeps.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const LIMIT_MS = 20_000;
const [binary, executablePath = '/usr/bin/chromium'] = process.argv.slice(2);
if (!binary) {
  console.error('usage: node page.mjs PATH_TO_PINWIRE [PATH_TO_CHROMIUM]');
  process.exit(1);
}

const dir = await mkdtemp(join(tmpdir(), 'pinwire-browser-'));
const running = new Set();

/** Starts the daemon on `listen` and waits for its ready line. */
async function start(listen, ...flags) {
  const { API_KEY, PORT, USE_TLS, CERT_FILE, KEY_FILE, ...env } = process.env;
  const child = spawn(binary, ['serve', '--listen', listen, '--gpio', 'sim', ...flags], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const lines = createInterface({ input: child.stdout });
  const [line] = await once(lines, 'line', { signal: AbortSignal.timeout(LIMIT_MS) });
  const url = line.replace('listening on ', '');
  return { url, listen: new URL(url).host, child };
}

async function stop({ child }) {
  running.delete(child);
  const ended = once(child, 'exit', { signal: AbortSignal.timeout(LIMIT_MS) });
  child.kill('SIGTERM');
  assert.equal((await ended)[0], 0, 'the daemon ends with 0');
}

/** A page whose every complaint (an exception, a blocked resource, an unexpected console error) is remembered. */
async function open(browser, url, options = {}) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(LIMIT_MS);
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  await page.goto(url);
  return page;
}

/** Writes a file only we may read, and returns its path. */
async function file(name, text) {
  const path = join(dir, name);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

/** A hub that is no server itself, and its REST; who asks shows this token, or the key of these tests. */
async function fleetHub(...flags) {
  const state = await mkdtemp(join(dir, 'state-'));
  const config = await file('hub.toml', 'auth.open_registration = true\n[hub]\nown_server = false\n');
  const daemon = await start('127.0.0.1:0', '--config', config, '--state-dir', state, ...flags);
  const api = async (method, path, body, token = flags.length ? 'open-sesame' : undefined) => {
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
    const answer = await fetch(`${daemon.url}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  };
  return { daemon, api };
}

/** An agent that is nothing but a socket, let in. It lives in a page of its own, where there are sockets. */
async function fleetAgent(browser, daemon, key) {
  const page = await open(browser, `${daemon.url}/docs`);
  await page.evaluate(() => {
    const socket = new WebSocket(new URL('api/v1/agents/ws', location.href.replace('http', 'ws')));
    const opened = new Promise((resolve) => { socket.onopen = resolve; });
    // Sends a message and waits for an answer of this type.
    globalThis.tell = async (message, answer) => {
      await opened;
      await new Promise((resolve) => {
        socket.onmessage = ({ data }) => JSON.parse(data).type === answer && resolve();
        socket.send(JSON.stringify(message));
      });
    };
  });
  const tell = (message, answer) => page.evaluate(([said, heard]) => globalThis.tell(said, heard), [message, answer]);
  await tell({ type: 'auth', api_key: key }, 'auth_success');
  return (members) => tell({ type: 'metrics', ...members }, 'metrics_received');
}

const connected = (page) => page.locator('#state[data-state=open]').waitFor();
const level = (page, pin, name) => page.locator(`#${pin} .level`, { hasText: name });
const event = (page, text) => page.locator('#events li', { hasText: text }).first();

const tests = {
  async 'a click switches an output and its event arrives'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    assert.match(await page.locator('#simulated').innerText(), /Pins are simulated/);
    assert.equal(await page.locator('#header li').count(), 40);
    await page.locator('#GPIO17 select').selectOption('OUTPUT');
    await level(page, 'GPIO17', 'Low').click();
    await level(page, 'GPIO17', 'High').waitFor();
    await event(page, 'GPIO17 high').waitFor();
    const pin = await (await fetch(`${daemon.url}/pins/GPIO17`)).json();
    assert.deepEqual(pin, { io: 'OUTPUT', state: 1, pull: 'FLOATING' });
    await page.locator('#GPIO17 .level').press('Space');
    await event(page, 'GPIO17 low').waitFor();
    assert.deepEqual(page.complaints, []);
    await stop(daemon);
  },

  async 'an input is simulated, a pull is set, and what the daemon refuses is told'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    await level(page, 'GPIO4', 'Low').click();
    await event(page, 'GPIO4 high').waitFor();
    await page.locator('#GPIO4 select').selectOption('DOWN');
    await event(page, 'GPIO4 low').waitFor();
    assert.equal((await (await fetch(`${daemon.url}/pins/GPIO4`)).json()).pull, 'DOWN');
    await page.locator('#GPIO2 select').selectOption('DOWN');
    await page.locator('#notice', { hasText: 'GPIO2: ' }).waitFor();
    assert.equal(await page.locator('#GPIO2 select').inputValue(), 'UP', 'the page shows what is, not what was wished');
    assert.deepEqual(page.complaints, []);
    await stop(daemon);
  },

  async 'what another client does is seen without a reload'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    const set = await fetch(`${daemon.url}/pins/GPIO22`, {
      method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"io":"OUTPUT","state":1}',
    });
    assert.equal(set.status, 200);
    await level(page, 'GPIO22', 'High').waitFor();
    await page.locator('#GPIO22 small', { hasText: 'no pull' }).waitFor(); // that it is an output now
    await stop(daemon);
  },

  async 'a line says who has it and what plays on it, and keeps still where it is not ours'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    await level(page, 'GPIO18', 'Low').waitFor();
    // The simulation has no other processes, so the page is told of them by hand: in one go, before it asks again.
    const drawn = await page.evaluate(() => {
      const pin = pins.find(({ name }) => name === 'GPIO18');
      const plain = pin.now;
      const draw = (more) => {
        pin.now = { ...plain, ...more };
        drawPin(pin);
        const { sub, level, mode, row } = pin;
        return { sub: sub.textContent, level: level.textContent, off: level.disabled && mode.disabled, why: row.title };
      };
      return {
        pwm: draw({ io: 'OUTPUT', state: 0.25, pwm: { frequency: 100, duty: 0.25, source: 'software' } }),
        foreign: draw({ io: null, state: null, pull: null, consumer: 'spi0 CS1' }),
        denied: draw({ allowed: false }),
        leased: draw({ leasedBy: 'panel', sequence: '7', edges: { rising: 3, falling: 2, lost: 1, summarised: 0 } }),
      };
    });
    assert.deepEqual(drawn.pwm, { sub: 'no pull · PWM 100 Hz', level: '25 %', off: false, why: '' });
    assert.deepEqual(drawn.foreign, { sub: 'held by spi0 CS1', level: '?', off: true, why: 'Held by spi0 CS1.' });
    assert.ok(drawn.denied.off && drawn.denied.why);
    assert.equal(drawn.leased.sub, 'leased by panel · plays a sequence · ↑3 ↓2 · 1 edges lost');
    assert.deepEqual(page.complaints, []);
    await stop(daemon);
  },

  async 'published text stays text, whatever is in it'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    await page.locator('#subscribe input').fill('door.*');
    await page.locator('#subscribe button').click();
    await page.locator('#topics', { hasText: 'door.*' }).waitFor();
    const nasty = '<img src=x onerror="document.title=1"><b>open</b>';
    await page.locator('#publish input[name=event]').fill('door.<i>front</i>');
    await page.locator('#publish input[name=data]').fill(nasty);
    await page.locator('#publish button').click();
    const line = event(page, nasty);
    await line.waitFor();
    assert.match(await line.innerText(), /door\.<i>front<\/i>/);
    assert.equal(await page.locator('#events img, #events i').count(), 0);
    await page.locator('#publish input[name=event]').fill('gpio.mine');
    await page.locator('#publish button').click();
    await page.locator('#published.wrong', { hasText: "the daemon's own" }).waitFor();
    await page.getByRole('button', { name: 'Unsubscribe from door.*' }).click();
    await page.locator('#topics', { hasText: 'door' }).waitFor({ state: 'hidden' });
    // The refused publish is a 400 that Chromium writes to the console by itself.
    assert.deepEqual(page.complaints.filter((text) => !text.includes('400')), []);
    await stop(daemon);
  },

  async 'a flood of events is shown once each, and the list stays short'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    await connected(page);
    for (const topic of ['**', 'flood.*']) { // both select the same events
      await page.locator('#subscribe input').fill(topic);
      await page.locator('#subscribe button').click();
      await page.getByRole('button', { name: `Unsubscribe from ${topic}`, exact: true }).waitFor();
    }
    for (let number = 1; number <= 300; number++) {
      const body = JSON.stringify({ event: 'flood.test', data: `number ${number}.` });
      await fetch(`${daemon.url}/publish?clientName=test`, { method: 'POST', body });
    }
    await event(page, 'number 300.').waitFor();
    assert.equal(await page.locator('#events li', { hasText: 'number 299.' }).count(), 1);
    assert.equal(await page.locator('#events li').count(), 200);
    await level(page, 'GPIO4', 'Low').click();
    await event(page, 'GPIO4 high').waitFor();
    await stop(daemon);
  },

  async 'a daemon that restarts is found again, with everything subscribed'(browser) {
    const first = await start('127.0.0.1:0');
    const page = await open(browser, first.url);
    await connected(page);
    await page.locator('#subscribe input').fill('bell');
    await page.locator('#subscribe button').click();
    await page.locator('#topics', { hasText: 'bell' }).waitFor();
    await stop(first);
    await page.locator('#state[data-state=lost]').waitFor();
    assert.ok(await page.locator('#GPIO17 .level').isDisabled(), 'nothing can be switched without a link');
    const second = await start(first.listen);
    await connected(page);
    const [answer] = await Promise.all([
      fetch(`${second.url}/publish?clientName=test`, { method: 'POST', body: '{"event":"bell","data":"again"}' }),
      event(page, 'again').waitFor(),
    ]);
    assert.equal(answer.status, 201);
    await stop(second);
  },

  async 'a key is asked for, refused if wrong, kept for the tab, and forgotten on request'(browser) {
    const file = join(dir, 'key');
    await writeFile(file, 'open-sesame\n', { mode: 0o600 });
    const daemon = await start('127.0.0.1:0', '--api-key-file', file);
    const page = await open(browser, daemon.url);
    const field = page.locator('#key input');
    await field.fill('wrong');
    await field.press('Enter');
    await page.locator('#ask-why', { hasText: 'not accepted' }).waitFor();
    await field.fill('open-sesame');
    await field.press('Enter');
    await connected(page);
    await page.locator('#publish input[name=event]').fill('door');
    await page.locator('#publish button').click();
    await page.locator('#published', { hasText: 'Published' }).waitFor();
    await page.reload();
    await connected(page);
    assert.ok(!page.url().includes('sesame'));
    await page.locator('#forget').click();
    await page.locator('#ask[open]').waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await stop(daemon);
  },

  async 'the fleet shows a server, its live sample and its alerts'(browser) {
    const { daemon, api } = await fleetHub('--api-key-file', await file('fleet.key', 'open-sesame\n'));
    const { id } = await api('POST', 'servers', { name: '<b>pi1</b>' });
    await api('POST', 'alerts/thresholds', { server_id: id, metric_type: 'cpu', threshold_value: 80, comparison: 'gt' });
    const sample = await fleetAgent(browser, daemon, (await api('POST', 'api-keys', { server_id: id })).key);
    await sample({ cpu_percent: 42.4, memory_percent: 10, disk_usage: [{ path: '/', percent: 33 }] });
    const page = await open(browser, daemon.url);
    await page.locator('#key input').fill('open-sesame');
    await page.locator('#key input').press('Enter');
    await connected(page);
    const row = page.locator('#servers .server[data-status=online]');
    await row.locator('b', { hasText: '<b>pi1</b>' }).waitFor();
    await row.locator('.quiet', { hasText: 'CPU 42 % · memory 10 % · disk 33 %' }).waitFor();
    await page.locator('#no-alerts').waitFor();
    await sample({ cpu_percent: 85 });
    await row.locator('.quiet', { hasText: /^CPU 85 %$/ }).waitFor();
    const alert = page.locator('#alerts .alert[data-severity=warning]', { hasText: 'CPU usage is 85.0%' });
    await alert.getByRole('button', { name: 'Seen' }).click();
    await alert.locator('.quiet', { hasText: 'seen' }).waitFor();
    await alert.getByRole('button', { name: 'Resolve' }).click();
    await page.locator('#no-alerts').waitFor();
    assert.deepEqual(await api('GET', 'alerts?status=active'), []);
    await page.setViewportSize({ width: 360, height: 740 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360, 'it fits a phone');
    assert.deepEqual(page.complaints.filter((text) => !text.includes('401')), []); // before the key was shown
    await stop(daemon);
  },

  async 'a user logs in, sees own servers alone, and logs out'(browser) {
    const { daemon, api } = await fleetHub();
    const password = 'correct horse battery';
    const [ann] = await Promise.all(['ann', 'ben'].map((username) => api('POST', 'auth/register',
      { email: `${username}@example.org`, username, password, password_confirm: password })));
    await api('POST', 'servers', { name: 'of-ann' }, ann.access_token);
    const page = await open(browser, daemon.url);
    await connected(page);
    const [name, word] = [page.locator('#login input[name=username]'), page.locator('#login input[name=password]')];
    await name.fill('ann');
    await word.fill('wrong');
    await word.press('Enter');
    await page.locator('#fleet-note', { hasText: 'Incorrect' }).waitFor();
    await word.fill(password);
    await word.press('Enter');
    await page.locator('#servers .server', { hasText: 'of-ann' }).waitFor();
    await page.reload();
    await page.locator('#servers .server', { hasText: 'of-ann' }).waitFor();
    await page.locator('#logout').click();
    await name.waitFor();
    assert.equal(await page.locator('#servers .server').count(), 0);
    await name.fill('ben@example.org');
    await word.fill(password);
    await word.press('Enter');
    await page.locator('#logout').waitFor();
    assert.equal(await page.locator('#servers .server').count(), 0);
    await stop(daemon);
  },

  async 'the description is drawn from our own files alone'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url);
    const foreign = [];
    page.on('request', (request) => request.url().startsWith('http') && !request.url().startsWith(daemon.url) && foreign.push(request.url()));
    await page.goto(`${daemon.url}/docs#updatePin`);
    await page.locator('#updatePin[open]').waitFor();
    const { paths } = await (await fetch(`${daemon.url}/openapi.json`)).json();
    const operations = Object.values(paths).flatMap((path) => Object.keys(path).filter((name) => name !== 'parameters'));
    assert.equal(await page.locator('details').count(), operations.length);
    assert.match(await page.locator('#updatePin pre').first().innerText(), /curl -X PUT .*\/pins\/GPIO17$/);
    assert.deepEqual([...foreign, ...page.complaints], []);
    await stop(daemon);
  },

  async 'the page fits a phone'(browser) {
    const daemon = await start('127.0.0.1:0');
    const page = await open(browser, daemon.url, { viewport: { width: 360, height: 740 } });
    await connected(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `nothing sticks out: ${width}`);
    await stop(daemon);
  },
};

const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath, chromiumSandbox: false, args: quiet, timeout: LIMIT_MS });
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test(browser);
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}\n${error.stack}`);
  }
  for (const context of browser.contexts()) await context.close();
  for (const child of running) child.kill('SIGKILL');
  running.clear();
}
await browser.close();
await rm(dir, { recursive: true });
console.log(failed ? `${failed} failed` : 'all passed');
process.exitCode = failed ? 1 : 0;
