// Keeps the table as the contacts are. The stream is opened first and the table
// loaded then, each time, so that nothing is missed in between; which of two
// versions of a contact is newer, it says itself.

const properties = ['email', 'firstname', 'lastname', 'lifecyclestage'];
const table = document.getElementById('contacts');
const state = document.getElementById('state');
const rows = new Map(); // by contact id

function show({ id, properties: values, updatedAt }) {
  const known = rows.get(id);
  if (known?.updatedAt >= updatedAt) return;
  const row = document.createElement('tr');
  row.id = `contact-${id}`;
  row.updatedAt = updatedAt;
  for (const name of properties) row.insertCell().textContent = values[name] ?? '';
  row.insertCell().textContent = new Date(updatedAt).toLocaleString();
  known?.remove();
  rows.set(id, row);
  // The latest is on top.
  table.insertBefore(row, [...table.rows].find((other) => other.updatedAt < updatedAt) ?? null);
  return row;
}

async function load() {
  const response = await fetch('/contacts');
  if (!response.ok) throw new Error('HubSpot does not answer, or is not connected yet.');
  (await response.json()).forEach(show);
}

// Back to this page once connected.
document.getElementById('connect').search = new URLSearchParams({ return_to: `${location.origin}/` });

const stream = new EventSource('/events');
stream.onopen = () => {
  table.replaceChildren();
  rows.clear();
  load().then(() => { state.textContent = 'Live.'; }, (error) => { state.textContent = error.message; });
};
stream.onerror = () => { state.textContent = 'The connection is lost; trying again.'; };
stream.addEventListener('contact', ({ data }) => show(JSON.parse(data))?.classList.add('changed'));
stream.addEventListener('gone', ({ data }) => {
  const { id } = JSON.parse(data);
  rows.get(id)?.remove();
  rows.delete(id);
});
