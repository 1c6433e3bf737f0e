// What tests of the example programs need beside Caddy: the program as a process,
// and a tap between it and the sidecar.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

// Program is a process whose output is kept.
export class Program {
  #process;

  constructor(command, args, { cwd, env }) {
    this.stdout = '';
    this.stderr = '';
    this.#process = spawn(command, args, { cwd, env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const name of ['stdout', 'stderr']) {
      this.#process[name].setEncoding('utf8').on('data', (text) => { this[name] += text; });
    }
    // ended resolves to the exit code, or the signal, once all is read.
    this.ended = once(this.#process, 'close').then(([code, signal]) => code ?? signal);
  }

  get output() { return this.stdout + this.stderr; }

  // says resolves to the match when the program has printed something.
  says(pattern) {
    return until(`the program says ${pattern}`, async () => {
      const match = this.output.match(pattern);
      if (!match && this.#process.exitCode !== null) throw new Error(`the program has ended without saying ${pattern}: ${this.output}`);
      return match;
    }, async () => this.output);
  }

  // kill ends the process as a crash would.
  async kill(signal = 'SIGKILL') {
    this.#process.kill(signal);
    return this.ended;
  }
}

// until waits for a condition, such as that something has arrived, and returns
// what holds is true by. detail says more when it does not come to pass.
export async function until(what, holds, detail = async () => '') {
  for (const deadline = Date.now() + 60_000; ;) {
    const result = await holds();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}: ${await detail()}`);
    await delay(20);
  }
}

// Tap passes on what one side asks the other, and notes it.
export class Tap {
  #server;
  #target;
  #held;

  // requests are those that have had an answer, oldest first: method, path,
  // headers, body and the status of the answer.
  requests = [];

  // start listens on a port, 0 for a free one, for what is to go to target.
  static async start(target, port = 0) {
    const tap = new Tap();
    tap.target = target;
    tap.#server = createServer((incoming, outgoing) => tap.#pass(incoming, outgoing));
    tap.#server.listen(port, '127.0.0.1');
    await once(tap.#server, 'listening');
    tap.url = `http://localhost:${tap.#server.address().port}`;
    return tap;
  }

  set target(url) { this.#target = new URL(url); }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  // hold resolves when the count-th request from now on that matches has been
  // answered. Who has asked never hears of that answer.
  hold(count, matches) {
    return new Promise((reached) => { this.#held = { count, matches, reached }; });
  }

  #pass(incoming, outgoing) {
    const chunks = [];
    const { hostname, port, host } = this.#target;
    const upward = request({ hostname, port, method: incoming.method, path: incoming.url, headers: { ...incoming.headers, host } });
    upward.on('error', () => outgoing.destroy());
    upward.on('response', (answer) => {
      const noted = { method: incoming.method, path: incoming.url, headers: incoming.headers, body: Buffer.concat(chunks).toString(), status: answer.statusCode };
      this.requests.push(noted);
      if (this.#holds(noted)) return;
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.on('data', (chunk) => chunks.push(chunk));
    incoming.pipe(upward);
  }

  #holds(noted) {
    if (!this.#held?.matches(noted) || --this.#held.count > 0) return false;
    this.#held.reached();
    this.#held = undefined;
    return true;
  }
}
