// Somebody who works in HubSpot: changes contacts of the sandbox, by the sidecar
// and its caller "somebody", which the sandbox takes for a person.

const contacts = '/crm/objects/2026-09/contacts';

export class Person {
  #example;
  #user;

  // user is the customer whose account it is.
  constructor(example, user) {
    this.#example = example;
    this.#user = user;
  }

  change(id, properties) { return this.#call('PATCH', `${contacts}/${id}`, { properties }); }

  // create returns the id of a new contact.
  async create(properties) { return (await this.#call('POST', contacts, { properties })).id; }

  remove(id) { return this.#call('DELETE', `${contacts}/${id}`); }

  async #call(method, path, body) {
    const answer = await this.#example.call(`/as/${encodeURIComponent(this.#user)}${path}`, {
      method, body: body && JSON.stringify(body),
      headers: { Authorization: `Bearer ${this.#example.env.SOMEBODY_KEY}`, 'Content-Type': 'application/json', 'X-Sandbox-Change-Source': 'CRM_UI' },
    });
    if (answer.status >= 300) throw new Error(`${method} ${path}: HTTP ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}
