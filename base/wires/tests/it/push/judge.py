"""Others' implementations of what our clients and simulators speak. The part is named by the argument; JSON goes in and out."""

import base64
import json
import os
import sys
import time
import urllib.parse
import urllib.request

import http_ece
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key):
    form = serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def browser(_):
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_numbers().private_value
    return {
        "private": format(private, "x"),
        "keys": {"p256dh": url64(point(key)), "auth": url64(os.urandom(16))},
    }


def receive(given):
    key = ec.derive_private_key(int(given["private"], 16), ec.SECP256R1())
    body = base64.b64decode(given["body"])
    plain = http_ece.decrypt(body, private_key=key, auth_secret=from64(given["auth"]), version="aes128gcm")
    scheme, _, rest = given["authorization"].partition(" ")
    assert scheme == "vapid", scheme
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from64(parts["k"]))
    claims = jwt.decode(parts["t"], public, algorithms=["ES256"], audience=given["audience"], options={"require": ["exp", "aud", "sub"]})
    return {"text": plain.decode(), "claims": claims}


def assertion(given):
    fields = urllib.parse.parse_qs(given["body"], strict_parsing=True)
    assert fields["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"], fields
    private = serialization.load_pem_private_key(given["private_key"].encode(), None)
    token = fields["assertion"][0]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": given["key_id"]}
    claims = jwt.decode(token, private.public_key(), algorithms=["RS256"], audience=given["audience"], options={"require": ["exp", "iat", "iss"]})
    return {"claims": claims, "bits": private.key_size}


def post(url, body, headers):
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read()


def send_web_push(base):
    vapid = ec.generate_private_key(ec.SECP256R1())
    wanted = json.dumps({"applicationServerKey": url64(point(vapid))}).encode()
    _, made = post(base + "/subscriptions", wanted, {"content-type": "application/json"})
    made = json.loads(made)
    sender = ec.generate_private_key(ec.SECP256R1())
    text = json.dumps({"title": "x", "body": "из Python"}).encode()
    keys = made["keys"]
    body = http_ece.encrypt(text, private_key=sender, dh=from64(keys["p256dh"]), auth_secret=from64(keys["auth"]), version="aes128gcm")
    claims = {"aud": base, "exp": int(time.time()) + 3600, "sub": "mailto:a@b.example"}
    token = jwt.encode(claims, vapid, algorithm="ES256")
    headers = {
        "authorization": f"vapid t={token}, k={url64(point(vapid))}",
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": "60",
    }
    return post(made["endpoint"], body, headers)[0]


def send_fcm(base):
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account

    with urllib.request.urlopen(base + "/service-account.json", timeout=30) as answer:
        file = json.loads(answer.read())
    scopes = ["https://www.googleapis.com/auth/firebase.messaging"]
    credentials = service_account.Credentials.from_service_account_info(file, scopes=scopes)
    credentials.refresh(Request())
    message = {"message": {"token": "t" * 150, "notification": {"title": "x", "body": "из Python"}}}
    headers = {"authorization": "Bearer " + credentials.token, "content-type": "application/json"}
    url = f"{base}/v1/projects/{file['project_id']}/messages:send"
    return post(url, json.dumps(message).encode(), headers)[0]


def send(given):
    return {"web_push": send_web_push(given["web_push"]), "fcm": send_fcm(given["fcm"])}


PARTS = {"browser": browser, "receive": receive, "assertion": assertion, "send": send}
print(json.dumps(PARTS[sys.argv[1]](json.load(sys.stdin))))
