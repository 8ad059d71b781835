"""Twilio's library against the simulator whose URL, account and token are given; what it saw, as JSON."""
import datetime
import http.server
import json
import queue
import sys
import threading
import urllib.parse

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

base, account, token = sys.argv[1:]
reports = queue.Queue()


class Desk(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        reports.put((self.path, self.headers["X-Twilio-Signature"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Redirected(TwilioHttpClient):
    """The library knows only its maker's host."""

    def request(self, method, url, *arguments, **named):
        return super().request(method, base + urllib.parse.urlsplit(url)._replace(scheme="", netloc="").geturl(), *arguments, **named)


desk = http.server.HTTPServer(("127.0.0.1", 0), Desk)
threading.Thread(target=desk.serve_forever, daemon=True).start()
own = f"http://127.0.0.1:{desk.server_port}"
client = Client(account, token, http_client=Redirected())
seen = {}
sent = client.messages.create(
    to="+79161234567", from_="+15005550006", body="Посылка & письмо", status_callback=f"{own}/report?reference=python"
)
seen["sid"] = sent.sid
seen["fetched"] = client.messages(sent.sid).fetch().body
since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
seen["listed"] = [one.body for one in client.messages.list(to="+79161234567", date_sent_after=since, page_size=1)]
try:
    client.messages.create(to="12", from_="+15005550006", body="a")
except TwilioRestException as refused:
    seen["refused"] = refused.code

path, signature, body = reports.get(timeout=60)
form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True))
seen["signed"] = RequestValidator(token).validate(own + path, form, signature)
seen["forged"] = RequestValidator("another").validate(own + path, form, signature)
seen["url"] = "https://shop.example:8443/reports?reference=order+7"
seen["form"] = urllib.parse.urlencode({"b": "2 ё", "A": "1", "MessageSid": "SM1", "empty": ""})
signed = dict(urllib.parse.parse_qsl(seen["form"], keep_blank_values=True))
seen["signature"] = RequestValidator(token).compute_signature(seen["url"], signed)
print(json.dumps(seen))
