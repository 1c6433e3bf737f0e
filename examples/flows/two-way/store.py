"""The app's own contacts, in SQLite, and which of their fields HubSpot has not
seen yet."""

import contextlib
import sqlite3

FIELDS = ("email", "firstname", "lastname", "phone")

CONTACT = """CREATE TABLE IF NOT EXISTS contact (
    id         INTEGER PRIMARY KEY,
    hubspot_id TEXT UNIQUE,
    email      TEXT UNIQUE NOT NULL,
    firstname  TEXT NOT NULL DEFAULT '',
    lastname   TEXT NOT NULL DEFAULT '',
    phone      TEXT NOT NULL DEFAULT ''
)"""

# The outbox. Another change of the same field has another number.
UNSENT = """CREATE TABLE IF NOT EXISTS unsent (
    change  INTEGER PRIMARY KEY AUTOINCREMENT,
    contact INTEGER NOT NULL REFERENCES contact ON DELETE CASCADE,
    field   TEXT NOT NULL,
    refused TEXT,
    UNIQUE (contact, field) ON CONFLICT REPLACE
)"""


class Store:
    """The database. Each method is one transaction; processes and threads may use
    it at the same time."""

    def __init__(self, path):
        self._path = path
        with self._transaction() as db:
            db.execute(CONTACT)
            db.execute(UNSENT)

    @contextlib.contextmanager
    def _transaction(self):
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()  # without a commit all is undone

    def set(self, email, values):
        """A change of the app's own: HubSpot is to have it."""
        with self._transaction() as db:
            db.execute("INSERT INTO contact (email) VALUES (?) ON CONFLICT DO NOTHING", (email.lower(),))
            contact = db.execute("SELECT * FROM contact WHERE email = ?", (email.lower(),)).fetchone()
            for field in FIELDS:
                if field in values and (values[field] != contact[field] or contact["hubspot_id"] is None):
                    db.execute(f"UPDATE contact SET {field} = ? WHERE id = ?", (values[field], contact["id"]))
                    db.execute("INSERT INTO unsent (contact, field) VALUES (?, ?)", (contact["id"], field))

    def apply(self, contacts, gone=()):
        """What contacts are in HubSpot, and the ids of those that are no longer
        there. A field that HubSpot has yet to hear about stays as it is here.
        Nothing of this is sent back: that is what keeps two systems from answering
        each other for ever."""
        with self._transaction() as db:
            for contact in contacts:
                self._apply(db, contact["id"], contact["properties"])
            db.executemany("DELETE FROM contact WHERE hubspot_id = ?", [(hubspot_id,) for hubspot_id in gone])

    def _apply(self, db, hubspot_id, properties):
        email = properties.get("email")
        if not email:
            return  # here, a contact is known by its address
        # Whoever has the address in HubSpot is the contact that has it here.
        db.execute(
            """INSERT INTO contact (hubspot_id, email) VALUES (?, ?)
               ON CONFLICT (hubspot_id) DO NOTHING
               ON CONFLICT (email) DO UPDATE SET hubspot_id = excluded.hubspot_id""",
            (hubspot_id, email),
        )
        for field in FIELDS:
            db.execute(
                f"""UPDATE OR IGNORE contact SET {field} = ? WHERE hubspot_id = ? AND NOT EXISTS
                    (SELECT 1 FROM unsent WHERE contact = contact.id AND field = ? AND refused IS NULL)""",
                (properties.get(field) or "", hubspot_id, field),
            )

    def unsent(self, limit):
        """Up to so many contacts that have changes to send: a list of (contact,
        names of fields, numbers of changes)."""
        with self._transaction() as db:
            rows = db.execute(
                """SELECT contact.*, group_concat(field) AS fields, group_concat(change) AS changes
                   FROM unsent JOIN contact ON contact.id = unsent.contact WHERE refused IS NULL
                   GROUP BY contact.id ORDER BY min(change) LIMIT ?""",
                (limit,),
            ).fetchall()
        return [(row, row["fields"].split(","), [int(n) for n in row["changes"].split(",")]) for row in rows]

    def sent(self, contact, changes, hubspot_id):
        """HubSpot has these changes. Two contacts here may be one there, which has
        both addresses; its id is then that of the first."""
        with self._transaction() as db:
            db.execute("UPDATE OR IGNORE contact SET hubspot_id = ? WHERE id = ?", (hubspot_id, contact["id"]))
            db.executemany("DELETE FROM unsent WHERE change = ?", [(n,) for n in changes])

    def refused(self, changes, reason):
        """HubSpot does not take these changes. They wait for another change."""
        with self._transaction() as db:
            db.executemany("UPDATE unsent SET refused = ? WHERE change = ?", [(reason, n) for n in changes])

    @property
    def complete(self):
        """Whether all that was in HubSpot at the beginning has been stored."""
        with self._transaction() as db:
            return db.execute("PRAGMA user_version").fetchone()[0] == 1

    @complete.setter
    def complete(self, value):
        with self._transaction() as db:
            db.execute(f"PRAGMA user_version = {int(value)}")

    def hubspot_ids(self):
        """The ids of all contacts that HubSpot has."""
        return {contact["hubspot_id"] for contact in self.contacts() if contact["hubspot_id"]}

    def contacts(self):
        """All contacts, by address."""
        with self._transaction() as db:
            return db.execute("SELECT * FROM contact ORDER BY email").fetchall()
