// The program against real Caddy and the sandbox, whose 300 contacts people change
// in HubSpot while the app changes its own.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { acmePortal, Example, limitedPortal } from '../../../internal/e2e/example.mjs';
import { Person } from '../../../internal/e2e/person.mjs';
import { Program, Tap, until } from '../../../internal/e2e/program.mjs';

// calls are between the program and the sidecar, deliveries between the sidecar
// and the program.
let example, calls, deliveries, program, person;

before(async () => {
  example = await Example.start('flows/two-way');
  person = new Person(example, 'acme');
  calls = await Tap.start(example.url);
  deliveries = await Tap.start('http://127.0.0.1:1', example.ports.APP_PORT);
  await example.connect('acme', acmePortal);
});
after(async () => {
  await program?.kill();
  deliveries?.stop();
  calls?.stop();
  await example?.stop();
});
afterEach(() => example.clearFaults());

function run(...args) {
  return new Program('python3', ['sync.py', ...args], {
    cwd: example.folder, env: { SIDECAR_URL: calls.url, CRM_SYNC_KEY: example.key, APP_PORT: '0' },
  });
}

async function serve(...args) {
  program = run('serve', ...args);
  const [, url] = await program.says(/listening on (\S+)/);
  deliveries.target = `http://${url}`;
}

// set is a change in the app.
async function set(email, values) {
  const setting = run('set', email, ...Object.entries(values).map(([name, value]) => `${name}=${value}`));
  assert.equal(await setting.ended, 0, setting.output);
}

// own is what the app has of a contact; undefined if it has none.
async function own(email) {
  const show = run('show');
  assert.equal(await show.ended, 0, show.output);
  const line = show.stdout.split('\n').find((line) => line.startsWith(`${email}\t`));
  if (!line) return undefined;
  const [, firstname, lastname, phone] = line.split('\t');
  return { firstname, lastname, phone };
}

// theirs is what HubSpot has of a contact.
async function theirs(email) {
  const { status, body } = await example.call('/as/acme/crm/objects/2026-09/contacts/batch/read', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ idProperty: 'email', inputs: [{ id: email }], properties: ['email', 'firstname', 'lastname', 'phone'] }),
  });
  assert.ok(status < 300, JSON.stringify(body));
  return body.results[0];
}

const both = (email, name, value) => until(`${name} of ${email} is ${value} on both sides`,
  async () => (await own(email))?.[name] === value && (await theirs(email))?.properties[name] === value,
  async () => JSON.stringify([await own(email), (await theirs(email))?.properties, program.output]));

// times is how often a contact was in a batch.
const times = (id, operation) => calls.requests
  .filter(({ path }) => path.endsWith(`/contacts/batch/${operation}`))
  .flatMap(({ body }) => JSON.parse(body).inputs)
  .filter((input) => input.id === id).length;

// written is when all that the program wanted to write until now is in HubSpot:
// what comes into its outbox later is there.
async function written() {
  const { email } = await somebody(20);
  await set(email, { phone: `${Date.now()}` });
  await both(email, 'phone', (await own(email)).phone);
}

// somebody returns the address and the id of the n-th contact.
async function somebody(n) {
  const { body } = await example.call('/as/acme/crm/objects/2026-09/contacts?limit=100&properties=email');
  return { email: body.results[n].properties.email, id: body.results[n].id };
}

test('at the start all contacts are read, after a crash in between too', async () => {
  const held = calls.hold(2, ({ method }) => method === 'GET');
  await serve();
  await held;
  await program.kill();
  await serve();
  await program.says(/all contacts are here/);
  const show = run('show');
  await show.ended;
  assert.equal(show.stdout.trim().split('\n').length, 300);
  assert.ok(!calls.requests.some(({ method }) => method !== 'GET'));
});

test('a change in HubSpot comes, and is not sent back', async () => {
  const { email, id } = await somebody(0);
  await person.change(id, { phone: '0800 1' });
  await both(email, 'phone', '0800 1');
  await written();
  assert.equal(times(id, 'update'), 0);
});

test('a change in the app goes to HubSpot once, and its echo is not even read', async () => {
  const { email, id } = await somebody(1);
  await set(email, { phone: '0800 2' });
  await both(email, 'phone', '0800 2');
  await until('the echo is delivered', async () => deliveries.requests.find(({ body }) => body.includes('0800 2')));
  await written();
  assert.equal(times(id, 'update'), 1);
  assert.equal(times(id, 'read'), 0);
});

test('changes on both sides meet, and what HubSpot has not heard of yet wins', async () => {
  const { email, id } = await somebody(2);
  await example.fault({ api: { path_prefix: '/crm/objects/2026-09/contacts/batch/update', answer: 'server_error', times: 1 } });
  await set(email, { phone: '0800 3' });
  await program.says(/HTTP 500/);
  await person.change(id, { phone: '0800 0', firstname: 'Both' });
  await both(email, 'firstname', 'Both');
  await both(email, 'phone', '0800 3');
});

test('what happens while it is away is made up for', async () => {
  const { email, id } = await somebody(3);
  const other = await somebody(4);
  await program.kill();
  await person.change(id, { phone: '0800 4' });
  await set(other.email, { phone: '0800 5' });
  await set('new@example.com', { firstname: 'New' });
  await serve();
  await both(email, 'phone', '0800 4');
  await both(other.email, 'phone', '0800 5');
  await both('new@example.com', 'firstname', 'New');
});

test('a crash when HubSpot has written and the program does not know makes no second contact', async () => {
  await program.kill();
  await set('crash@example.com', { firstname: 'Crash' });
  const held = calls.hold(1, ({ path }) => path.endsWith('/batch/upsert'));
  await serve();
  await held;
  await program.kill();
  const { id } = await theirs('crash@example.com');
  await set('crash@example.com', { lastname: 'Again' });
  await serve();
  await both('crash@example.com', 'lastname', 'Again');
  assert.equal((await theirs('crash@example.com')).id, id);
});

test('a contact that is deleted in HubSpot goes', async () => {
  const { email, id } = await somebody(5);
  await person.remove(id);
  await until('it has gone', async () => await own(email) === undefined);
});

test('what HubSpot refuses does not hold up the rest', async () => {
  const { email } = await somebody(6);
  await set('no address', { firstname: 'Nobody' });
  await set('next@example.com', { firstname: 'Next' });
  await set(email, { phone: '0800 6' });
  await both('next@example.com', 'firstname', 'Next');
  await both(email, 'phone', '0800 6');
  await program.says(/refused: no address, /);
});

test('429s are waited out, in both directions', async () => {
  const { email, id } = await somebody(7);
  // The sidecar asks three times.
  await example.fault({ api: { path_prefix: '/crm/objects/2026-09/contacts/batch', answer: 'rate_limited', retry_after: 1, times: 3 } });
  await set(email, { phone: '0800 7' });
  await person.change(id, { firstname: 'Patient' });
  await both(email, 'phone', '0800 7');
  await both(email, 'firstname', 'Patient');
});

test('what was lost is made up for', async () => {
  const changed = await somebody(8);
  const deleted = await somebody(9);
  await example.sendWebhooks('');
  await person.change(changed.id, { phone: '0800 9' });
  await person.remove(deleted.id);
  await example.sendWebhooks(`${example.url}/hubspot/webhooks`);
  assert.notEqual((await own(changed.email)).phone, '0800 9');
  await program.kill();
  await serve('--pull');
  await both(changed.email, 'phone', '0800 9');
  await until('it has gone', async () => await own(deleted.email) === undefined);
});

test('a delivery for another customer is not taken', async () => {
  await example.connect('globex', limitedPortal);
  await new Person(example, 'globex').change('399', { phone: '0800 8' });
  await until('it is delivered', async () => deliveries.requests.find(({ body, headers }) => headers['x-hubspot-users'] === 'globex' && body.includes('0800 8')));
  assert.equal(times('399', 'read'), 0);
});
