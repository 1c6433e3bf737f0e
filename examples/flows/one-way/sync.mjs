// Copies contacts one way: out of a file, or out of one customer's HubSpot
// account, into another customer's account.
//
//     node sync.mjs contacts.jsonl acme    a file of JSON lines into acme's account
//     node sync.mjs acme head-office       acme's contacts into head-office's account
//
// It goes page by page, and one batch call writes a page. How far it has come is
// in a cursor file after each page: stopped at any moment, it goes on from there
// when it is started again.

import { createReadStream } from 'node:fs';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';

import { HubSpot, HubSpotError } from './hubspot.mjs';

const pageSize = 100; // HubSpot's limit, of lists and of batches
const contacts = '/crm/objects/2026-09/contacts';
const properties = ['email', 'firstname', 'lastname', 'phone', 'company'];

const sidecar = { url: process.env.SIDECAR_URL ?? 'http://localhost:8080', key: process.env.CRM_SYNC_KEY };
const cursorFile = process.env.CURSOR_FILE ?? 'one-way.cursor.json';

// A source is a generator of pages: contacts, by their properties, and where the
// next page begins, which is undefined after the last one.

async function* pagesOfAccount(user, after) {
  const hubspot = new HubSpot(user, sidecar);
  do {
    const query = new URLSearchParams({ limit: pageSize, properties, ...(after && { after }) });
    const { results, paging } = await hubspot.call('GET', `${contacts}?${query}`);
    after = paging?.next?.after;
    yield { page: results.map((contact) => contact.properties), after };
  } while (after);
}

async function* pagesOfFile(path, after = 0) {
  let line = 0;
  let page = [];
  for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    line++;
    if (line <= after || text.trim() === '') continue;
    page.push(contactOf(text, `${path}, line ${line}`));
    if (page.length < pageSize) continue;
    yield { page, after: line };
    page = [];
  }
  yield { page };
}

function contactOf(text, place) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${place}: ${error.message}`);
  }
}

// upsert writes contacts and returns those that HubSpot refuses, and why. Twice
// is as good as once: an address that is there is updated, another is created.
async function upsert(hubspot, page) {
  if (page.length === 0) return [];
  const inputs = page.map(({ email, ...rest }, i) => ({ id: email, idProperty: 'email', objectWriteTraceId: `${i}`, properties: rest }));
  try {
    // What failed stands in errors, whether the status is 200 or 207.
    const { errors = [] } = await hubspot.call('POST', `${contacts}/batch/upsert`, { inputs });
    return errors.map(({ message, context }) => ({ contact: page[context?.objectWriteTraceId?.[0]], message }));
  } catch (error) {
    if (!(error instanceof HubSpotError) || error.status !== 400) throw error;
    if (page.length === 1) return [{ contact: page[0], message: error.message }];
    // One bad contact spoils a batch: halves find it.
    const middle = page.length >> 1;
    return [...await upsert(hubspot, page.slice(0, middle)), ...await upsert(hubspot, page.slice(middle))];
  }
}

// writable leaves out who has no address to be known by, and of one address all
// but the last: HubSpot refuses a batch that names it twice.
function writable(page) {
  const byEmail = new Map();
  for (const contact of page) {
    if (!contact.email) continue;
    const set = properties.filter((name) => contact[name] != null).map((name) => [name, contact[name]]);
    byEmail.set(contact.email.toLowerCase(), Object.fromEntries(set));
  }
  return [...byEmail.values()];
}

// readCursor returns how far an earlier run of the same job has come.
async function readCursor(job) {
  const text = await readFile(cursorFile, 'utf8').catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (text === undefined) return { job, written: 0, refused: 0, skipped: 0 };
  const cursor = JSON.parse(text);
  if (cursor.job !== job) throw new Error(`${cursorFile} is of another job, ${cursor.job}: finish that one, or remove the file`);
  return cursor;
}

// writeCursor puts a whole file in the place of the old one, so that no crash
// leaves half of one.
async function writeCursor(cursor) {
  const file = await open(`${cursorFile}.new`, 'w');
  try {
    await file.writeFile(`${JSON.stringify(cursor)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${cursorFile}.new`, cursorFile);
}

async function sync(source, user) {
  const isFile = source.endsWith('.jsonl');
  // A file that has changed is another job: its lines are others.
  const job = isFile ? `${source} of ${(await stat(source)).mtime.toISOString()} to ${user}` : `${source} to ${user}`;
  const cursor = await readCursor(job);
  if (cursor.after) console.log(`going on after ${cursor.written} contacts`);

  const hubspot = new HubSpot(user, sidecar);
  for await (const { page, after } of isFile ? pagesOfFile(source, cursor.after) : pagesOfAccount(source, cursor.after)) {
    const wanted = writable(page);
    const refused = await upsert(hubspot, wanted);
    for (const { contact, message } of refused) console.error(`refused: ${contact?.email}: ${message}`);
    cursor.written += wanted.length - refused.length;
    cursor.refused += refused.length;
    cursor.skipped += page.length - wanted.length;
    cursor.after = after;
    if (after) await writeCursor(cursor);
  }
  await rm(cursorFile, { force: true });
  console.log(`${cursor.written} contacts written, ${cursor.refused} refused, ${cursor.skipped} skipped`);
  return cursor.refused;
}

const [source, user] = process.argv.slice(2);
if (!source || !user || !sidecar.key) {
  console.error('usage: CRM_SYNC_KEY=<the key of a caller> node sync.mjs <file.jsonl | user> <user>');
  process.exit(64);
}
try {
  process.exitCode = await sync(source, user) > 0 ? 2 : 0;
} catch (error) {
  console.error(`stopped: ${error.message}`);
  if (error.link) console.error(`to connect the account: ${error.link}`);
  console.error('Start it again to go on from where it was.');
  process.exitCode = 1;
}
