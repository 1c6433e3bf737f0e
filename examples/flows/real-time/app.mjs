// Shows a customer's contacts on a page as they change in HubSpot.
//
//     CRM_SYNC_KEY=… node app.mjs
//
// HubSpot's webhooks come through the sidecar, which has checked them and keeps
// each until it is answered with 2xx here. They say what has changed; what it is
// now is read from HubSpot, and goes to the pages that are open, as server-sent
// events.

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const port = process.env.APP_PORT ?? 3000;
const sidecar = process.env.SIDECAR_URL ?? 'http://localhost:8080';
const key = process.env.CRM_SYNC_KEY;

const contacts = '/crm/objects/2026-09/contacts';
const properties = ['email', 'firstname', 'lastname', 'lifecyclestage'];
const maxBatch = 100; // HubSpot's limit
const heartbeat = 15_000; // less than what proxies wait
const maxBehind = 1 << 20; // bytes that a page may not have taken yet

// pages are the open streams of each user.
const pages = new Map();

class HubSpotError extends Error {
  constructor(status, message) {
    super(`HTTP ${status}: ${message}`);
    this.status = status;
  }
}

// hubspot calls HubSpot for a user, through the sidecar, and does not try again: a
// page is loaded anew, and a webhook is delivered anew.
async function hubspot(user, path, body) {
  const response = await fetch(`${sidecar}/as/${encodeURIComponent(user)}${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    redirect: 'manual',
    signal: AbortSignal.timeout(8_000), // the sidecar waits ten seconds for the answer to a delivery
  });
  if (!response.ok) throw new HubSpotError(response.status, (await response.json().catch(() => ({}))).message);
  return response.json();
}

const shown = ({ id, properties, updatedAt }) => ({ id, properties, updatedAt });

// latest are the contacts that changed last.
async function latest(user) {
  const { results } = await hubspot(user, `${contacts}/search`, {
    sorts: [{ propertyName: 'lastmodifieddate', direction: 'DESCENDING' }], properties, limit: 20,
  });
  return results.map(shown);
}

// publish sends the contacts with these ids, as they are now, to a user's pages.
async function publish(user, ids) {
  const { results } = await hubspot(user, `${contacts}/batch/read`, { inputs: ids.map((id) => ({ id })), properties });
  const found = new Map(results.map((contact) => [contact.id, shown(contact)]));
  for (const id of ids) send(user, found.has(id) ? 'contact' : 'gone', found.get(id) ?? { id });
}

function send(user, event, data) {
  for (const page of pages.get(user) ?? []) {
    page.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    // Who does not keep up is let go, and comes again.
    if (page.writableLength > maxBehind) page.destroy();
  }
}

// open keeps a page's stream until the browser goes.
function open(user, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write('retry: 1000\n\n');
  if (!pages.has(user)) pages.set(user, new Set());
  pages.get(user).add(response);
  const beat = setInterval(() => response.write(': still here\n\n'), heartbeat);
  response.on('close', () => {
    clearInterval(beat);
    pages.get(user).delete(response);
    if (pages.get(user).size === 0) pages.delete(user);
  });
}

const isContact = ({ subscriptionType, objectTypeId }) => subscriptionType.startsWith('contact.') || objectTypeId === '0-1';

// deliver takes events of one account: the sidecar splits them, and says which
// users have connected that account.
async function deliver(request) {
  const users = (request.headers['x-hubspot-users'] ?? '').split(',').filter(Boolean).map(decodeURIComponent);
  const events = JSON.parse(await text(request));
  const ids = [...new Set(events.filter(isContact).flatMap(({ objectId, mergedObjectIds = [] }) => [objectId, ...mergedObjectIds]).map(String))];
  for (const user of users.filter((user) => pages.has(user))) {
    try {
      for (let i = 0; i < ids.length; i += maxBatch) await publish(user, ids.slice(i, i + maxBatch));
    } catch (error) {
      // What a second delivery would not change either is no reason for one.
      if (!(error instanceof HubSpotError) || error.status === 429 || error.status >= 500) throw error;
      console.error(`${user}: ${error.message}`);
    }
  }
}

async function serve(request, response) {
  // Caddy sets this header. What a browser sends by that name does not get here.
  const user = request.headers['x-session-user'];
  if (request.method === 'GET' && !user) return response.writeHead(401).end();
  switch (`${request.method} ${request.url}`) {
    case 'POST /hubspot-events':
      await deliver(request);
      return response.writeHead(204).end();
    case 'GET /events':
      return open(user, response);
    case 'GET /contacts': {
      const found = JSON.stringify(await latest(user));
      return response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(found);
    }
    default:
      return response.writeHead(404).end();
  }
}

if (!key) {
  console.error('CRM_SYNC_KEY is not set: it is the key of a caller of the sidecar');
  process.exit(64);
}
createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error.message}`);
    if (!response.headersSent) response.writeHead(503);
    response.end();
  });
}).listen(port, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${port}`));
