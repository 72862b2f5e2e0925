"""A service with no word of tenants in it, run under `opentelemetry-instrument`: flask in, requests out.

It asks `via` for `/echo` of `host`, both of its query, and hands on the answer.
"""

import requests
from flask import Flask, request
from werkzeug.serving import make_server

app = Flask(__name__)


@app.get("/")
def ahead() -> tuple[str, int]:
    answer = requests.get(f"http://{request.args['via']}/echo", headers={"Host": request.args["host"]}, timeout=10)
    return answer.text, answer.status_code


server = make_server("127.0.0.1", 0, app, threaded=True)
print("listening", server.server_port, flush=True)
server.serve_forever()
