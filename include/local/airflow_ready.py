"""Ask an Airflow at an address and end with 0 when all four of its processes do their work."""

import http.client
import json
import sys
import urllib.request

PROCESSES = ("metadatabase", "scheduler", "dag_processor", "triggerer")

try:
    with urllib.request.urlopen(f"{sys.argv[1]}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310
        health = json.load(answer)
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer: {error}")
waiting = [name for name in PROCESSES if (health.get(name) or {}).get("status") != "healthy"]
sys.exit(f"not healthy yet: {', '.join(waiting)}" if waiting else 0)
