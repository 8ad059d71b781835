"""Verifies the signatures of a mail by dkimpy. Standard input: {"mail": base64, "records": {name: value}}; output: one word
for each signature from the top: good, bad, or what went wrong."""

import base64
import json
import sys

import dkim

asked = json.load(sys.stdin)
mail = base64.b64decode(asked["mail"])
records = {name.rstrip("."): value.encode() for name, value in asked["records"].items()}


def look_up(name, timeout=5):
    return records.get(name.decode().rstrip("."))


headers = dkim.rfc822_parse(mail)[0]
signatures = sum(1 for name, _ in headers if name.lower() == b"dkim-signature")
verdicts = []
for n in range(signatures):
    try:
        verdicts.append("good" if dkim.DKIM(mail, minkey=2048).verify(idx=n, dnsfunc=look_up) else "bad")
    except dkim.DKIMException as error:
        verdicts.append(str(error))
print(json.dumps(verdicts))
