"""Sends one message by pywebpush: reads what to send as JSON, writes the status of the answer as JSON."""

import json
import sys

from pywebpush import WebPushException, webpush

TIMEOUT_SECONDS = 60


def send(message):
    """The status that the push server answers."""
    headers = {}
    if message.get("topic"):
        headers["Topic"] = message["topic"]
    key = message.get("privateKey")
    try:
        response = webpush(
            message["subscription"],
            data=message.get("payload"),
            vapid_private_key=key,
            vapid_claims={"sub": message["subject"]} if key else None,
            content_encoding=message["encoding"],
            ttl=message["ttl"],
            headers=headers,
            timeout=TIMEOUT_SECONDS,
        )
    except WebPushException as refused:
        if refused.response is None:
            raise
        response = refused.response
    return response.status_code


json.dump({"status": send(json.load(sys.stdin))}, sys.stdout)
