// Pages that try to use a sidecar on localhost which serves without keys, in
// Chromium: whatever a page can send, none of it reaches HubSpot, and nothing
// of an answer can be read. Chromium's own protection of local addresses is
// off, so that all of it is up to the sidecar.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { acmePortal, onFreePorts } from '../example.mjs';
import { launch } from './chromium.mjs';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));
const flags = [
  '--host-resolver-rules=MAP evil.example 127.0.0.1, MAP crm.internal 127.0.0.1',
  '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable',
];
const key = 'a-key-that-is-long-enough';
const contacts = '/crm/objects/2026-09/contacts';

let folder;
let caddy;
let log = '';
let sidecar;
let sandboxURL;
let attacker;
let attackerPort;
let browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'caddy-hubspot-open-'));
  await onFreePorts(2, ([sidecarPort, sandboxPort]) => {
    sidecar = (host) => `http://${host}:${sidecarPort}`;
    sandboxURL = `http://localhost:${sandboxPort}`;
    return startCaddy(sidecarPort, sandboxPort);
  });
  await connect();
  attacker = createServer((req, res) => {
    res.setHeader('Content-Type', 'text/html');
    const to = new URL(req.url, 'http://x').searchParams.get('to');
    if (to) res.writeHead(302, { Location: to });
    res.end('<!doctype html><title>attacker</title>');
  }).listen(0, '127.0.0.1');
  await once(attacker, 'listening');
  attackerPort = attacker.address().port;
  browser = await launch(...flags);
});
after(async () => {
  await browser?.close();
  attacker?.close();
  if (caddy && caddy.exitCode === null) {
    caddy.kill('SIGINT');
    await once(caddy, 'exit');
  }
  await rm(folder, { recursive: true, force: true });
});

// The sidecar answers under any name, as one does that has a site for all
// names; crm.internal is a name of its own.
async function startCaddy(port, sandboxPort) {
  await writeFile(join(folder, 'Caddyfile'), `{
	admin off
	persist_config off
	auto_https off
	storage file_system data
	servers {
		protocols h1
	}
	hubspot {
		app hbdev {
			client_id {env.HUBSPOT_CLIENT_ID}
			client_secret {env.HUBSPOT_CLIENT_SECRET}
			scopes oauth crm.objects.contacts.read
			optional_scopes crm.objects.contacts.write
			redirect_uri http://localhost:${port}/hubspot/hbdev/callback
		}
		caller tester {
			key {env.CALLER_KEY}
		}
		endpoints {
			api ${sandboxURL}
			authorize ${sandboxURL}/oauth/authorize
		}
	}
}
(sidecar) {
	bind 127.0.0.1
	hubspot_auth
	handle /page {
		header Content-Type text/html
		respond "<!doctype html><title>own</title>"
	}
	handle {
		hubspot_proxy hbdev {
			open
			user acme
		}
	}
}
http://:${port} {
	import sidecar
}
http://crm.internal:${port} {
	import sidecar
}
http://:${sandboxPort} {
	bind 127.0.0.1
	hubspot_sandbox
}
`);
  caddy = spawn(resolve(checkout, process.env.CADDY || 'caddy'), ['run', '--config', 'Caddyfile'], {
    cwd: folder,
    env: {
      ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, CALLER_KEY: key,
      HUBSPOT_CLIENT_ID: '5a4db0c5-0000-4000-8000-00000000de70', HUBSPOT_CLIENT_SECRET: 'a-secret-for-the-sandbox',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [caddy.stdout, caddy.stderr]) stream.setEncoding('utf8').on('data', (text) => { log += text; });
  const deadline = Date.now() + 120_000;
  while (!(await fetch(`${sidecar('localhost')}/page`).catch(() => null))?.ok) {
    if (caddy.exitCode !== null || Date.now() > deadline) throw new Error(`caddy does not serve:\n${log}`);
    await delay(50);
  }
}

async function connect() {
  const link = await fetch(`${sidecar('localhost')}/hubspot/auth/hbdev?userForeignIdentifier=acme`, { headers: { Authorization: `Bearer ${key}` } });
  assert.equal(link.status, 200, log);
  const consent = await fetch(`${(await link.json()).url}&_sandbox_approve=${acmePortal}`, { redirect: 'manual' });
  const callback = await fetch(consent.headers.get('Location'), { headers: { Accept: 'application/json' } });
  assert.equal(callback.status, 200, await callback.text());
}

// reached is how often HubSpot's API was asked, and refused how often the
// sidecar said no.
async function reached() {
  const { endpoints } = await (await fetch(`${sandboxURL}/_sandbox/stats`)).json();
  return Object.entries(endpoints).filter(([name]) => name.includes('/crm/'))
    .flatMap(([, statuses]) => Object.values(statuses)).reduce((sum, n) => sum + n, 0);
}
const refused = () => log.split('refused a request').length - 1;

// What a page can do. Each runs in the page and returns what it could read.
const attempts = {
  'fetch': async (url) => (await fetch(url)).text(),
  'fetch with credentials': async (url) => (await fetch(url, { credentials: 'include' })).text(),
  'fetch without CORS': async (url) => (await fetch(url, { mode: 'no-cors' })).text(),
  'fetch without a referrer': async (url) => (await fetch(url, { mode: 'no-cors', referrerPolicy: 'no-referrer' })).text(),
  'fetch with a header of its own': async (url) => (await fetch(url, { headers: { 'X-HubSpot-User': 'acme' } })).text(),
  'fetch with another method': async (url) => (await fetch(url, { method: 'DELETE' })).text(),
  'post of a text': async (url) => (await fetch(url, { method: 'POST', mode: 'no-cors', body: '{"properties":{}}' })).text(),
  'post of JSON': async (url) => (await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"properties":{}}' })).text(),
  'fetch that outlives the page': async (url) => (await fetch(url, { keepalive: true, method: 'POST', mode: 'no-cors', body: 'x' })).text(),
  'XMLHttpRequest': (url) => new Promise((done) => {
    const xhr = new XMLHttpRequest();
    xhr.onloadend = () => done(xhr.responseText);
    xhr.open('GET', url);
    xhr.send();
  }),
  'beacon': (url) => { navigator.sendBeacon(url, 'x'); return ''; },
  'image': (url) => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(`an image of ${image.width}`);
    image.onerror = () => done('');
    image.src = url;
  }),
  'script': (url) => new Promise((done) => {
    const script = document.createElement('script');
    script.onload = () => done('');
    script.onerror = () => done('');
    script.src = url;
    document.head.append(script);
  }),
  'style sheet': (url) => new Promise((done) => {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.onload = () => done('a style sheet');
    link.onerror = () => done('');
    link.href = url;
    document.head.append(link);
  }),
  'frame': (url) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.onload = () => {
      let text = '';
      try { text = frame.contentDocument?.body?.innerText ?? ''; } catch { /* another origin */ }
      done(text);
    };
    frame.src = url;
    document.body.append(frame);
  }),
  'frame without an origin': (url) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts allow-forms';
    frame.onload = () => done('');
    frame.srcdoc = `<script>fetch(${JSON.stringify(url)}, { mode: 'no-cors', method: 'POST', body: 'x' })</script>`;
    document.body.append(frame);
  }),
  'form': (url) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.name = `form${Math.random()}`;
    document.body.append(frame);
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: url, target: frame.name, enctype: 'text/plain' });
    document.body.append(form);
    frame.onload = () => done('');
    form.submit();
  }),
  'WebSocket': (url) => new Promise((done) => {
    const socket = new WebSocket(url.replace('http', 'ws'));
    socket.onopen = () => done('a connection');
    socket.onmessage = (event) => done(event.data);
    socket.onerror = () => done('');
  }),
};

// tryAll runs all attempts in a page and checks each by itself.
async function tryAll(t, page, base, { sameOrigin } = {}) {
  for (const [name, attempt] of Object.entries(attempts)) {
    await t.test(name, async () => {
      const [reachedBefore, refusedBefore] = [await reached(), refused()];
      const read = await page.evaluate(attempt, base + contacts).catch(() => '');
      const deadline = Date.now() + 60_000;
      while (refused() === refusedBefore && Date.now() < deadline) await delay(20);
      assert.ok(refused() > refusedBefore, 'the request did not come to the sidecar');
      assert.equal(await reached(), reachedBefore, 'HubSpot was asked');
      // Of its own origin, as it thinks, a page can read that it was refused.
      if (sameOrigin) assert.doesNotMatch(read, /results/);
      else assert.equal(read, '');
    });
  }
}

// openPage opens a page at an address; where content is given, it is that.
async function openPage(url, content) {
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  if (content) {
    await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: content }), { times: 1 });
  }
  await page.goto(url);
  return page;
}

test('a page of another port', async (t) => {
  const page = await openPage(`http://localhost:${attackerPort}/`);
  await tryAll(t, page, sidecar('localhost'));
});

test('a page of another site', async (t) => {
  const page = await openPage(`http://evil.example:${attackerPort}/`);
  await tryAll(t, page, sidecar('127.0.0.1'));
});

// Browsers send no Sec-Fetch-Site to a plain HTTP site that is not localhost.
test('a page of another site, and a sidecar with a name', async (t) => {
  const page = await openPage(`http://evil.example:${attackerPort}/`);
  await tryAll(t, page, sidecar('crm.internal'));
});

// The page came from the attacker's machine; then its name led to this one.
test('DNS rebinding', async (t) => {
  const page = await openPage(`${sidecar('evil.example')}/`, '<!doctype html><title>attacker</title>');
  await tryAll(t, page, sidecar('evil.example'), { sameOrigin: true });
});

for (const host of ['localhost', 'crm.internal']) {
  test(`links, windows and redirects to ${host}`, async () => {
    const target = sidecar(host) + contacts;
    const before = await reached();
    const page = await openPage(`http://evil.example:${attackerPort}/`);
    await page.setContent(`<a id=link href="${target}">x</a><a id=quiet rel=noreferrer href="${target}">x</a>`);
    for (const id of ['link', 'quiet']) {
      const [answer] = await Promise.all([page.waitForNavigation(), page.evaluate((name) => document.getElementById(name).click(), id)]);
      assert.equal(answer.status(), 403);
      assert.match(await page.content(), /caller_forbidden/);
      await page.goto(`http://evil.example:${attackerPort}/`);
      await page.setContent(`<a id=link href="${target}">x</a><a id=quiet rel=noreferrer href="${target}">x</a>`);
    }
    await page.evaluate((url) => { location = url; }, `/?to=${encodeURIComponent(target)}`);
    await page.waitForURL(target);
    assert.match(await page.content(), /caller_forbidden/);
    assert.equal(await reached(), before, 'HubSpot was asked');
    await page.close();
  });
}

// No refusal approves of a preflight, of one for local addresses neither.
test('preflights', async () => {
  const response = await fetch(sidecar('localhost') + contacts, {
    method: 'OPTIONS',
    headers: {
      Origin: 'http://evil.example', 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'x-hubspot-user',
      'Access-Control-Request-Private-Network': 'true', 'Access-Control-Request-Local-Network': 'true',
    },
  });
  assert.equal(response.status, 403);
  assert.deepEqual([...response.headers.keys()].filter((name) => name.startsWith('access-control-')), []);
});

for (const host of ['localhost', '127.0.0.1', 'crm.internal']) {
  test(`a page of the site itself, ${host}`, async () => {
    const before = await reached();
    const page = await openPage(`${sidecar(host)}/page`);
    const status = await page.evaluate(async (url) => (await fetch(url)).status, contacts);
    assert.equal(status, 200, log);
    assert.equal(await reached(), before + 1);
    await page.close();
  });
}

test('a program, and a person in the address bar', async () => {
  const before = await reached();
  const status = await new Promise((done, fail) => {
    request(sidecar('localhost') + contacts, (res) => { res.resume(); done(res.statusCode); }).on('error', fail).end();
  });
  assert.equal(status, 200);
  const page = await openPage(sidecar('localhost') + contacts);
  assert.match(await page.content(), /results/);
  assert.equal(await reached(), before + 2);
});
