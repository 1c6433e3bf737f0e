// Runs an example for a test: a copy of its folder, on free ports, with the
// caddy binary that CADDY names (./caddy of the checkout if unset).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const checkout = fileURLToPath(new URL('../../', import.meta.url));
// On a machine that does much else, everything takes its time.
const startTimeout = 120_000;
const stopTimeout = 60_000;

// The portals that the sandbox has.
export const acmePortal = 62515001;
export const limitedPortal = 145700002;

export class Example {
  #process;
  #log = '';
  #envFile;

  // start runs examples/<name>. What else listens beside Caddy, as the program
  // that an example is about, has the port in APP_PORT.
  static async start(name) {
    const example = new Example();
    const source = join(checkout, 'examples', name);
    example.folder = await mkdtemp(join(tmpdir(), 'caddy-hubspot-e2e-'));
    await cp(source, example.folder, { recursive: true, filter: (path) => path !== join(source, 'data') });
    example.#envFile = (await readdir(source)).find((file) => file.endsWith('.env'));
    const env = await readFile(join(source, example.#envFile), 'utf8');
    example.env = Object.fromEntries([...env.matchAll(/^(\w+)=(.+)$/gm)].map(([, name, value]) => [name, value]));
    example.key = example.env.CRM_SYNC_KEY;
    await onFreePorts(4, ([sidecar, sandbox, admin, app]) => {
      example.ports = { SIDECAR_PORT: `${sidecar}`, SANDBOX_PORT: `${sandbox}`, ADMIN_PORT: `${admin}`, APP_PORT: `${app}` };
      example.url = `http://localhost:${sidecar}`;
      example.sandboxURL = `http://localhost:${sandbox}`;
      return example.resume();
    });
    return example;
  }

  // resume starts the process again after pause.
  async resume() {
    const caddy = resolve(checkout, process.env.CADDY || 'caddy');
    this.#process = spawn(caddy, ['run', '--config', 'Caddyfile', '--envfile', this.#envFile], {
      cwd: this.folder,
      env: { ...process.env, ...this.ports, XDG_DATA_HOME: this.folder, XDG_CONFIG_HOME: this.folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.#log += text; });
    }
    const failed = once(this.#process, 'error').then(([error]) => { throw error; });
    await Promise.race([failed, this.#ready()]);
  }

  async #ready() {
    const deadline = Date.now() + startTimeout;
    for (const url of [`${this.url}/`, `${this.sandboxURL}/`]) {
      for (;;) {
        if (this.#process.exitCode !== null) throw new Error(`caddy ended with ${this.#process.exitCode}:\n${this.#log}`);
        if (Date.now() > deadline) throw new Error(`nothing answers at ${url}:\n${this.#log}`);
        const response = await fetch(url).catch(() => null);
        if (response) break;
        await delay(50);
      }
    }
  }

  // pause stops the process as Ctrl-C does, and keeps the folder.
  async pause() {
    if (!this.#process || this.#process.exitCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGINT');
    const killer = setTimeout(() => this.#process.kill('SIGKILL'), stopTimeout);
    const [code] = await ended;
    clearTimeout(killer);
    if (code !== 0) throw new Error(`caddy ended with ${code}:\n${this.#log}`);
  }

  async stop() {
    await this.pause();
    await rm(this.folder, { recursive: true, force: true });
  }

  // log is everything that Caddy has printed.
  get log() { return this.#log; }

  // call makes a request as the caller crm-sync.
  async call(path, init = {}) {
    const response = await fetch(this.url + path, {
      redirect: 'manual', ...init,
      headers: { Authorization: `Bearer ${this.key}`, ...init.headers },
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
  }

  // connect installs the app for a user by the link API; the sandbox consents
  // at once, in the given portal.
  async connect(user, hubId) {
    const { status, body } = await this.call(`/hubspot/auth/hbdev?userForeignIdentifier=${encodeURIComponent(user)}`);
    if (status !== 200) throw new Error(`asking for a link: HTTP ${status}: ${JSON.stringify(body)}`);
    const consent = await fetch(`${body.url}&_sandbox_approve=${hubId}`, { redirect: 'manual' });
    const callback = await fetch(consent.headers.get('Location'), { redirect: 'manual', headers: { Accept: 'application/json' } });
    if (callback.status !== 200) throw new Error(`returning from the sandbox: HTTP ${callback.status}: ${await callback.text()}`);
    return callback.json();
  }

  // fault asks the sandbox to misbehave.
  async fault(settings) {
    const response = await fetch(`${this.sandboxURL}/_sandbox/faults`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(settings),
    });
    if (!response.ok) throw new Error(`setting a fault: HTTP ${response.status}: ${await response.text()}`);
    return response.json();
  }

  // sendWebhooks has the sandbox send its webhooks somewhere else; '' is nowhere.
  async sendWebhooks(url) {
    const response = await fetch(`${this.sandboxURL}/_sandbox/webhooks`, { method: 'POST', body: JSON.stringify({ target_url: url }) });
    if (!response.ok) throw new Error(`sending webhooks to ${url}: HTTP ${response.status}: ${await response.text()}`);
  }

  async clearFaults() {
    await fetch(`${this.sandboxURL}/_sandbox/faults`, { method: 'DELETE' });
  }
}

// onFreePorts has something started on ports, and on others where somebody else
// has taken one meanwhile.
export async function onFreePorts(count, start) {
  for (let left = 5; ; left--) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      if (left === 0 || !/address already in use/.test(error.message)) throw error;
    }
  }
}

// freePorts takes ports that the system does not give to connections of its own.
async function freePorts(count) {
  const ports = new Set();
  while (ports.size < count) {
    const port = 20000 + Math.floor(Math.random() * 10000);
    const server = createServer();
    const free = await new Promise((done) => {
      server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true));
    });
    if (!free) continue;
    await new Promise((done) => server.close(done));
    ports.add(port);
  }
  return [...ports];
}
