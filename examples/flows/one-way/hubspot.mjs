// HubSpot's API through the sidecar, for one customer.

import { setTimeout as sleep } from 'node:timers/promises';

const callTimeout = 60_000;
const maxTries = 8;
const maxPause = 120_000;

// HubSpotError is an answer that is no success: HubSpot's or the sidecar's, which
// have one shape, or, with status 0, none at all.
export class HubSpotError extends Error {
  constructor(status, body, retryAfter) {
    super(body.message ?? 'no message');
    Object.assign(this, { name: 'HubSpotError', status, body, retryAfter });
  }

  // link is where the customer connects its account, or does so again, if that
  // is what is missing. Whoever opens it connects as this customer.
  get link() { return this.body.links?.connect ?? this.body.links?.reconnect; }
}

export class HubSpot {
  #base;
  #key;

  // user is the customer, by the identifier with which it was connected; key is
  // that of a caller of the sidecar, no HubSpot token.
  constructor(user, { url, key }) {
    this.#base = `${url}/as/${encodeURIComponent(user)}`;
    this.#key = key;
  }

  // call returns the JSON of a successful answer. The sidecar has tried again by
  // itself for as long as its max_wait is; a batch job has more patience. Only
  // for calls that may be made twice: after a broken connection nobody knows
  // whether HubSpot has carried out the first one.
  async call(method, path, body) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once(method, path, body);
      } catch (error) {
        const pause = pauseAfter(error, tries);
        if (pause === undefined || tries === maxTries) throw error;
        await sleep(pause);
      }
    }
  }

  async #once(method, path, body) {
    let response, text;
    try {
      response = await fetch(this.#base + path, {
        method,
        headers: {
          Authorization: `Bearer ${this.#key}`,
          'X-HubSpot-Priority': 'batch', // calls that people wait for go first
          ...(body && { 'Content-Type': 'application/json' }),
        },
        body: body && JSON.stringify(body),
        redirect: 'manual',
        signal: AbortSignal.timeout(callTimeout),
      });
      text = await response.text();
    } catch (error) {
      throw new HubSpotError(0, { message: `${method} ${path}: ${error.cause?.message ?? error.message}` });
    }
    const answer = parse(text);
    if (!response.ok) throw new HubSpotError(response.status, answer, response.headers.get('Retry-After'));
    return answer;
  }
}

// parse reads an answer. HubSpot's edge has HTML for errors.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

// pauseAfter is how many milliseconds to wait before a call is made again, or
// undefined if that would not help.
function pauseAfter({ status, body, retryAfter }, tries) {
  const passes = status === 0 || status === 423 || status === 429 || status >= 500;
  if (!passes || body?.policyName === 'DAILY') return undefined;
  if (retryAfter > 0) return retryAfter * 1000 <= maxPause ? retryAfter * 1000 : undefined;
  if (status === 429) return 10_000; // the length of HubSpot's window
  return Math.random() * Math.min(30_000, 500 * 2 ** tries);
}
