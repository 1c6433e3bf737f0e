// HubSpot's own MCP server against the sidecar, driven by a real MCP client: the
// server is a child process that gets the sidecar's address, with the user in
// it, for HubSpot's, and a caller's key for the access token.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

import { acmePortal, Example, limitedPortal } from '../example.mjs';

const server = fileURLToPath(import.meta.resolve('@hubspot/mcp-server'));
const timeout = 120_000;

let quickstart;
const clients = [];

before(async () => {
  quickstart = await Example.start('quickstart');
  await quickstart.connect('acme', acmePortal);
  await quickstart.connect('globex/eu', limitedPortal);
});
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
after(() => quickstart?.stop());

// connect starts HubSpot's server for a user of the sidecar.
async function connect(user, key = quickstart.key) {
  const client = new Client({ name: 'caddy-hubspot-e2e', version: '1' });
  clients.push(client);
  await client.connect(new StdioClientTransport({
    command: process.execPath,
    args: [server],
    cwd: quickstart.folder, // it would read a .env
    env: {
      PATH: process.env.PATH,
      BASE_URL_OVERRIDE: `${quickstart.url}/as/${encodeURIComponent(user)}`,
      PRIVATE_APP_ACCESS_TOKEN: key,
    },
    stderr: 'ignore',
  }), { timeout });
  return client;
}

// call returns the texts of a tool's answer.
async function call(client, name, args = {}) {
  const { content, isError } = await client.callTool({ name, arguments: args }, undefined, { timeout });
  const texts = content.map(({ text }) => text);
  assert.ok(!isError, texts.join('\n'));
  return texts;
}

// refused returns the text of a tool's error.
async function refused(client, name, args = {}) {
  const { content, isError } = await client.callTool({ name, arguments: args }, undefined, { timeout });
  const text = content.map((part) => part.text).join('\n');
  assert.ok(isError, text);
  return text;
}

// json takes the JSON out of a text that begins with words.
const json = (text) => JSON.parse(text.slice(text.search(/[[{]/)));

test('the server has its tools', async () => {
  const client = await connect('acme');
  const { tools } = await client.listTools(undefined, { timeout });
  assert.ok(tools.some(({ name }) => name === 'hubspot-get-user-details'), tools.map(({ name }) => name).join(' '));
});

describe('who it is', () => {
  // A server asks this before anything else, with its key in the body.
  const details = async (user) => {
    const [tokenInfo, , accountInfo] = await call(await connect(user), 'hubspot-get-user-details');
    return { token: json(tokenInfo), account: json(accountInfo) };
  };

  test('of one customer', async () => {
    const { token, account } = await details('acme');
    assert.equal(token.hubId, acmePortal);
    assert.ok(token.scopes.includes('crm.objects.contacts.read'), `${token.scopes}`);
    assert.equal(account.portalId, acmePortal);
  });

  test('of another', async () => {
    const { token, account } = await details('globex/eu');
    assert.equal(token.hubId, limitedPortal);
    assert.equal(account.portalId, limitedPortal);
  });

  test('of nobody', async () => {
    const text = await refused(await connect('initech'), 'hubspot-get-user-details');
    assert.match(text, /404 .*not_connected/s);
    assert.match(text, /"connect":"http:\/\/localhost:\d+\/oauth\/authorize/);
  });

  test('with a wrong key', async () => {
    const text = await refused(await connect('acme', 'not-the-key-of-any-caller'), 'hubspot-get-user-details');
    assert.match(text, /401 .*caller_unauthenticated/s);
  });

  test('the key stays out of the log', () => {
    assert.ok(!quickstart.log.includes(quickstart.key), quickstart.log);
  });
});

describe('objects', () => {
  const objectType = 'contacts';

  test('list in pages', async () => {
    const client = await connect('acme');
    const first = json((await call(client, 'hubspot-list-objects', { objectType, limit: 20, properties: ['email'] })).join('\n'));
    assert.equal(first.results.length, 20);
    const second = json((await call(client, 'hubspot-list-objects', { objectType, limit: 20, after: first.paging.next.after })).join('\n'));
    const ids = new Set([...first.results, ...second.results].map(({ id }) => id));
    assert.equal(ids.size, 40);
  });

  test('search', async () => {
    const client = await connect('acme');
    const { results: [someone] } = json((await call(client, 'hubspot-list-objects', { objectType, limit: 1, properties: ['email'] })).join('\n'));
    const found = json((await call(client, 'hubspot-search-objects', {
      objectType, limit: 5, properties: ['email'],
      filterGroups: [{ filters: [{ propertyName: 'email', operator: 'EQ', value: someone.properties.email }] }],
    })).join('\n'));
    assert.deepEqual(found.results.map(({ id }) => id), [someone.id]);
  });

  test('read', async () => {
    const client = await connect('acme');
    const { results } = json((await call(client, 'hubspot-list-objects', { objectType, limit: 3 })).join('\n'));
    const read = json((await call(client, 'hubspot-batch-read-objects', {
      objectType, inputs: results.map(({ id }) => ({ id })), properties: ['email'],
    })).join('\n'));
    assert.deepEqual(read.results.map(({ id }) => id).sort(), results.map(({ id }) => id).sort());
  });

  test('what HubSpot refuses, its words', async () => {
    const text = await refused(await connect('globex/eu'), 'hubspot-list-objects', { objectType: 'deals' });
    assert.match(text, /403 .*MISSING_SCOPES/s);
  });
});
