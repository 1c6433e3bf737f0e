// The program against real Caddy and the sandbox. The page's part is played by its
// requests; the page itself is looked at in internal/e2e/browser.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { acmePortal, Example, limitedPortal } from '../../../internal/e2e/example.mjs';
import { Person } from '../../../internal/e2e/person.mjs';
import { Program, until } from '../../../internal/e2e/program.mjs';

let example, program, person;
const streams = [];

before(async () => {
  example = await Example.start('flows/real-time');
  person = new Person(example, 'acme');
  await example.connect('acme', acmePortal);
  await example.connect('globex', limitedPortal);
  await start();
});
after(async () => {
  await program?.kill();
  await example?.stop();
});
afterEach(async () => {
  streams.splice(0).forEach((stream) => stream.close());
  await example.clearFaults();
});

async function start() {
  program = new Program(process.execPath, ['app.mjs'], {
    cwd: example.folder, env: { SIDECAR_URL: example.url, CRM_SYNC_KEY: example.key, APP_PORT: example.ports.APP_PORT },
  });
  await program.says(/listening/);
}

// Stream is what an EventSource is to the page.
class Stream {
  events = [];
  #abort = new AbortController();

  static async open(url, headers) {
    const stream = new Stream();
    const response = await fetch(url, { headers, signal: stream.#abort.signal });
    assert.equal(response.headers.get('Content-Type'), 'text/event-stream');
    stream.ended = stream.#read(response.body);
    streams.push(stream);
    return stream;
  }

  async #read(body) {
    let text = '';
    try {
      for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
        const parts = (text + chunk).split('\n\n');
        text = parts.pop();
        for (const part of parts) {
          const [, event, data] = part.match(/^event: (.*)\ndata: (.*)$/) ?? [];
          if (event) this.events.push({ event, at: Date.now(), ...JSON.parse(data) });
        }
      }
    } catch { /* closed here, or broken there */ }
  }

  close() { this.#abort.abort(); }

  has(event, id, properties = {}) {
    return until(`${event} of ${id} has arrived with ${JSON.stringify(properties)}`,
      async () => this.events.find((e) => e.event === event && e.id === id && Object.entries(properties).every(([name, value]) => e.properties[name] === value)),
      async () => JSON.stringify(this.events) + program.output);
  }
}

const openPage = () => Stream.open(`${example.url}/events`);
const table = async () => (await fetch(`${example.url}/contacts`)).json();

test('a change in HubSpot is on the page within a second or so', async () => {
  const page = await openPage();
  assert.equal((await table()).length, 20);
  const begun = Date.now();
  await person.change('105', { firstname: 'Sofort' });
  const { at, properties } = await page.has('contact', '105', { firstname: 'Sofort' });
  assert.ok(at - begun < 5_000, `it took ${at - begun} ms`);
  assert.match(properties.email, /@example\.com$/);
  assert.equal((await table())[0].properties.firstname, 'Sofort');
});

test('so are new contacts and deleted ones', async () => {
  const page = await openPage();
  const id = await person.create({ email: 'neu@example.com', firstname: 'Neu' });
  await page.has('contact', id, { firstname: 'Neu' });
  await person.remove(id);
  await page.has('gone', id);
});

test('nobody sees another customer\'s contacts', async () => {
  const acme = await openPage();
  const globex = await Stream.open(`http://127.0.0.1:${example.ports.APP_PORT}/events`, { 'X-Session-User': 'globex' });
  await new Person(example, 'globex').change('105', { firstname: 'Hidden' });
  await person.change('106', { firstname: 'Shown' });
  await globex.has('contact', '105', { firstname: 'Hidden' });
  await acme.has('contact', '106', { firstname: 'Shown' });
  assert.ok(!acme.events.some(({ properties }) => properties?.firstname === 'Hidden'));
  assert.ok(!globex.events.some(({ properties }) => properties?.firstname === 'Shown'));

  const claimed = await fetch(`${example.url}/contacts`, { headers: { 'X-Session-User': 'globex' } });
  assert.ok(!(await claimed.text()).includes('Hidden'));
});

test('what the program could not take is delivered when it is back', async () => {
  await program.kill();
  await person.change('107', { firstname: 'Later' });
  await start();
  const page = await openPage();
  await page.has('contact', '107', { firstname: 'Later' });
});

test('when HubSpot does not answer the change comes later', async () => {
  const page = await openPage();
  await example.fault({ api: { path_prefix: '/crm/objects/2026-09/contacts/batch/read', answer: 'server_error', times: 3 } });
  await person.change('108', { firstname: 'Spät' });
  await page.has('contact', '108', { firstname: 'Spät' });
});

test('nobody but HubSpot makes events', async () => {
  const body = JSON.stringify([{ subscriptionType: 'contact.creation', objectId: 101, portalId: acmePortal }]);
  const unsigned = await fetch(`${example.url}/hubspot/webhooks`, { method: 'POST', body });
  assert.equal(unsigned.status, 401);
  assert.equal((await unsigned.json()).subCategory, 'webhook_refused');
  const direct = await fetch(`${example.url}/hubspot-events`, { method: 'POST', body, headers: { 'X-HubSpot-Users': 'acme' } });
  assert.equal(direct.status, 401);
});
