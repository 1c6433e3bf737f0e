// A person in a browser: the page, the button, the consent page, and back.
// SCREENSHOTS names a folder to keep pictures of every step in.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { chromium } from 'playwright-core';

import { acmePortal, Example } from '../example.mjs';
import { options } from './chromium.mjs';

let quickstart;
let profile;
let browser;
let page;
let complaints;

before(async () => {
  quickstart = await Example.start('quickstart');
  profile = await mkdtemp(join(tmpdir(), 'caddy-hubspot-browser-'));
  browser = await chromium.launchPersistentContext(profile, {
    ...options(), viewport: { width: 1000, height: 760 },
  });
  if (process.env.SCREENSHOTS) await mkdir(process.env.SCREENSHOTS, { recursive: true });
});
after(async () => {
  await browser?.close();
  await quickstart?.stop();
  if (profile) await rm(profile, { recursive: true, force: true });
});

// Each test has a tab, and what the browser complains about in it: scripts
// that fail, and what a content security policy has blocked.
beforeEach(async () => {
  complaints = [];
  page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  page.on('pageerror', (error) => complaints.push(`${error}`));
  page.on('console', (message) => {
    const expected = /Failed to load resource: the server responded with a status/;
    if (message.type() === 'error' && !expected.test(message.text())) complaints.push(message.text());
  });
});
afterEach(async () => {
  await page.close();
  assert.deepEqual(complaints, []);
});

async function picture(name) {
  if (!process.env.SCREENSHOTS) return;
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}

async function connect() {
  await page.getByRole('link', { name: 'Connect to HubSpot' }).click();
  await page.waitForURL(/\/oauth\/authorize/);
  await picture('consent');
  await page.getByRole('button', { name: /connect app/i }).click();
}

test('button, consent, contacts', async () => {
  await page.goto(`${quickstart.url}/`);
  await page.getByText('Not connected').waitFor();
  await picture('not-connected');

  await connect();
  await page.waitForURL(`${quickstart.url}/`);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  await page.getByText('HubSpot is connected.').waitFor();
  assert.equal(await page.locator('#rows tr').count(), 10);
  assert.equal(await page.locator('#portal').textContent(), `${acmePortal}`);
  await picture('contacts');

  await page.getByRole('button', { name: 'Show more' }).click();
  await page.getByText('20 shown').waitFor();
  await page.getByText('How do I disconnect?').click();
  await picture('contacts-more');
});

test('a reload and a restart show the contacts again', async () => {
  await quickstart.pause();
  await quickstart.resume();
  await page.goto(`${quickstart.url}/`);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  assert.ok(await page.getByText('HubSpot is connected.').isHidden());
});

test('in the dark, on a phone', async () => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 390, height: 780 });
  await page.goto(`${quickstart.url}/`);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.equal(overflow, false, 'the page is wider than the screen');
  await picture('contacts-phone-dark');
});

test('an app that was uninstalled can be connected again', async () => {
  await quickstart.fault({ uninstall: { hub_id: acmePortal } });
  await page.goto(`${quickstart.url}/`);
  await page.getByText('That did not work').waitFor();
  await picture('uninstalled');
  await page.getByRole('link', { name: 'Connect again' }).click();
  await page.getByRole('button', { name: /connect app/i }).click();
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
});

test('the page by its IP address connects too', async () => {
  await quickstart.call('/hubspot/connections/hbdev/acme', { method: 'DELETE' });
  await page.goto(`${quickstart.url.replace('localhost', '127.0.0.1')}/`);
  await connect();
  await page.waitForURL(`${quickstart.url}/`);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
});

test('a callback that nobody asked for gets a page that helps', async () => {
  const response = await page.goto(`${quickstart.url}/hubspot/hbdev/callback?code=made-up`);
  assert.equal(response.status(), 400);
  await page.getByRole('heading', { name: 'Please start from the application' }).waitFor();
  await picture('no-state');
});

test('a consent that is declined', async () => {
  await page.goto(`${quickstart.url}/hubspot/hbdev/connect`);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText(/not connected|nothing (has been|was) (connected|installed)|cancel/i).first().waitFor();
  await picture('declined');
  await page.goto(`${quickstart.url}/`);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
});

test('without return_to, the result is a page of its own', async () => {
  await page.goto(`${quickstart.url}/hubspot/hbdev/connect`);
  await page.getByRole('button', { name: /connect app/i }).click();
  await page.waitForURL(/\/hubspot\/hbdev\/callback/);
  await page.getByRole('heading', { name: 'Connected to HubSpot' }).waitFor();
  await picture('result');
});
