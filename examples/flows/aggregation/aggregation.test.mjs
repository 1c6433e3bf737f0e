// The program against real Caddy and the sandbox, which has more deals in an
// account than a search gives.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { acmePortal, Example } from '../../../internal/e2e/example.mjs';
import { Program, Tap } from '../../../internal/e2e/program.mjs';

const maxResults = 10_000; // of a search

let example, tap, program, deals;

before(async () => {
  example = await Example.start('flows/aggregation');
  program = join(example.folder, 'report');
  execFileSync('go', ['build', '-o', program, '.'], { cwd: import.meta.dirname ?? new URL('.', import.meta.url).pathname });
  tap = await Tap.start(example.url);
  await example.connect('acme', acmePortal);
  deals = await allDeals();
});
after(async () => {
  tap?.stop();
  await example?.stop();
});
afterEach(() => example.clearFaults());

function report(user, from, until) {
  tap.requests.length = 0;
  return new Program(program, ['-user', user, '-from', from, '-until', until], {
    cwd: example.folder, env: { SIDECAR_URL: tap.url, CRM_SYNC_KEY: example.key },
  });
}

// allDeals lists the deals, beside the program.
async function allDeals() {
  const found = [];
  for (let after = 0; after !== undefined;) {
    const { status, body } = await example.call(`/as/acme/crm/objects/2026-09/deals?limit=100&properties=dealstage,amount,closedate&after=${after}`);
    assert.equal(status, 200, JSON.stringify(body));
    found.push(...body.results.map(({ properties }) => properties));
    after = body.paging?.next?.after;
  }
  return found;
}

// expected are the lines of the deals that close in a period.
function expected(from, until) {
  const sums = new Map();
  for (const { dealstage, amount, closedate } of deals) {
    if (closedate < from || closedate >= until) continue;
    const sum = sums.get(dealstage) ?? { deals: 0, amount: 0 };
    sums.set(dealstage, { deals: sum.deals + 1, amount: sum.amount + Number(amount) });
  }
  return [...sums].sort().map(([stage, sum]) => `${stage} ${sum.deals} ${sum.amount.toFixed(2)}`);
}

// sections are the two tables of a report, without their heads and padding.
const sections = (text) => text.trim().split('\n\n').map((table) => table.split('\n').slice(1).map((line) => line.replace(/ +/g, ' ')));

test('more deals than a search gives are all added up, once', async () => {
  assert.ok(deals.length > maxResults, `there are only ${deals.length}`);
  const run = report('acme', '2026-01-01', '2030-01-01');
  assert.equal(await run.ended, 0, run.output);
  assert.deepEqual(sections(run.stdout)[1], expected('2026-01-01', '2030-01-01'));

  // The sandbox's order is that of ids by itself; HubSpot's is not.
  const searches = tap.requests.filter(({ path }) => path.endsWith('/deals/search')).map(({ body }) => JSON.parse(body));
  assert.ok(searches.every(({ sorts }) => sorts[0].propertyName === 'hs_object_id' && sorts[0].direction === 'ASCENDING'));
  assert.ok(tap.requests.every(({ headers }) => headers['x-hubspot-priority'] === 'batch'));
  assert.ok(tap.requests.every(({ status }) => status === 200), 'the sidecar has not kept the searches within the quota');
  const stats = await (await fetch(`${example.sandboxURL}/_sandbox/stats`)).json();
  assert.equal(stats.beyond_quota, 0);
});

test('contacts are counted without being fetched', async () => {
  const run = report('acme', '2026-05-01', '2026-05-02');
  assert.equal(await run.ended, 0, run.output);
  const [stages, sums] = sections(run.stdout);
  assert.deepEqual(sums, expected('2026-05-01', '2026-05-02'));

  const counts = Object.fromEntries(stages.map((line) => line.split(' ')));
  assert.equal(Object.values(counts).reduce((sum, n) => sum + Number(n), 0), 20_500);
  const { body } = await example.call('/as/acme/crm/objects/2026-09/contacts/search', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ filterGroups: [{ filters: [{ propertyName: 'lifecyclestage', operator: 'EQ', value: 'customer' }] }] }),
  });
  assert.equal(counts.customer, `${body.total}`);
  const counting = tap.requests.filter(({ path }) => path.endsWith('/contacts/search'));
  assert.equal(counting.length, 8);
  assert.ok(counting.every((search) => JSON.parse(search.body).limit === 1));
});

test('HubSpot refuses for longer than the sidecar waits, and the program waits on', async () => {
  // The sidecar asks three times.
  await example.fault({ api: { answer: 'rate_limited', policy: 'SEARCH', retry_after: 1, times: 3 } });
  const run = report('acme', '2026-05-01', '2026-05-02');
  assert.equal(await run.ended, 0, run.output);
  assert.equal(tap.requests[0].status, 429);
  assert.deepEqual(sections(run.stdout)[1], expected('2026-05-01', '2026-05-02'));
});

test('what waiting does not help is said', async () => {
  await example.fault({ api: { answer: 'rate_limited', policy: 'DAILY' } });
  const daily = report('acme', '2026-05-01', '2026-05-02');
  assert.equal(await daily.ended, 1);
  assert.match(daily.stderr, /counting contacts: HTTP 429: .*daily limit/);
  assert.equal(tap.requests.length, 1, 'it has tried again');

  const stranger = report('initech', '2026-05-01', '2026-05-02');
  assert.equal(await stranger.ended, 1);
  assert.match(stranger.stderr, /not connected[^]*to connect the account: http:\/\/localhost:\d+\/oauth\/authorize/);

  const wrong = report('acme', '2026-05-02', '2026-05-01');
  assert.equal(await wrong.ended, 1);
  assert.match(wrong.stderr, /from has to be before until/);
});
