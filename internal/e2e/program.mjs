// What tests of the example programs need beside Caddy: the program as a process,
// and a tap between it and the sidecar.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';

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

  // kill ends the process as a crash would.
  async kill(signal = 'SIGKILL') {
    this.#process.kill(signal);
    return this.ended;
  }
}

// Tap passes on to the sidecar what a program asks, and notes it.
export class Tap {
  #server;
  #target;
  #held;

  // requests are those that have had an answer, oldest first: method, path,
  // headers, body and the status of the answer.
  requests = [];

  static async start(target) {
    const tap = new Tap();
    tap.#target = new URL(target);
    tap.#server = createServer((incoming, outgoing) => tap.#pass(incoming, outgoing));
    tap.#server.listen(0, '127.0.0.1');
    await once(tap.#server, 'listening');
    tap.url = `http://localhost:${tap.#server.address().port}`;
    return tap;
  }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  // hold resolves when the sidecar has answered the count-th request from now on
  // that matches. The program never hears of that answer.
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
