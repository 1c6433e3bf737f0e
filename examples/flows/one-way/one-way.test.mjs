// The program against real Caddy and the sandbox, which has 300 contacts in each
// of two accounts.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { acmePortal, Example, limitedPortal } from '../../../internal/e2e/example.mjs';
import { Program, Tap } from '../../../internal/e2e/program.mjs';

let example, tap;

before(async () => {
  example = await Example.start('flows/one-way');
  tap = await Tap.start(example.url);
  await example.connect('acme', acmePortal);
  await example.connect('head-office', limitedPortal);
});
after(async () => {
  tap?.stop();
  await example?.stop();
});
afterEach(() => example.clearFaults());

function sync(source, user, env = {}) {
  tap.requests.length = 0;
  return new Program(process.execPath, ['sync.mjs', source, user], {
    cwd: example.folder, env: { SIDECAR_URL: tap.url, CRM_SYNC_KEY: example.key, ...env },
  });
}

// crashIn ends a run when HubSpot has written the count-th batch and the program
// does not know.
async function crashIn(run, count) {
  const early = run.ended.then(() => { throw new Error(`it has ended by itself: ${run.output}`); });
  await Promise.race([tap.hold(count, ({ path }) => path.endsWith('/batch/upsert')), early]);
  assert.equal(await run.kill(), 'SIGKILL');
}

const cursorExists = () => existsSync(join(example.folder, 'one-way.cursor.json'));
const reads = () => tap.requests.filter(({ method }) => method === 'GET');
const writes = () => tap.requests.filter(({ method }) => method === 'POST');

// contactsOf lists an account by e-mail address, beside the program.
async function contactsOf(user) {
  const found = new Map();
  for (let after = 0; after !== undefined;) {
    const { status, body } = await example.call(`/as/${user}/crm/objects/2026-09/contacts?limit=100&properties=email,firstname,phone&after=${after}`);
    assert.equal(status, 200, JSON.stringify(body));
    for (const { properties } of body.results) found.set(properties.email, properties);
    after = body.paging?.next?.after;
  }
  return found;
}

// writeContacts makes a file of people who are in no account.
async function writeContacts(name, count, change = (contact) => contact) {
  const lines = Array.from({ length: count }, (_, i) => JSON.stringify(change({ email: `${name}${i}@example.com`, firstname: `No. ${i}` }, i)));
  await writeFile(join(example.folder, `${name}.jsonl`), `${lines.join('\n')}\n`);
  return `${name}.jsonl`;
}

test('HubSpot refuses for longer than the sidecar waits, and the program waits on', async () => {
  const file = await writeContacts('busy', 1);
  // The sidecar asks three times.
  await example.fault({ api: { answer: 'rate_limited', retry_after: 1, times: 3 } });
  const run = sync(file, 'head-office');
  assert.equal(await run.ended, 0, run.output);
  assert.deepEqual(writes().map(({ status }) => status), [429, 200]);
});

test('it goes on after a crash, and writes each contact once', async () => {
  const before = await contactsOf('head-office');
  await crashIn(sync('acme', 'head-office'), 2);

  const second = sync('acme', 'head-office');
  assert.equal(await second.ended, 0, second.output);
  assert.match(second.stdout, /going on after 100 contacts[^]*300 contacts written, 0 refused, 0 skipped/);
  assert.equal(reads().length, 2, 'it has read the first page again');

  const source = await contactsOf('acme');
  const target = await contactsOf('head-office');
  assert.equal(target.size, new Set([...before.keys(), ...source.keys()]).size);
  for (const [email, { firstname, phone }] of source) assert.deepEqual([target.get(email)?.firstname, target.get(email)?.phone], [firstname, phone]);
  assert.ok(!cursorExists());
});

test('pages and batches are of 100, in the batch lane', async () => {
  const run = sync('acme', 'head-office');
  assert.equal(await run.ended, 0, run.output);
  assert.equal(reads().length, 3);
  assert.deepEqual(writes().map(({ body }) => JSON.parse(body).inputs.length), [100, 100, 100]);
  assert.ok(tap.requests.every(({ headers }) => headers['x-hubspot-priority'] === 'batch'));
});

test('a bad contact does not keep the others out', async () => {
  const file = await writeContacts('bad', 150, (contact, i) => ({ ...contact, email: i === 120 ? 'no address' : contact.email }));
  const run = sync(file, 'acme');
  assert.equal(await run.ended, 2, run.output);
  assert.match(run.stdout, /^149 contacts written, 1 refused, 0 skipped$/m);
  assert.match(run.stderr, /^refused: no address: .*invalid/m);
  assert.equal((await contactsOf('acme')).get('bad149@example.com')?.firstname, 'No. 149');
});

test('of an address that is there twice the last one counts', async () => {
  const file = await writeContacts('twice', 4, (contact, i) => ({ ...contact, email: i < 2 ? 'Twice@example.com' : i === 2 ? 'twice@example.com' : undefined }));
  const run = sync(file, 'acme');
  assert.equal(await run.ended, 0, run.output);
  assert.match(run.stdout, /^1 contacts written, 0 refused, 3 skipped$/m);
  assert.equal((await contactsOf('acme')).get('twice@example.com').firstname, 'No. 2');
});

test('an answer that is lost does not matter', async () => {
  const file = await writeContacts('lost', 3);
  await example.fault({ api: { drop: 'after', times: 1 } });
  const run = sync(file, 'acme');
  assert.equal(await run.ended, 0, run.output);
  assert.deepEqual(writes().map(({ status }) => status), [502, 200]);
  assert.match(run.stdout, /^3 contacts written/m);
});

test('when the day\'s quota is used up it stops, and goes on later', async () => {
  const file = await writeContacts('daily', 250);
  const first = sync(file, 'umbrella');
  assert.equal(await first.ended, 1, first.output);
  assert.match(first.stderr, /not connected[^]*to connect the account: http:\/\/localhost:\d+\/oauth\/authorize/);

  await example.connect('umbrella', acmePortal);
  await crashIn(sync(file, 'umbrella'), 2);
  await example.fault({ api: { answer: 'rate_limited', policy: 'DAILY' } });
  const second = sync(file, 'umbrella');
  assert.equal(await second.ended, 1, second.output);
  assert.match(second.stderr, /stopped: .*daily limit/);
  assert.equal(writes().length, 1, 'it has tried again');
  assert.ok(cursorExists());

  const other = sync('acme', 'umbrella');
  assert.equal(await other.ended, 1);
  assert.match(other.stderr, /is of another job, daily\.jsonl of .* to umbrella/);
});
