"""HubSpot's API through the sidecar, for one customer."""

import http.client
import json
import urllib.parse

CALL_TIMEOUT = 8  # seconds; the sidecar waits ten for the answer to a delivery


class HubSpotError(Exception):
    """An answer that is no success, HubSpot's or the sidecar's: they have one
    shape. Status 0 is none at all."""

    def __init__(self, status, body, retry_after=None):
        text = f"HTTP {status}: {body.get('message')}" if status else body.get("message")
        links = body.get("links") or {}
        link = links.get("connect") or links.get("reconnect")
        super().__init__(f"{text}\nto connect the account: {link}" if link else text)
        self.status = status
        self.retry_after = int(retry_after) if (retry_after or "").isdigit() else None


class HubSpot:
    """Calls for one customer. It does not try again: the sidecar has, for as long
    as its max_wait is, and beyond that the outbox and the queue of webhooks do."""

    def __init__(self, sidecar, key, user):
        self._address = urllib.parse.urlsplit(sidecar)
        self._key = key
        self._prefix = "/as/" + urllib.parse.quote(user, safe="")

    def call(self, method, path, body=None):
        """Returns the JSON of a successful answer."""
        connection = http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=CALL_TIMEOUT)
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, self._prefix + path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise HubSpotError(0, {"message": f"{method} {path}: {error}"}) from error
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:  # HubSpot's edge has HTML for errors
            answer = {"message": response.reason}
        if response.status >= 300:
            raise HubSpotError(response.status, answer, response.getheader("Retry-After"))
        return answer
