// The page calls HubSpot's API on its own address: the sidecar answers there.
const contactsPath = '/crm/objects/2026-09/contacts?limit=10&properties=firstname,lastname,email,createdate';
const connectPath = '/hubspot/hbdev/connect';

const $ = (id) => document.getElementById(id);

// The address of the next page of contacts; null when there is none.
let nextPath = contactsPath;

// A problem that the sidecar or HubSpot has described.
class ApiProblem extends Error {
  constructor(status, body) {
    super(body?.message || `The answer was HTTP ${status}.`);
    this.status = status;
    this.fromSidecar = body?.category === 'SIDECAR';
    this.kind = this.fromSidecar ? body.subCategory : '';
    this.link = body?.links?.reconnect || body?.links?.connect || '';
    this.reference = body?.correlationId || '';
  }
}

async function getJSON(path) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: 'application/json' } });
  } catch {
    throw new Error('The sidecar does not answer. Is it still running?');
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) throw new ApiProblem(response.status, body);
  return { body, portal: response.headers.get('X-HubSpot-Portal') || '' };
}

function showState(state, text) {
  $('state').dataset.state = state;
  $('state').textContent = text;
}

function showOnly(section) {
  for (const id of ['connect', 'problem', 'contacts']) $(id).hidden = id !== section;
}

function cell(text) {
  const td = document.createElement('td');
  td.textContent = text;
  return td;
}

function addContact(contact) {
  const { firstname, lastname, email, createdate } = contact.properties;
  const created = new Date(createdate || contact.createdAt);
  const tr = document.createElement('tr');
  tr.append(
    cell([firstname, lastname].filter(Boolean).join(' ') || '–'),
    cell(email || '–'),
    cell(Number.isNaN(created.valueOf()) ? '–' : created.toLocaleDateString(undefined, { dateStyle: 'medium' })),
  );
  $('rows').append(tr);
}

function showContacts(body, portal) {
  body.results.forEach(addContact);
  const after = body.paging?.next?.after;
  nextPath = after ? `${contactsPath}&after=${encodeURIComponent(after)}` : null;
  $('more').hidden = !nextPath;
  $('count').textContent = `${$('rows').rows.length} shown`;
  if (portal) $('portal').textContent = portal;
  showState('connected', 'Connected');
  showOnly('contacts');
}

function showProblem(error) {
  showState('problem', 'Not working');
  $('problem-text').textContent = error.message;
  $('problem-reference').textContent = error.reference ? `Reference: ${error.reference}` : '';
  $('problem-link').hidden = !error.link;
  if (error.link) {
    $('problem-link').href = error.link;
    $('problem-link').textContent = 'Connect again';
  }
  showOnly('problem');
}

function showError(error) {
  if (error.kind === 'not_connected') {
    showState('disconnected', 'Not connected');
    showOnly('connect');
    return;
  }
  // A 401 means that the installation in HubSpot is gone, whether the sidecar
  // says so or HubSpot itself.
  if (error.status === 401) error.link = connectLink();
  showProblem(error);
}

// Contacts that are already shown stay when more of them cannot be had.
async function load() {
  $('more').disabled = true;
  try {
    const { body, portal } = await getJSON(nextPath);
    showContacts(body, portal);
  } catch (error) {
    showError(error);
  } finally {
    $('more').disabled = false;
  }
}

// connectLink asks to be sent back here. It names localhost, as the app's
// redirect_uri does, whatever name this page was opened under.
function connectLink() {
  const home = new URL('/', location.href);
  home.hostname = 'localhost';
  const link = new URL(connectPath, home);
  link.searchParams.set('return_to', home.href);
  return link.href;
}

// greet says that the way through HubSpot is done, and takes the news out of
// the address so that a reload does not repeat it.
function greet() {
  const query = new URLSearchParams(location.search);
  if (query.get('hubspot') !== 'connected') return;
  $('notice').textContent = 'HubSpot is connected.';
  $('notice').hidden = false;
  history.replaceState(null, '', location.pathname);
}

$('connect-link').href = connectLink();
$('disconnect').textContent =
  `curl -X DELETE -H 'Authorization: Bearer quickstart-key-for-this-machine-only' ${location.origin}/hubspot/connections/hbdev/acme`;
$('more').addEventListener('click', load);
$('retry').addEventListener('click', load);
greet();
load();
