// The page of examples/flows/real-time, while contacts change in HubSpot.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { acmePortal, Example } from '../example.mjs';
import { Person } from '../person.mjs';
import { Program } from '../program.mjs';
import { launch } from './chromium.mjs';

let example, program, browser, page, person;
const complaints = [];

before(async () => {
  example = await Example.start('flows/real-time');
  person = new Person(example, 'acme');
  await start();
  browser = await launch();
  page = await browser.newPage();
  page.on('pageerror', (error) => complaints.push(`${error}`));
});
after(async () => {
  await browser?.close();
  await program?.kill();
  await example?.stop();
});

async function start() {
  program = new Program(process.execPath, ['app.mjs'], {
    cwd: example.folder, env: { SIDECAR_URL: example.url, CRM_SYNC_KEY: example.key, APP_PORT: example.ports.APP_PORT },
  });
  await program.says(/listening/);
}

const firstRow = () => page.locator('#contacts tr').first();

test('connected with the button, the page has contacts', async () => {
  await page.goto(`${example.url}/`);
  await page.getByText('HubSpot does not answer, or is not connected yet.').waitFor();
  await page.getByRole('link', { name: 'Connect to HubSpot' }).click();
  await page.getByRole('button', { name: /connect app/i }).click();
  await page.getByText('Live.').waitFor();
  assert.equal(await page.locator('#contacts tr').count(), 20);
});

test('what changes comes to the top', async () => {
  await person.change('109', { firstname: 'Vera', lastname: '<b>Bold</b>' });
  await firstRow().getByText('<b>Bold</b>').waitFor();
  await person.change('110', { firstname: 'Wim' });
  await firstRow().getByText('Wim').waitFor();
  assert.equal(await page.locator('#contact-109').count(), 1);
});

test('what is deleted goes', async () => {
  await person.remove('109');
  await page.locator('#contact-109').waitFor({ state: 'detached' });
});

test('after a break the page is up to date again', async () => {
  await program.kill();
  await page.getByText('The connection is lost; trying again.').waitFor();
  await person.change('111', { firstname: 'Back' });
  await start();
  await firstRow().getByText('Back').waitFor();
  await page.getByText('Live.').waitFor();
  assert.deepEqual(complaints, []);
});
