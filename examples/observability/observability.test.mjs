// A real Prometheus with the example's rules scrapes a sidecar that works: every
// query of the rules and of the dashboard has to find something.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { acmePortal, Example, onFreePorts } from '../../internal/e2e/example.mjs';
import { Program } from '../../internal/e2e/program.mjs';

const folder = fileURLToPath(new URL('.', import.meta.url));
const dashboard = JSON.parse(await readFile(join(folder, 'dashboard.json'), 'utf8'));
const patience = 60_000;

let example, prometheus, url, data;

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'caddy-hubspot-prometheus-'));
  example = await Example.start('quickstart');
  await work();
  prometheus = await onFreePorts(1, startPrometheus);
});
after(async () => {
  await prometheus?.kill('SIGTERM');
  await example?.stop();
  if (data) await rm(data, { recursive: true, force: true });
});

// work has the sidecar do a little of everything that is measured by event.
async function work() {
  await example.connect('acme', acmePortal);
  const acme = { headers: { 'X-HubSpot-User': 'acme' } };
  await example.fault({ api: { answer: 'rate_limited', times: 1 } });
  assert.equal((await example.call('/crm/v3/objects/contacts?limit=1', acme)).status, 200);
  // More than the quota has room for at once.
  const hurried = { headers: { ...acme.headers, 'X-HubSpot-Max-Wait': '0' } };
  const statuses = await Promise.all(Array.from({ length: 130 }, () => example.call('/account-info/2026-09/details', hurried).then(({ status }) => status)));
  assert.ok(statuses.includes(429), `${statuses}`);
  const admin = `http://localhost:${example.ports.ADMIN_PORT}`;
  const refreshed = await fetch(`${admin}/hubspot/connections/hbdev/acme/refresh`, { method: 'POST', headers: { Origin: admin } });
  assert.equal(refreshed.status, 200, await refreshed.text());
  // Uses are noted once a second.
  await until('the new token to be in use', async () => {
    assert.equal((await example.call('/account-info/2026-09/details', acme)).status, 200);
    return (await (await fetch(`${admin}/metrics`, { headers: { Origin: admin } })).text()).includes('caddy_hubspot_time_left_seconds{');
  });
}

// startPrometheus starts it with the example's config, but that it is in a hurry.
async function startPrometheus([port]) {
  const config = (await readFile(join(folder, 'prometheus.yml'), 'utf8'))
    .replace('localhost:2019', `localhost:${example.ports.ADMIN_PORT}`)
    .replace('rules.yml', join(folder, 'rules.yml'))
    .replaceAll('15s', '1s');
  await writeFile(join(data, 'prometheus.yml'), config);
  const program = new Program('prometheus', [
    `--config.file=${join(data, 'prometheus.yml')}`, `--storage.tsdb.path=${join(data, 'tsdb')}`, `--web.listen-address=127.0.0.1:${port}`,
  ], { cwd: data, env: {} });
  url = `http://127.0.0.1:${port}`;
  const ended = program.ended.then((code) => { throw new Error(`Prometheus ended with ${code}:\n${program.output}`); });
  await Promise.race([ended, until('Prometheus to be ready', async () => (await fetch(`${url}/-/ready`).catch(() => null))?.ok)]);
  return program;
}

async function until(what, condition) {
  for (const deadline = Date.now() + patience; ;) {
    if (await condition()) return;
    if (Date.now() > deadline) throw new Error(`waiting for ${what}`);
    await delay(200);
  }
}

// finds waits until a query finds something.
async function finds(query) {
  let answer;
  await until(`something that ${query} finds`, async () => {
    answer = await (await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`)).json();
    assert.equal(answer.status, 'success', `${query}: ${answer.error}`);
    return answer.data.result.length > 0;
  });
  return answer.data.result;
}

// panels of the dashboard that show something.
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })));

test('the rules hold what their tests say', () => {
  execFileSync('promtool', ['check', 'config', 'prometheus.yml'], { cwd: folder });
  execFileSync('promtool', ['check', 'rules', '--lint-fatal', 'rules.yml'], { cwd: folder });
  execFileSync('promtool', ['test', 'rules', 'rules_test.yml'], { cwd: folder });
});

test('every rule looks at something, and none fires for what is well', async () => {
  await until('the rules to be evaluated', async () => {
    const { data: { groups } } = await (await fetch(`${url}/api/v1/rules`)).json();
    return groups.length === 1 && groups[0].rules.every(({ health }) => health === 'ok');
  });
  const { data: { groups: [{ rules }] } } = await (await fetch(`${url}/api/v1/rules`)).json();
  assert.ok(rules.length >= 14);
  for (const { name, query, state } of rules) {
    const compared = query.replace(/ (>|<) [\d.]+$/, '');
    assert.notEqual(compared, query, `${name} compares with nothing: ${query}`);
    await finds(compared);
    assert.equal(state, 'inactive', name);
  }
});

for (const { title, expr } of queries) {
  test(`the panel «${title}» shows something`, async () => {
    await finds(expr.replaceAll('$app', '.*').replaceAll('$__rate_interval', '10s'));
  });
}

test('the dashboard has the shape that Grafana reads', () => {
  assert.equal(dashboard.schemaVersion, 39);
  assert.deepEqual(dashboard.templating.list.map(({ name }) => name), ['datasource', 'app']);
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  for (const panel of dashboard.panels) {
    const { x, y, w, h } = panel.gridPos;
    assert.ok(x >= 0 && x + w <= 24 && h > 0, `${panel.title} is out of the grid`);
    for (const other of dashboard.panels) {
      const o = other.gridPos;
      assert.ok(other === panel || x + w <= o.x || o.x + o.w <= x || y + h <= o.y || o.y + o.h <= y, `${panel.title} lies over ${other.title}`);
    }
  }
  for (const panel of panels) {
    assert.ok(['timeseries', 'stat', 'table'].includes(panel.type), panel.title);
    assert.ok(panel.title && panel.description && panel.fieldConfig.defaults.unit, `${panel.title} has no words or unit`);
    for (const { datasource } of [panel, ...panel.targets]) assert.deepEqual(datasource, { type: 'prometheus', uid: '${datasource}' });
  }
});
