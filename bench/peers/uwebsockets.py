"""uWebSockets, through the Python package socketify: its native publish/subscribe, one topic per room.

python uwebsockets.py PORT

Its limits are its own: it drops messages for a client that has more than 64 KiB to read.
"""

import json
import sys
import time
from typing import Any

from socketify import App, AppListenOptions, OpCode

app = App()


def on_upgrade(response: Any, request: Any, context: Any) -> None:
    key = request.get_header("sec-websocket-key")
    response.upgrade(key, "", "", context, {"username": ""})


def on_message(ws: Any, text: str, _: OpCode) -> None:
    command = json.loads(text)
    person = ws.get_user_data()
    if command["type"] == "join":
        person["username"] = command["username"]
        ws.subscribe(command["room"])
        ws.send('{"type":"welcome"}', OpCode.TEXT)
    elif person["username"]:
        said = {
            "type": "message",
            "username": person["username"],
            "content": command["content"],
            "timestamp": int(time.time() * 1000),
        }
        # The app's publish reaches the sender too; the socket's leaves it out.
        app.publish(command["room"], json.dumps(said, separators=(",", ":")), OpCode.TEXT)


app.ws("/ws", {"upgrade": on_upgrade, "message": on_message})
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
app.run()
