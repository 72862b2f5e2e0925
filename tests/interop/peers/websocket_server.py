"""Echoes WebSocket messages with the `websockets` package; tells the request's head first."""

import json

from websockets.sync.server import ServerConnection, serve


def echo(connection: ServerConnection) -> None:
    request = connection.request
    assert request
    connection.send(json.dumps({"path": request.path, "headers": dict(request.headers.raw_items())}))
    for message in connection:
        connection.send(message)


with serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo"]) as server:
    print("listening", server.socket.getsockname()[1], flush=True)
    server.serve_forever()
