"""An instance whose client of Eureka is py_eureka_client, or eurekapy, which was made of it.

It registers, asks for changes every second, and says over HTTP what it knows: `/seen`. `/status?VALUE`
has it put a status over its own, `/restore` take it back, `/stop` say farewell. Its heartbeats go on
after that: who stops it ends it.
"""

import asyncio
import importlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

module, servers, app, instance_id, port = sys.argv[1:]
eureka_client = importlib.import_module(f"{module}.eureka_client")
client = eureka_client.init(
    eureka_server=servers, app_name=app, instance_id=instance_id, instance_ip="127.0.0.1",
    instance_host="127.0.0.1", instance_port=int(port), renewal_interval_in_secs=1,
    duration_in_secs=30, metadata={"color": "alice", "of": module})


def seen() -> dict[str, list[dict[str, object]]]:
    """What it knows, by application."""
    applications = client.applications
    if applications is None:
        return {}
    return {it.name: [shown(one) for one in it.instances] for it in applications.applications if it.instances}


def shown(instance: object) -> dict[str, object]:
    names = {"id": "instanceId", "status": "status", "ip": "ipAddr", "vip": "vipAddress", "metadata": "metadata"}
    said = {name: getattr(instance, its) for name, its in names.items()}
    return said | {"port": instance.port.port}


class Control(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/status":
            asyncio.run(client.status_update(url.query))
        elif url.path == "/restore":
            asyncio.run(client.delete_status_override())
        elif url.path == "/stop":
            asyncio.run(client.stop())
        body = json.dumps(seen()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Control)
print("listening", server.server_port, flush=True)
server.serve_forever()
