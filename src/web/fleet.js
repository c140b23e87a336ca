// The fleet on the live page: servers with their latest samples, and the alerts that are open.
//
// Lists come by REST and are looked at again now and then; samples and alerts come by a socket per server. Who may look is
// shown by the page's API key, by a login, or need not be shown. Loaded before page.js, which says when to begin.
'use strict';

/** How often servers and alerts are asked for. */
const FLEET_MS = 10_000;
/** Servers whose samples are shown live; of more, only the state is. */
const MOST_LIVE = 12;
/** What one look asks for. */
const [MOST_SERVERS, MOST_ALERTS] = [200, 100];

const fleet = { on: false, timer: 0, rows: new Map(), alerts: new Map(), tokens: null };

/** The link to the daemon stands: shows the fleet, if there is one. */
function watchFleet() {
  fleet.on = true;
  fleet.tokens ??= storedTokens();
  lookAtFleet();
}

/** The link is lost, or becomes somebody else's. */
function leaveFleet() {
  fleet.on = false;
  clearTimeout(fleet.timer);
  fleet.rows.forEach(hangUp);
}

async function lookAtFleet() {
  clearTimeout(fleet.timer);
  if (!fleet.on) return;
  try {
    if (!document.hidden) {
      const servers = await api('GET', `servers?limit=${MOST_SERVERS}`);
      const alerts = servers.length ? await api('GET', `alerts?status=active&limit=${MOST_ALERTS}`) : [];
      if (!fleet.on) return;
      $('login').hidden = true;
      $('logout').hidden = !fleet.tokens;
      $('fleet').hidden = !servers.length && !fleet.tokens;
      fleetNote('');
      drawServers(servers);
      fleet.alerts = new Map(alerts.map((alert) => [alert.id, alert]));
      drawAlerts();
    }
  } catch (error) {
    if (!fleet.on) return;
    // A key that may not look at the fleet is in order; the page is about pins as well.
    $('fleet').hidden = error.status === 403 && !fleet.rows.size;
    $('login').hidden = error.status !== 401;
    if (error.status === 401) return askLogin();
    fleetNote(error.message);
  }
  fleet.timer = setTimeout(lookAtFleet, FLEET_MS);
}

/** One request; an access token that has run out is renewed once. */
async function api(method, path, body, again = true) {
  const shown = fleet.tokens?.access ?? apiKey;
  const headers = { 'Content-Type': 'application/json' };
  if (shown) headers.Authorization = `Bearer ${shown}`;
  const answer = await fetch(new URL(`api/v1/${path}`, base), { method, headers, body: body && JSON.stringify(body) });
  if (answer.status === 401 && again && fleet.tokens && await renew()) return api(method, path, body, false);
  const said = answer.status === 204 ? null : await answer.json();
  if (answer.ok) return said;
  const detail = Array.isArray(said.detail) ? said.detail.map(({ msg }) => msg).join('; ') : said.detail;
  throw Object.assign(new Error(String(detail ?? `HTTP ${answer.status}`)), { status: answer.status });
}

// ---- The login ----

function storedTokens() {
  try { return JSON.parse(sessionStorage.getItem('pinwire.tokens')); } catch { return null; }
}

function keepTokens(tokens) {
  fleet.tokens = tokens;
  try {
    if (tokens) sessionStorage.setItem('pinwire.tokens', JSON.stringify(tokens));
    else sessionStorage.removeItem('pinwire.tokens');
  } catch { /* a browser without storage asks again after each reload */ }
}

async function renew() {
  const { refresh } = fleet.tokens;
  keepTokens(null);
  try {
    const { access_token: access } = await api('POST', 'auth/refresh', { refresh_token: refresh }, false);
    keepTokens({ access, refresh });
    return true;
  } catch {
    return false;
  }
}

function askLogin() {
  keepTokens(null);
  fleet.rows.forEach(hangUp);
  drawServers([]);
  fleet.alerts.clear();
  drawAlerts();
  $('fleet').hidden = $('login').hidden = false;
  $('logout').hidden = true;
}

async function logIn(form) {
  const { username, password } = form.elements;
  try {
    const tokens = await api('POST', 'auth/login', { username: username.value, password: password.value }, false);
    form.reset();
    keepTokens({ access: tokens.access_token, refresh: tokens.refresh_token });
    lookAtFleet();
  } catch (error) {
    fleetNote(error.message);
  }
}

async function logOut() {
  try { await api('POST', 'auth/logout'); } catch { /* the tokens are forgotten all the same */ }
  askLogin();
  lookAtFleet();
}

function fleetNote(text) {
  $('fleet-note').textContent = text;
}

// ---- The servers ----

function drawServers(servers) {
  const there = new Set(servers.map(({ id }) => id));
  for (const [id, row] of fleet.rows) {
    if (there.has(id)) continue;
    hangUp(row);
    row.item.remove();
    fleet.rows.delete(id);
  }
  servers.forEach((server, index) => {
    const row = fleet.rows.get(server.id) ?? addRow(server.id);
    row.name.textContent = server.name;
    row.status.textContent = server.status;
    row.item.dataset.status = server.status;
    row.item.dataset.health = server.health_status;
    row.item.title = server.last_seen ? `Last heard of at ${new Date(server.last_seen).toLocaleString()}` : 'Never heard of';
    if (index < MOST_LIVE) listen(server.id, row);
    else hangUp(row);
  });
}

function addRow(id) {
  const row = { socket: null, name: element('b'), status: element('span', { className: 'badge' }) };
  row.readings = element('span', { className: 'quiet' });
  row.item = element('li', { className: 'server', 'data-id': id }, row.name, row.status, row.readings);
  fleet.rows.set(id, row);
  $('servers').append(row.item);
  return row;
}

/** Opens the server's socket unless it is open. One that is lost is opened by the next look. */
function listen(id, row) {
  if (row.socket) return;
  const address = new URL(`api/v1/ws/metrics/${id}`, base);
  address.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = row.socket = new WebSocket(address);
  const token = fleet.tokens?.access ?? apiKey;
  socket.onopen = () => token && socket.send(JSON.stringify({ type: 'auth', token }));
  socket.onclose = () => { if (row.socket === socket) row.socket = null; };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'metrics') row.readings.textContent = sampleWords(message.data);
    if (message.type === 'alert') alerted(message.data);
  };
}

function hangUp(row) {
  const { socket } = row;
  row.socket = null;
  row.readings.textContent = '';
  if (!socket) return;
  socket.onmessage = socket.onclose = null;
  socket.close();
}

/** A sample in a line; what an agent does not say is left out. */
function sampleWords({ cpu_percent: cpu, memory_percent: memory, disk_usage: disks, temperature_celsius: heat }) {
  const percent = (name, value) => typeof value === 'number' && `${name} ${Math.round(value)} %`;
  const fullest = Math.max(...(disks ?? []).map((disk) => disk.percent ?? -1));
  return [
    percent('CPU', cpu),
    percent('memory', memory),
    percent('disk', fullest >= 0 ? fullest : undefined),
    typeof heat === 'number' && `${heat.toFixed(1)} °C`,
  ].filter(Boolean).join(' · ');
}

// ---- The alerts ----

function alerted(alert) {
  if (alert.resolved) fleet.alerts.delete(alert.id);
  else fleet.alerts.set(alert.id, alert);
  drawAlerts();
}

function drawAlerts() {
  const newest = [...fleet.alerts.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
  $('alerts').replaceChildren(...newest.map(alertRow));
  $('no-alerts').hidden = newest.length > 0 || !fleet.rows.size;
}

function alertRow(alert) {
  const { id, severity, message, server_id: server, created_at: at, acknowledged_at: seen } = alert;
  const act = (verb, text) => {
    const button = element('button', { type: 'button', text });
    button.addEventListener('click', async () => {
      try {
        alerted(await api('POST', `alerts/${id}/${verb}`));
        fleetNote('');
      } catch (error) {
        fleetNote(error.message);
      }
    });
    return button;
  };
  const name = fleet.rows.get(server)?.name.textContent ?? 'hub';
  return element('li', { className: 'alert', 'data-severity': severity },
    element('span', { className: 'badge', text: severity }),
    element('span', { className: 'words' }, element('b', { text: name }), ` ${message} `,
      element('time', { datetime: at, className: 'quiet', text: new Date(at).toLocaleString() })),
    ...(seen ? [element('span', { className: 'quiet', text: 'seen' })] : [act('acknowledge', 'Seen')]),
    act('resolve', 'Resolve'));
}
