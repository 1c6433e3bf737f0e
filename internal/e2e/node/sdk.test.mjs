// HubSpot's official Node SDK against the sidecar: the same calls as against
// HubSpot, with the sidecar's address as basePath and the caller's key as the
// access token. The user is named in a header, or in the address.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Client } from '@hubspot/api-client';

import { acmePortal, Example, limitedPortal } from '../example.mjs';

let quickstart;

before(async () => {
  quickstart = await Example.start('quickstart');
  await quickstart.connect('acme', acmePortal);
  await quickstart.connect('globex/eu', limitedPortal);
});
after(() => quickstart?.stop());
afterEach(() => quickstart.clearFaults());

// clientFor names the user in a header on every call.
function clientFor(user, options = {}) {
  return new Client({
    basePath: quickstart.url,
    accessToken: quickstart.key,
    defaultHeaders: { 'X-HubSpot-User': user },
    ...options,
  });
}

// refused asserts that a call fails as the SDK fails when HubSpot refuses.
async function refused(call, code) {
  try {
    await call;
  } catch (error) {
    assert.equal(error.code, code, `${error}`);
    return error.body;
  }
  assert.fail(`the call succeeded; expected HTTP ${code}`);
}

describe('contacts of the user in the header', () => {
  let api;
  before(() => { api = clientFor('acme').crm.contacts; });

  test('list in pages', async () => {
    const first = await api.basicApi.getPage(20);
    assert.equal(first.results.length, 20);
    const second = await api.basicApi.getPage(20, first.paging.next.after);
    assert.equal(second.results.length, 20);
    const ids = new Set([...first.results, ...second.results].map((contact) => contact.id));
    assert.equal(ids.size, 40);
  });

  test('list all', async () => {
    const all = await api.getAll(100, undefined, ['email']);
    assert.ok(all.length >= 300, `${all.length} contacts`);
    assert.ok(all.every((contact) => contact.properties.email.includes('@')));
  });

  test('create, get, update, archive', async () => {
    const email = 'zoë+sdk@example.com';
    const created = await api.basicApi.create({ properties: { email, firstname: 'Zoë', lastname: 'Sdk' } });
    const read = await api.basicApi.getById(created.id, ['email', 'firstname']);
    assert.equal(read.properties.email, email);
    assert.equal(read.properties.firstname, 'Zoë');
    assert.ok(read.createdAt instanceof Date);

    const updated = await api.basicApi.update(created.id, { properties: { lastname: 'Changed' } });
    assert.equal(updated.properties.lastname, 'Changed');

    await api.basicApi.archive(created.id);
    await refused(api.basicApi.getById(created.id), 404);
  });

  test('search', async () => {
    const { results: [someone] } = await api.basicApi.getPage(1, undefined, ['email']);
    const found = await api.searchApi.doSearch({
      filterGroups: [{ filters: [{ propertyName: 'email', operator: 'EQ', value: someone.properties.email }] }],
      properties: ['email'], limit: 5,
    });
    assert.equal(found.total, 1);
    assert.equal(found.results[0].id, someone.id);
  });

  test('batch create, read, update, archive', async () => {
    const created = await api.batchApi.create({
      inputs: [1, 2, 3].map((n) => ({ properties: { email: `batch${n}@example.com`, lastname: `Batch ${n}` } })),
    });
    assert.equal(created.results.length, 3);
    const inputs = created.results.map(({ id }) => ({ id }));
    const read = await api.batchApi.read({ inputs, properties: ['lastname'], propertiesWithHistory: [] });
    assert.deepEqual(read.results.map((contact) => contact.properties.lastname).sort(), ['Batch 1', 'Batch 2', 'Batch 3']);
    const updated = await api.batchApi.update({ inputs: inputs.map(({ id }) => ({ id, properties: { lastname: 'Same' } })) });
    assert.ok(updated.results.every((contact) => contact.properties.lastname === 'Same'));
    await api.batchApi.archive({ inputs });
    await refused(api.basicApi.getById(inputs[0].id), 404);
  });
});

test('the user in the address: /as/{user}', async () => {
  const client = new Client({
    basePath: `${quickstart.url}/as/${encodeURIComponent('globex/eu')}`,
    accessToken: quickstart.key,
  });
  const page = await client.crm.contacts.basicApi.getPage(3);
  assert.equal(page.results.length, 3);

  const details = await client.apiRequest({ path: '/account-info/2026-09/details' });
  assert.equal((await details.json()).portalId, limitedPortal);
  assert.equal(details.headers.get('X-HubSpot-Portal'), `${limitedPortal}`);
});

test('users do not see each other', async () => {
  const created = await clientFor('acme').crm.contacts.basicApi.create({ properties: { email: 'only-acme@example.com' } });
  const found = await clientFor('globex/eu').crm.contacts.searchApi.doSearch({
    filterGroups: [{ filters: [{ propertyName: 'email', operator: 'EQ', value: 'only-acme@example.com' }] }],
  });
  assert.equal(found.total, 0);
  await clientFor('acme').crm.contacts.basicApi.archive(created.id);
});

describe('errors as the SDK raises them', () => {
  test('404 of HubSpot', async () => {
    const body = await refused(clientFor('acme').crm.contacts.basicApi.getById('999999999999'), 404);
    assert.equal(body.status, 'error');
    assert.notEqual(body.category, 'SIDECAR');
  });

  test('409 of HubSpot: the e-mail address is taken', async () => {
    const api = clientFor('acme').crm.contacts.basicApi;
    const contact = await api.create({ properties: { email: 'twice@example.com' } });
    const body = await refused(api.create({ properties: { email: 'twice@example.com' } }), 409);
    assert.equal(body.category, 'CONFLICT');
    await api.archive(contact.id);
  });

  test('403 of HubSpot: a scope is missing', async () => {
    const body = await refused(clientFor('globex/eu').crm.deals.basicApi.getPage(1), 403);
    assert.equal(body.category, 'MISSING_SCOPES');
  });

  test('429 of HubSpot: the day\'s quota is used up', async () => {
    // The sidecar remembers it, so this is the portal that no later test calls.
    await quickstart.fault({ api: { answer: 'rate_limited', policy: 'DAILY' } });
    const body = await refused(clientFor('globex/eu').crm.contacts.basicApi.getPage(1), 429);
    assert.equal(body.policyName, 'DAILY');
    assert.equal(body.errorType, 'RATE_LIMIT');
  });

  test('429 of HubSpot: a burst is over when it is tried again', async () => {
    await quickstart.fault({ api: { answer: 'rate_limited', policy: 'TEN_SECONDLY_ROLLING', times: 1 } });
    const page = await clientFor('acme', { numberOfApiCallRetries: 2 }).crm.contacts.basicApi.getPage(1);
    assert.equal(page.results.length, 1);
  });

  test('401 of the sidecar: a wrong key', async () => {
    const body = await refused(clientFor('acme', { accessToken: 'not-the-key-of-any-caller' }).crm.contacts.basicApi.getPage(1), 401);
    assert.deepEqual([body.category, body.subCategory], ['SIDECAR', 'caller_unauthenticated']);
  });

  test('404 of the sidecar: a user who is not connected', async () => {
    const body = await refused(clientFor('initech').crm.contacts.basicApi.getPage(1), 404);
    assert.deepEqual([body.category, body.subCategory], ['SIDECAR', 'not_connected']);
    assert.match(body.links.connect, /^http:\/\/localhost:\d+\/oauth\/authorize\?/);
  });

  test('400 of the sidecar: no user', async () => {
    const client = new Client({ basePath: quickstart.url, accessToken: quickstart.key });
    const body = await refused(client.crm.contacts.basicApi.getPage(1), 400);
    assert.deepEqual([body.category, body.subCategory], ['SIDECAR', 'user_required']);
  });

  test('401 of the sidecar: the app was uninstalled in HubSpot', async () => {
    await quickstart.connect('umbrella', acmePortal);
    await quickstart.fault({ uninstall: { hub_id: acmePortal } });
    const body = await refused(clientFor('umbrella').crm.contacts.basicApi.getPage(1), 401);
    assert.deepEqual([body.category, body.subCategory], ['SIDECAR', 'reauth_required']);
    assert.match(body.links.reconnect, /^http:\/\/localhost:\d+\/oauth\/authorize\?/);
    await quickstart.connect('acme', acmePortal);
    await quickstart.connect('umbrella', acmePortal);
    assert.equal((await clientFor('acme').crm.contacts.basicApi.getPage(1)).results.length, 1);
  });
});

// The SDK's retries count the first try: with 3, it tries twice more. It waits
// 10 s after a burst, 1 s after too many searches and 200 ms after a 5xx.
describe('what the SDK tries again', () => {
  const retrying = (user, options = {}) => clientFor(user, { numberOfApiCallRetries: 3, ...options }).crm.contacts;

  // useUp makes as many calls as a quota allows. They are not the SDK's, which
  // holds itself back.
  const useUp = (count, path, init = {}) => Promise.all(Array.from({ length: count }, () => quickstart.call(path, {
    ...init, headers: { 'Content-Type': 'application/json', 'X-HubSpot-User': 'acme', 'X-HubSpot-Max-Wait': '0' },
  })));
  // refusedAtLast is refused for a quota that is over when its window is, on a
  // slow machine before the call is made.
  const refusedAtLast = async (before, call, code) => {
    for (let left = 20; ; left--) {
      await before();
      const called = call();
      if (left === 0 || await called.then(() => false, () => true)) return refused(called, code);
    }
  };
  const impatient = { defaultHeaders: { 'X-HubSpot-User': 'acme', 'X-HubSpot-Max-Wait': '0' } };

  test('500 of HubSpot', async () => {
    await quickstart.fault({ api: { answer: 'server_error', times: 2 } });
    const page = await retrying('acme').basicApi.getPage(1);
    assert.equal(page.results.length, 1);
  });

  test('500 of HubSpot, each time', async () => {
    await quickstart.fault({ api: { answer: 'server_error', times: 3 } });
    const body = await refused(retrying('acme').basicApi.getPage(1), 500);
    assert.notEqual(body.category, 'SIDECAR');
  });

  test('502 of the sidecar: the connection to HubSpot breaks', async () => {
    await quickstart.fault({ api: { drop: 'before', times: 1 } });
    const create = () => ({ properties: { email: `broken${Math.random()}@example.com` } });
    const body = await refused(clientFor('acme').crm.contacts.basicApi.create(create()), 502);
    assert.deepEqual([body.category, body.subCategory], ['SIDECAR', 'upstream_unreachable']);
    await quickstart.fault({ api: { drop: 'before', times: 1 } });
    const created = await retrying('acme').basicApi.create(create());
    await clientFor('acme').crm.contacts.basicApi.archive(created.id);
  });

  test('429 of HubSpot, after all tries of the sidecar', async () => {
    await quickstart.fault({ api: { answer: 'rate_limited', policy: 'TEN_SECONDLY_ROLLING', times: 1 } });
    const begun = Date.now();
    const page = await retrying('acme', impatient).basicApi.getPage(1);
    assert.equal(page.results.length, 1);
    assert.ok(Date.now() - begun >= 10_000, 'the SDK has not waited for a window');
  });

  test('401 of the sidecar is final', async () => {
    let tries = 0;
    const counting = { pre: (context) => { tries++; return context; } };
    const body = await refused(retrying('acme', { accessToken: 'not-the-key-of-any-caller', middleware: [counting] }).basicApi.getPage(1), 401);
    assert.equal(body.subCategory, 'caller_unauthenticated');
    assert.equal(tries, 1, 'the SDK has tried again');
  });

  test('429 of the sidecar: too many searches', async () => {
    const search = (client) => client.searchApi.doSearch({ limit: 1 });
    const body = await refusedAtLast(
      () => useUp(5, '/crm/objects/2026-09/contacts/search', { method: 'POST', body: '{"limit":1}' }),
      () => search(clientFor('acme', impatient).crm.contacts), 429);
    assert.deepEqual([body.category, body.subCategory, body.policyName], ['SIDECAR', 'rate_limited', 'SECONDLY']);
    const found = await search(retrying('acme', impatient));
    assert.equal(found.results.length, 1);
  });

  test('429 of the sidecar: a burst', async () => {
    const body = await refusedAtLast(
      () => useUp(110, '/crm/objects/2026-09/contacts?limit=1'),
      () => clientFor('acme', impatient).crm.contacts.basicApi.getPage(1), 429);
    assert.deepEqual([body.category, body.subCategory, body.policyName], ['SIDECAR', 'rate_limited', 'TEN_SECONDLY_ROLLING']);
    const page = await retrying('acme', impatient).basicApi.getPage(1);
    assert.equal(page.results.length, 1);
  });
});

// The SDK calls these with a developer API key and never with the access token,
// and with nothing at all where it has no such key.
describe('what only a developer API key opens', () => {
  const getters = {
    'webhooks.settingsApi.getAll': (c) => c.webhooks.settingsApi.getAll(1),
    'webhooks.subscriptionsApi.getAll': (c) => c.webhooks.subscriptionsApi.getAll(1),
    'webhooks.subscriptionsApi.getById': (c) => c.webhooks.subscriptionsApi.getById(2, 1),
    'automation.actions.definitionsApi.getPage': (c) => c.automation.actions.definitionsApi.getPage(1),
    'automation.actions.definitionsApi.getById': (c) => c.automation.actions.definitionsApi.getById('2', 1),
    'automation.actions.revisionsApi.getPage': (c) => c.automation.actions.revisionsApi.getPage('2', 1),
    'automation.actions.revisionsApi.getById': (c) => c.automation.actions.revisionsApi.getById('2', '3', 1),
    'automation.actions.functionsApi.getPage': (c) => c.automation.actions.functionsApi.getPage('2', 1),
    'automation.actions.functionsApi.getById': (c) => c.automation.actions.functionsApi.getById('2', 'PRE_ACTION_EXECUTION', '3', 1),
    'automation.actions.functionsApi.getByFunctionType': (c) => c.automation.actions.functionsApi.getByFunctionType('2', 'PRE_ACTION_EXECUTION', 1),
    'marketing.events.settingsApi.getAll': (c) => c.marketing.events.settingsApi.getAll(1),
    'crm.timeline.templatesApi.getAll': (c) => c.crm.timeline.templatesApi.getAll(1),
    'crm.timeline.templatesApi.getById': (c) => c.crm.timeline.templatesApi.getById('2', 1),
    'crm.extensions.cards.cardsApi.getAll': (c) => c.crm.extensions.cards.cardsApi.getAll(1),
    'crm.extensions.cards.cardsApi.getById': (c) => c.crm.extensions.cards.cardsApi.getById('2', 1),
    'crm.extensions.calling.settingsApi.getById': (c) => c.crm.extensions.calling.settingsApi.getById(1),
    'crm.extensions.calling.recordingSettingsApi.getUrlFormat': (c) => c.crm.extensions.calling.recordingSettingsApi.getUrlFormat(1),
    'crm.extensions.calling.channelConnectionSettingsApi.getById': (c) => c.crm.extensions.calling.channelConnectionSettingsApi.getById(1),
    'crm.extensions.videoconferencing.settingsApi.getById': (c) => c.crm.extensions.videoconferencing.settingsApi.getById(1),
  };
  for (const [name, get] of Object.entries(getters)) {
    test(name, async () => {
      for (const options of [{}, { developerApiKey: 'a-developer-key' }]) {
        const body = await refused(get(clientFor('acme', options)), 401);
        assert.equal(body.subCategory, 'caller_unauthenticated');
        assert.match(body.message, /A developer API key \(hapikey\) cannot be used here/);
      }
    });
  }

  // apiRequest with both sends the access token.
  test('beside an access token', async () => {
    const client = clientFor('acme', { developerApiKey: 'a-developer-key' });
    const response = await client.apiRequest({ path: '/account-info/2026-09/details', qs: { hapikey: 'a-developer-key' } });
    assert.equal((await response.json()).portalId, acmePortal);
  });

  test('the developer key stays out of the log', () => assert.ok(!quickstart.log.includes('a-developer-key'), quickstart.log));
});

test('a restart keeps the connections', async () => {
  await quickstart.pause();
  await quickstart.resume();
  const page = await clientFor('acme').crm.contacts.basicApi.getPage(2);
  assert.equal(page.results.length, 2);
  const created = await clientFor('acme').crm.contacts.basicApi.create({ properties: { email: 'after-restart@example.com' } });
  assert.ok(created.id);
});

test('disconnecting ends it', async () => {
  await quickstart.connect('hooli', acmePortal);
  const gone = await quickstart.call('/hubspot/connections/hbdev/hooli', { method: 'DELETE' });
  assert.ok(gone.status === 200 || gone.status === 204, `HTTP ${gone.status}`);
  await refused(clientFor('hooli').crm.contacts.basicApi.getPage(1), 404);
});
