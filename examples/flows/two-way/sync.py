#!/usr/bin/env python3
"""Keeps the contacts of an app and those of a customer's HubSpot account alike.

    CRM_SYNC_KEY=… python3 sync.py serve         keeps them alike
    python3 sync.py set ada@example.com firstname=Ada phone=123
    python3 sync.py show

What changes in HubSpot comes as webhooks, through the sidecar, which has checked
them and keeps each until it is answered with 2xx here. What the app changes is in
its database as unsent until HubSpot has it.
"""

import json
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hubspot import HubSpot, HubSpotError
from store import FIELDS, Store

CONTACTS = "/crm/objects/2026-09/contacts"
BATCH = 100  # HubSpot's limit, of lists and of batches
IDLE = 1  # seconds between looks at the outbox
MAX_PAUSE = 60  # seconds after an error


def is_echo(event):
    """Tells whether an event is about a change that this app has made itself."""
    return event.get("changeSource") == "INTEGRATION" and str(event.get("sourceId")) == str(event.get("appId"))


def is_contact(event):
    return event["subscriptionType"].startswith("contact.") or event.get("objectTypeId") == "0-1"


class Sync:
    """Both directions, for one customer. One lock keeps them apart: what was read
    from HubSpot before a change was written there must not be stored after it."""

    def __init__(self, hubspot, store, user):
        self._hubspot, self._store, self.user = hubspot, store, user
        self._lock = threading.Lock()

    def pull_all(self):
        """Reads all contacts: the beginning, and what makes up for anything lost."""
        after, seen = "0", set()
        while after:
            query = urllib.parse.urlencode({"limit": BATCH, "properties": ",".join(FIELDS), "after": after})
            with self._lock:
                page = self._hubspot.call("GET", f"{CONTACTS}?{query}")
                self._store.apply(page["results"])
            seen.update(contact["id"] for contact in page["results"])
            after = page.get("paging", {}).get("next", {}).get("after")
        self._read(self._store.hubspot_ids() - seen)
        self._store.complete = True

    def take(self, events):
        """Takes in what webhooks say. Their order is not that of the changes, and
        they may come twice, so they only say which contacts to read."""
        ids = set()
        for event in events:
            if is_contact(event) and not is_echo(event):
                ids.update(str(n) for n in [event["objectId"], *event.get("mergedObjectIds", [])])
        self._read(ids)

    def _read(self, ids):
        """Stores what contacts are in HubSpot, or that they are no longer there."""
        ids = sorted(ids)
        for batch in (ids[i : i + BATCH] for i in range(0, len(ids), BATCH)):
            body = {"inputs": [{"id": n} for n in batch], "properties": FIELDS}
            with self._lock:
                found = self._hubspot.call("POST", f"{CONTACTS}/batch/read", body)["results"]
                self._store.apply(found, gone=set(batch) - {contact["id"] for contact in found})

    def push(self):
        """Writes what HubSpot has not seen, and returns whether there was any."""
        with self._lock:
            unsent = self._store.unsent(BATCH)
            self._write([entry for entry in unsent if entry[0]["hubspot_id"]], "update")
            self._write([entry for entry in unsent if not entry[0]["hubspot_id"]], "upsert")
        return bool(unsent)

    def _write(self, entries, operation):
        """Writes contacts in one batch. Known ones go by their id, since their
        address may be what has changed; new ones by their address, so that a
        batch whose answer got lost can be written again."""
        if not entries:
            return
        try:
            answer = self._hubspot.call("POST", f"{CONTACTS}/batch/{operation}", {"inputs": [inputs(*entry[:2]) for entry in entries]})
        except HubSpotError as error:
            if error.status not in (400, 409):
                raise
            if len(entries) == 1:
                return self._refused(entries[0], str(error))
            # One bad contact spoils a batch: halves find it.
            middle = len(entries) // 2
            self._write(entries[:middle], operation)
            self._write(entries[middle:], operation)
            return
        # Some may have failed, whether the status is 200 or 207.
        ids = {result["properties"].get("email") if operation == "upsert" else result["id"]: result["id"] for result in answer["results"]}
        for entry in entries:
            contact, _, changes = entry
            written = ids.get(contact["email"] if operation == "upsert" else contact["hubspot_id"])
            if written:
                self._store.sent(contact, changes, written)
            else:
                self._refused(entry, json.dumps(answer.get("errors")))

    def _refused(self, entry, reason):
        contact, fields, changes = entry
        print(f"refused: {contact['email']}, {', '.join(fields)}: {reason}", file=sys.stderr, flush=True)
        self._store.refused(changes, reason)


def inputs(contact, fields):
    """What a batch says of a contact."""
    properties = {field: contact[field] for field in fields}
    if contact["hubspot_id"]:
        return {"id": contact["hubspot_id"], "properties": properties}
    return {"id": contact["email"], "idProperty": "email", "objectWriteTraceId": str(contact["id"]), "properties": properties}


def handler(sync):
    """The class that takes in deliveries of the sidecar."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            if self.path != "/hubspot-events":
                return self._answer(404)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            users = [urllib.parse.unquote(user) for user in self.headers.get("X-HubSpot-Users", "").split(",")]
            try:
                if sync.user in users:
                    sync.take(json.loads(body))
            except HubSpotError as error:
                # The sidecar delivers it again, and keeps it as a dead letter if
                # that is in vain for long.
                print(f"delivery {self.headers.get('X-HubSpot-Delivery')}: {error}", file=sys.stderr, flush=True)
                return self._answer(503)
            self._answer(204)

        def _answer(self, status):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


def serve(sync, port, pull):
    server = ThreadingHTTPServer(("127.0.0.1", port), handler(sync))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    pause = threading.Event()
    while True:
        wait = IDLE
        try:
            if pull:
                sync.pull_all()
                pull = False
                print("all contacts are here", flush=True)
            wait = 0 if sync.push() else IDLE
        except HubSpotError as error:
            print(error, file=sys.stderr, flush=True)
            wait = min(error.retry_after or 5, MAX_PAUSE)
        pause.wait(wait)


def main(command="", *args):
    store = Store(os.environ.get("DATABASE", "contacts.db"))
    if command == "serve":
        user = os.environ.get("HUBSPOT_USER", "acme")
        key = os.environ.get("CRM_SYNC_KEY") or sys.exit("CRM_SYNC_KEY is not set: it is the key of a caller of the sidecar")
        hubspot = HubSpot(os.environ.get("SIDECAR_URL", "http://localhost:8080"), key, user)
        serve(Sync(hubspot, store, user), int(os.environ.get("APP_PORT", 3000)), pull="--pull" in args or not store.complete)
    elif command == "set" and len(args) > 1 and all(arg.partition("=")[0] in FIELDS for arg in args[1:]):
        store.set(args[0], dict(arg.split("=", 1) for arg in args[1:]))
    elif command == "show":
        for contact in store.contacts():
            print(*(contact[field] for field in FIELDS), sep="\t")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
