#!/usr/bin/env python3
"""Writes shipments.ndjson: shipment events, one JSON document a line, the same on every run.

usage: examples/make.py [SHIPMENTS] > examples/shipments.ndjson

Events of one shipment stand in the order in which they happen; those of different shipments are mixed, as a real feed
is. A larger number gives a larger file, such as 30000 for about 200,000 lines.
"""

import datetime
import heapq
import json
import random
import sys

SEED = 20260131
BEGIN = datetime.datetime(2026, 1, 12, 6, 0, tzinfo=datetime.timezone.utc)

# (name, latitude, longitude) in degrees
CITIES = [
    ("Berlin", 52.52, 13.40), ("Hamburg", 53.55, 9.99), ("München", 48.14, 11.58),
    ("Praha", 50.08, 14.44), ("Wien", 48.21, 16.37), ("Warszawa", 52.23, 21.01),
    ("Łódź", 51.76, 19.46), ("Vilnius", 54.69, 25.28), ("Rīga", 56.95, 24.11),
    ("Tallinn", 59.44, 24.75), ("Helsinki", 60.17, 24.94), ("Москва", 55.76, 37.62),
    ("Санкт-Петербург", 59.94, 30.31), ("Казань", 55.79, 49.11), ("Екатеринбург", 56.84, 60.61),
    ("Новосибирск", 55.03, 82.92), ("София", 42.70, 23.32), ("Београд", 44.79, 20.45),
    ("Астана", 51.17, 71.43), ("Бишкек", 42.87, 74.59),
]

# (name, hours between two stops: least, most)
CARRIERS = [("northline", 4, 14), ("kuryer24", 3, 9), ("ostpost", 8, 30), ("vela cargo", 6, 20)]


def text_of(moment):
    """RFC 3339 in UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def events(number, rng):
    """The events of one shipment as (moment, document), in order."""
    origin, destination = rng.sample(CITIES, 2)
    stops = rng.sample([city for city in CITIES if city not in (origin, destination)], rng.randint(0, 2))
    carrier, least, most = rng.choice(CARRIERS)
    moment = BEGIN + datetime.timedelta(seconds=rng.randint(0, 14 * 86400))
    first = {
        "carrier": carrier,
        "origin": origin[0],
        "destination": destination[0],
        "pieces": rng.choice([1, 1, 1, 1, 2, 2, 3, 8]),
        "weight_kg": round(min(rng.lognormvariate(1.2, 1.1), 950), 2),
    }
    steps = [("created", origin, first), ("picked", origin, {})]
    for city in [origin, *stops]:
        steps.append(("in_transit", city, {"lat": city[1], "lon": city[2]}))
    if rng.random() < 0.04:
        cause = rng.choice(["weather", "customs", "traffic"])
        steps.append(("delayed", stops[-1] if stops else origin, {"cause": cause}))
    steps.append(("out_for_delivery", destination, {}))
    if rng.random() < 0.03:
        steps.append(("failed_attempt", destination, {"cause": "nobody at home"}))
        steps.append(("out_for_delivery", destination, {}))
    if rng.random() < 0.02:
        steps.append(("returned", destination, {}))
    else:
        steps.append(("delivered", destination, {"signed_by": rng.choice(["neighbour", "recipient", "reception"])}))
    for seq, (status, city, more) in enumerate(steps, start=1):
        document = {"shipment": f"SH-{number:06}", "seq": seq, "status": status, "city": city[0], "at": text_of(moment)}
        yield moment, {**document, **more}
        moment += datetime.timedelta(minutes=rng.randint(least * 60, most * 60))


def main():
    shipments = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rng = random.Random(SEED)
    feeds = [
        [(moment, number, document["seq"], document) for moment, document in events(number, rng)]
        for number in range(1, shipments + 1)
    ]
    for _, _, _, document in heapq.merge(*feeds, key=lambda event: event[:3]):
        print(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
