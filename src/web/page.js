// The live page: one socket in Endrpi's dialect shows the readings, the pins and the events.
//
// The fleet has a file of its own, fleet.js. From the top: the link (connect, ask, lose, try again), the key, the readings, the pins, the events.
// Whatever comes from the daemon enters the page as text and never as markup.
'use strict';

/** How often readings and lines are asked for. Levels and what other processes do come as events as well; directions
 * that other clients change, leases and counters of edges do not. */
const POLL_MS = 3000;
/** How long an answer may take before the link counts as lost. */
const ANSWER_MS = 8000;
/** The first and the longest wait before the next try. */
const [RETRY_FIRST_MS, RETRY_MOST_MS] = [500, 30_000];
/** Lines kept in the list of events, and characters shown of each. */
const [MOST_EVENTS, MOST_CHARACTERS] = [200, 1000];
/** What the page listens to by itself. */
const OWN_TOPICS = ['gpio.**', 'node.**', 'system.**'];

const $ = (id) => document.getElementById(id);
const base = new URL('./', location.href);

function element(tag, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// ---- The link ----

const link = { socket: null, open: false, tries: 0, nextId: 1, waiting: new Map(), retry: 0, poll: 0, opening: 0 };

function connect() {
  abandon();
  state('connecting', 'Connecting…');
  const address = new URL(base);
  address.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(address);
  link.socket = socket;
  link.opening = setTimeout(() => lost(socket, 'no answer'), ANSWER_MS);
  socket.onopen = () => greet(socket).catch(() => {}); // a lost link is told by `lost`
  socket.onmessage = (message) => heard(message.data);
  socket.onclose = ({ code, reason }) => lost(socket, reason, code);
}

/** Shows the key, learns whom we talk to, and subscribes. */
async function greet(socket) {
  if (apiKey) await ask('AUTH', { api_key: apiKey });
  platform(await ask('READ_PLATFORM'));
  if (socket !== link.socket) return;
  clearTimeout(link.opening);
  link.open = true;
  document.body.classList.remove('away');
  state('open', 'Connected');
  watchFleet();
  notice('');
  $('forget').hidden = !apiKey;
  const subscribed = await ask('SUBSCRIBE', { topics: [...OWN_TOPICS, ...topics] });
  if (!subscribed.success) notice(reason(subscribed));
  identify();
  poll();
}

/** Sends a request; resolves with its answer, good or bad, and rejects if the link is lost first. */
function ask(action, params) {
  return new Promise((resolve, reject) => {
    const socket = link.socket;
    if (socket?.readyState !== WebSocket.OPEN) return reject(new Error('not connected'));
    const id = link.nextId++;
    const timer = setTimeout(() => lost(socket, 'no answer'), ANSWER_MS);
    link.waiting.set(id, { resolve, reject, timer });
    socket.send(JSON.stringify({ action, params, id }));
  });
}

function heard(text) {
  const message = JSON.parse(text);
  if (message.action === 'EVENT') return happened(message.data);
  const asked = link.waiting.get(message.id);
  if (!asked) return;
  link.waiting.delete(message.id);
  clearTimeout(asked.timer);
  asked.resolve(message);
}

/** Lets go of the socket at once: the Close of a dead connection would take its time. */
function abandon() {
  for (const timer of ['retry', 'poll', 'opening']) {
    clearTimeout(link[timer]);
    link[timer] = 0;
  }
  const { socket, waiting } = link;
  link.socket = null;
  link.open = false;
  leaveFleet();
  link.waiting = new Map();
  if (socket) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
  for (const { reject, timer } of waiting.values()) {
    clearTimeout(timer);
    reject(new Error('the link was lost'));
  }
}

function lost(socket, why, code) {
  if (socket !== link.socket) return;
  abandon();
  document.body.classList.add('away');
  pins.forEach(drawPin);
  // From 4500 on it is of no use to come back with the same key.
  if (code >= 4500 || why.startsWith('Invalid API Key')) return askKey();
  const wait = retryDelay(link.tries++, Math.random());
  state('lost', `No connection${why ? ` (${why})` : ''}; next try in ${Math.ceil(wait / 1000)} s`);
  link.retry = setTimeout(connect, wait);
}

/** Doubles from try to try, and is spread so that not all pages come back in the same moment. */
function retryDelay(tries, random) {
  const most = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(tries, 16));
  return most / 2 + (most / 2) * random;
}

/** Somebody looks, or the network is there again: no reason to wait any longer. */
function comeBack() {
  if (link.retry) connect();
}

function state(name, text) {
  $('state').dataset.state = name;
  $('state').textContent = text;
  $('retry').hidden = name !== 'lost';
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

/** Why an answer is a refusal; the daemon can be told to wrap the text in an object. */
function reason(message) {
  return String(message.error?.message ?? message.error ?? 'refused without a reason');
}

async function poll() {
  clearTimeout(link.poll);
  if (!link.open || document.hidden) return;
  try {
    await Promise.all([readings(), readLines(pins.map((pin) => pin.name))]);
    link.tries = 0; // it has lasted: the next loss starts with a short wait
    clearTimeout(link.poll);
    link.poll = setTimeout(poll, POLL_MS);
  } catch { /* the link was lost; the next one polls */ }
}

// ---- The key ----

let apiKey = stored();

function stored() {
  try { return sessionStorage.getItem('pinwire.key') ?? ''; } catch { return ''; }
}

function keep(key) {
  apiKey = key;
  try {
    if (key) sessionStorage.setItem('pinwire.key', key);
    else sessionStorage.removeItem('pinwire.key');
  } catch { /* a browser without storage asks again after each reload */ }
}

function askKey() {
  state('lost', 'An API key is needed');
  $('forget').hidden = true;
  $('ask-why').textContent = apiKey ? 'That key was not accepted.' : '';
  keep('');
  if (!$('ask').open) $('ask').showModal();
}

$('key').addEventListener('submit', (event) => {
  event.preventDefault();
  keep(event.target.elements.key.value.trim());
  event.target.reset();
  $('ask').close();
  connect();
});

// ---- The readings ----

async function readings() {
  const show = {
    UPTIME: (up) => [up.formatted],
    TEMPERATURE: (heat) => [`${heat.systemOnChip.quantity.toFixed(1)} °C`, '', heat.systemOnChip.quantity >= 80],
    MEMORY: (memory) => [`${size(memory.available)} free`, `of ${size(memory.total)}`],
    THROTTLE: throttling,
    FREQUENCY: (rate) => [`ARM ${megahertz(rate.arm)}`, `core ${megahertz(rate.core)}`],
  };
  await Promise.all(Object.entries(show).map(async ([name, words]) => {
    const answer = await ask(`READ_${name}`);
    const place = $(name.toLowerCase());
    const [text, small, alarm] = answer.success ? words(answer.data) : [reason(answer)];
    place.className = answer.success ? (alarm ? 'alarm' : '') : 'missing';
    place.replaceChildren(text, ...(small ? [element('small', { text: small })] : []));
  }));
}

const size = ({ quantity }) => quantity >= 2 ** 20 ? `${(quantity / 2 ** 20).toFixed(1)} GiB` : `${Math.round(quantity / 1024)} MiB`;
const megahertz = ({ quantity }) => `${Math.round(quantity / 1e6)} MHz`;

function throttling(flags) {
  const causes = [
    ['underVoltageDetected', 'underVoltageHasOccurred', 'under-voltage'],
    ['throttling', 'throttlingHasOccurred', 'throttled'],
    ['armFrequencyCapped', 'armFrequencyCappingHasOccurred', 'ARM rate capped'],
    ['softTemperatureLimitActive', 'softTemperatureLimitHasOccurred', 'temperature limit'],
  ];
  const words = (which) => causes.filter((cause) => flags[cause[which]]).map((cause) => cause[2]).join(', ');
  const [now, before] = [words(0), words(1)];
  return [now || 'none', before ? `since boot: ${before}` : '', Boolean(now)];
}

let simulated = false;

function platform(answer) {
  if (!answer.success) return void ($('machine').textContent = reason(answer));
  const { model, machineType, networkName, operatingSystem: system, gpio } = answer.data;
  if ($('node').textContent === 'Pinwire') $('node').textContent = networkName;
  $('machine').textContent = [model, machineType, `${system.name} ${system.release}`].filter(Boolean).join(' · ');
  simulated = gpio.simulated;
  $('simulated').hidden = !simulated;
  $('simulated').replaceChildren(element('strong', { text: 'Pins are simulated.' }),
    `No real pin is read or switched here. The reason: ${gpio.reason}.`);
  $('pins-hint').textContent = `The 40-pin header as it lies on the board. Press a level to switch an output${
    simulated ? ' or to simulate an input' : ''}.`;
}

/** The daemon's own name for itself; the page does without if it is not told. */
async function identify() {
  try {
    const health = await (await fetch(new URL('health', base))).json();
    $('node').textContent = String(health.node_id);
    document.title = `${health.node_id} · Pinwire`;
    $('state').title = `Pinwire ${health.version}, running for ${health.uptime}`;
  } catch { /* see above */ }
}

// ---- The pins ----

/** What each of the 40 places carries: a BCM number, or a word. */
const HEADER = ['3.3 V', '5 V', 2, '5 V', 3, 'ground', 4, 14, 'ground', 15, 17, 18, 27, 'ground', 22, 23, '3.3 V', 24, 10,
  'ground', 9, 25, 11, 8, 'ground', 7, 'ID EEPROM', 'ID EEPROM', 5, 'ground', 6, 12, 13, 'ground', 19, 16, 26, 20, 'ground', 21];
const MODES = [['FLOATING', 'Input, floating'], ['UP', 'Input, pull-up'], ['DOWN', 'Input, pull-down'], ['OUTPUT', 'Output']];

const pins = [];

function buildHeader() {
  HEADER.forEach((what, index) => {
    const side = index % 2 ? 'even' : 'odd';
    const place = element('span', { className: 'place', text: index + 1, title: `pin ${index + 1} of the header` });
    if (typeof what === 'string') {
      $('header').append(element('li', { className: `pin fixed ${side}` }, place, element('span', { className: 'name', text: what })));
      return;
    }
    const name = `GPIO${what}`;
    const pin = { name, resource: name, now: null, wanted: null };
    pin.sub = element('small');
    pin.label = element('span', { className: 'name', text: name });
    pin.mode = element('select', { 'aria-label': `${name} direction and pull` },
      ...MODES.map(([value, text]) => element('option', { value, text })));
    pin.unknown = element('option', { value: 'INPUT', text: 'Input', disabled: '' });
    pin.level = element('button', { type: 'button', className: 'level', role: 'switch', 'aria-checked': 'false', text: '…' });
    pin.row = element('li', { className: `pin ${side}`, id: name }, place, pin.label, pin.level, pin.mode);
    pin.mode.addEventListener('change', () => changeMode(pin));
    pin.level.addEventListener('click', () => changeLevel(pin));
    pin.row.addEventListener('animationend', () => pin.row.classList.remove('changed'));
    pins.push(pin);
    drawPin(pin);
    $('header').append(pin.row);
  });
}

function drawPin(pin) {
  const { now } = pin;
  const isOutput = now?.io === 'OUTPUT';
  const pulls = { UP: 'pull-up', DOWN: 'pull-down', FLOATING: 'no pull' };
  // An input's pull stands in its select; an output keeps one too.
  pin.sub.textContent = [pin.resource === pin.name ? '' : pin.name, isOutput ? pulls[now.pull] : '', ...(now ? about(now) : [])]
    .filter(Boolean).join(' · ');
  pin.label.replaceChildren(pin.resource, pin.sub);
  const mode = isOutput ? 'OUTPUT' : now?.io ? now.pull ?? 'INPUT' : 'INPUT';
  if (mode === 'INPUT') pin.mode.append(pin.unknown);
  else pin.unknown.remove();
  if (pin.mode.value !== mode) pin.mode.value = mode;
  const why = now ? untouchable(now) : '';
  pin.row.title = why;
  pin.mode.disabled = !now || !link.open || Boolean(why);
  const known = typeof now?.state === 'number';
  pin.level.textContent = !known ? '?' : now.pwm ? `${Math.round(now.state * 100)} %` : now.state ? 'High' : 'Low';
  pin.level.setAttribute('aria-checked', String(Boolean(now?.state)));
  pin.level.setAttribute('aria-label', `${pin.name} ${isOutput ? 'output' : simulated ? 'simulated input' : 'input'}`);
  pin.level.title = now?.pwm ? `PWM at ${now.pwm.frequency} Hz, made by ${now.pwm.source}` : '';
  pin.level.classList.toggle('input', !isOutput);
  pin.level.disabled = !now || !link.open || Boolean(why) || !(isOutput || simulated);
}

/** What is worth saying of a line besides its direction and level. */
function about({ activeLow, consumer, leasedBy, sequence, pwm, edges }) {
  const { rising, falling, lost } = edges;
  return [
    activeLow && 'active low',
    consumer && `held by ${consumer}`,
    leasedBy && `leased by ${leasedBy}`,
    sequence && 'plays a sequence',
    pwm && `PWM ${pwm.frequency} Hz`,
    rising + falling > 0 && `↑${rising} ↓${falling}`,
    lost > 0 && `${lost} edges lost`,
  ];
}

/** Why nobody can switch the line from here; nothing if one can. */
function untouchable({ allowed, consumer }) {
  if (!allowed) return 'The configuration keeps clients away from this line.';
  return consumer ? `Held by ${consumer}.` : '';
}

async function readLines(names) {
  const answer = await ask('READ_LINES', { pins: names });
  if (!answer.success) return notice(reason(answer));
  for (const pin of pins) {
    if (!(pin.name in answer.data)) continue;
    pin.now = answer.data[pin.name];
    pin.resource = pin.now.resource;
    drawPin(pin);
  }
}

const stale = new Set();
let looking = false;

/** Something happened to lines that a level does not tell: looks again, once for all that comes in the meantime. */
async function lookAgain(numbers) {
  pins.filter(({ name }) => numbers.some((number) => name === `GPIO${number}`)).forEach(({ name }) => stale.add(name));
  if (looking) return;
  looking = true;
  try {
    while (stale.size) {
      const names = [...stale];
      stale.clear();
      await readLines(names);
    }
  } catch {
    stale.clear(); // the link was lost; the next one looks at all of them
  } finally {
    looking = false;
  }
}

async function changeMode(pin) {
  const mode = pin.mode.value;
  // An input that becomes an output keeps its level: nothing behind it jumps.
  await change(pin, 'UPDATE_PIN_CONFIGURATIONS',
    { pins: { [pin.name]: mode === 'OUTPUT' ? { io: mode, state: pin.now?.state ?? 0 } : { io: 'INPUT', pull: mode } } });
}

async function changeLevel(pin) {
  // A second click before the first answer takes the first one back.
  const wanted = pin.wanted = (pin.wanted ?? pin.now.state) ? 0 : 1;
  if (pin.now.io === 'OUTPUT') {
    await change(pin, 'UPDATE_PIN_CONFIGURATIONS', { pins: { [pin.name]: { io: 'OUTPUT', state: wanted } } });
  } else {
    await change(pin, 'SIMULATE_INPUT', { pin: pin.name, level: wanted ? 'high' : 'low' });
  }
}

/** Asks for a change and shows what came of it, not what was wished. */
async function change(pin, action, params) {
  try {
    const [answer] = await Promise.all([ask(action, params), readLines([pin.name])]);
    notice(answer.success ? '' : `${pin.name}: ${reason(answer)}`);
  } catch {
    notice(`${pin.name}: the link was lost before the answer came`);
  } finally {
    pin.wanted = null;
  }
}

function pinChanged({ pin: number, resource, state: level, pwm_duty: percent }) {
  const pin = pins.find((candidate) => candidate.name === `GPIO${number}`);
  if (!pin?.now) return;
  pin.resource = String(resource);
  pin.now = { ...pin.now, state: percent === undefined ? Number(level === 'high') : percent / 100 };
  if ((percent === undefined) === Boolean(pin.now.pwm)) lookAgain([number]); // PWM has begun or ended
  drawPin(pin);
  pin.row.classList.add('changed');
}

// ---- The events ----

const topics = [];
const log = { fresh: [], paused: false, drawing: 0, skipped: 0 };

function happened(event) {
  if (event.topic === 'gpio.state.changed') pinChanged(event.data);
  if (event.topic === 'gpio.line.changed') lookAgain([event.data.pin]);
  if (event.topic === 'gpio.lease.expired') lookAgain(event.data.pins);
  log.fresh.push(event);
  if (log.fresh.length > MOST_EVENTS) {
    log.fresh.shift();
    log.skipped++;
  }
  log.drawing ||= requestAnimationFrame(drawEvents); // once a frame, however many there are
}

function drawEvents() {
  log.drawing = 0;
  $('held').textContent = [log.paused && log.fresh.length ? `${log.fresh.length} waiting` : '',
    log.skipped ? `${log.skipped} not shown` : ''].filter(Boolean).join(', ');
  if (log.paused) return;
  const list = $('events');
  list.prepend(...log.fresh.splice(0).reverse().map((event) => element('li', {},
    element('time', { datetime: event.timestamp, text: clock(event.timestamp) }),
    element('b', { text: event.topic }), words(event))));
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
}

function clock(timestamp) {
  const at = new Date(timestamp);
  return isNaN(at) ? String(timestamp) : `${at.toLocaleTimeString('en-GB')}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

function words({ topic, data }) {
  const named = (resource, number) => resource === `GPIO${number}` ? resource : `${resource} (GPIO${number})`;
  if (topic === 'gpio.state.changed') {
    return [`${named(data.resource, data.pin)} ${data.state}`,
      data.pwm_duty === undefined ? '' : `${data.pwm_duty} %`,
      data.edges === undefined ? '' : `${data.edges} edges in ${data.period_ms} ms`,
      data.lost ? `${data.lost} edges lost` : ''].filter(Boolean).join(', ');
  }
  if (topic === 'gpio.line.changed') {
    return `${named(data.resource, data.pin)} ${data.change}${data.consumer ? ` by ${data.consumer}` : ''}`;
  }
  if (topic === 'gpio.lease.expired') {
    const lines = data.pins.map((number, index) => named(data.resources[index], number)).join(', ');
    return `${lines}: lease of ${data.holder} over, ${data.reason}`;
  }
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function drawTopics() {
  const own = OWN_TOPICS.map((topic) => element('li', {}, element('code', { text: topic })));
  $('topics').replaceChildren(...own, ...topics.map((topic) => {
    const remove = element('button', { type: 'button', text: '✕', 'aria-label': `Unsubscribe from ${topic}` });
    remove.addEventListener('click', () => unsubscribe(topic));
    return element('li', {}, element('code', { text: topic }), remove);
  }));
}

function say(place, text, wrong = false) {
  $(place).textContent = text;
  $(place).className = wrong ? 'wrong' : '';
}

async function subscribe(topic) {
  if ([...OWN_TOPICS, ...topics].includes(topic)) return say('subscribed', 'Already in the list.');
  try {
    const answer = await ask('SUBSCRIBE', { topics: [topic] });
    if (!answer.success) return say('subscribed', reason(answer), true);
    topics.push(topic);
    drawTopics();
    say('subscribed', '');
    $('subscribe').reset();
  } catch (error) {
    say('subscribed', `Not subscribed: ${error.message}`, true);
  }
}

async function unsubscribe(topic) {
  topics.splice(topics.indexOf(topic), 1);
  drawTopics();
  try { await ask('UNSUBSCRIBE', { topics: [topic] }); } catch { /* the next link will not subscribe to it */ }
}

async function publish(event, data) {
  try {
    const headers = { 'Content-Type': 'application/json', 'X-API-Client-Name': 'live page' };
    if (apiKey) headers['X-API-Key'] = apiKey;
    const body = JSON.stringify({ event, data });
    const answer = await fetch(new URL('publish', base), { method: 'POST', headers, body });
    if (answer.ok) return say('published', `Published at ${clock(Date.now())}.`);
    say('published', (await answer.text()).trim() || `Refused with ${answer.status}`, true);
  } catch (error) {
    say('published', `Not published: ${error.message}`, true);
  }
}

$('publish').addEventListener('submit', (event) => {
  event.preventDefault();
  const { event: name, data } = event.target.elements;
  publish(name.value, data.value);
});
$('subscribe').addEventListener('submit', (event) => {
  event.preventDefault();
  subscribe(event.target.elements.topic.value);
});
$('pause').addEventListener('click', () => {
  log.paused = !log.paused;
  $('pause').setAttribute('aria-pressed', String(log.paused));
  $('pause').textContent = log.paused ? 'Go on' : 'Pause';
  drawEvents();
});
$('clear').addEventListener('click', () => {
  log.fresh = [];
  log.skipped = 0;
  $('events').replaceChildren();
  drawEvents();
});
$('retry').addEventListener('click', connect);
$('forget').addEventListener('click', () => { keep(''); connect(); });
addEventListener('online', comeBack);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  comeBack();
  poll();
  lookAtFleet();
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  logIn(event.target);
});
$('logout').addEventListener('click', logOut);

buildHeader();
drawTopics();
connect();
