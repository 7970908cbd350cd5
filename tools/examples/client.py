#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later OR MIT
"""A client of jami-connd in plain Python, from ipc/PROTOCOL.md alone.

client.py open PEER URI   joins a channel to standard input and output; exit code 0 only if both sides are complete
client.py listen URI      echoes what peers send; "URI*" is each uri that begins so
"""
import json, os, socket, sys, threading

class Client:
    def __init__(self):
        named, user = os.environ.get("JAMI_CONND_SOCKET"), os.environ.get("XDG_RUNTIME_DIR")
        user = user or f"/run/user/{os.geteuid()}"  # cron, su and sudo do not set it
        places = [user + "/jami-connd/control.sock"]
        for path in [named] if named else places + ["/run/jami-connd/control.sock"]:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            if self.sock.connect_ex(path) == 0:
                break
        else:
            sys.exit("client.py: no jami-connd answers")
        self.bytes, self.fds, self.last_id, self.lock = b"", [], 0, threading.Lock()
        self.send("hello", client="client.py")

    def send(self, method, **params):
        """Asks without waiting, from any thread; the id of the request."""
        with self.lock:
            self.last_id += 1
            request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
            self.sock.sendall(json.dumps(request).encode() + b"\n")
            return self.last_id

    def messages(self):
        """Each reply and notification with its fd or None, until the daemon goes."""
        while True:
            while b"\n" not in self.bytes:
                data, control, flags, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
                self.fds += [int.from_bytes(fd, sys.byteorder) for _, _, fd in control]
                if not data or flags & socket.MSG_CTRUNC:
                    sys.exit("client.py: the connection to jami-connd is lost")
                self.bytes += data
            line, self.bytes = self.bytes.split(b"\n", 1)
            message = json.loads(line)
            body = message.get("result") or message.get("params") or {}
            yield message, body, self.fds.pop(0) if body.get("fds") else None

def pump(client, channel, source, target, then):
    """In a thread: copies to the end of `source`, then calls `then`. What cannot be copied to its end aborts the channel."""
    def run():
        try:
            while data := os.read(source, 65536):
                while data:
                    data = data[os.write(target, data):]
            then()
        except OSError:
            client.send("channel.close", channel=channel)  # where it has ended already, that is answered not-found
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread

def open_channel(client, peer, uri):
    asked = client.send("channel.open", peer=peer, uri=uri, strict_end=True)
    for message, body, fd in client.messages():
        if message.get("id") == asked and "error" in message:
            sys.exit("client.py: " + message["error"]["message"])
        if message.get("id") == asked:
            channel = body["channel"]
            pump(client, channel, 0, fd, lambda: client.send("channel.finish", channel=channel))
            output = pump(client, channel, fd, 1, lambda: os.close(1))
        if message.get("method") == "channel.closed":
            output.join()  # the fd may still hold the last bytes
            sys.exit(None if body["reason"] == "closed" else "client.py: the channel ended with " + body["reason"])

def echo(client, channel, fd):
    pump(client, channel, fd, fd, lambda: [client.send("channel.finish", channel=channel), os.close(fd)])

def listen(client, uri):
    asked = client.send("listen.add", uri=uri.removesuffix("*"), prefix=uri.endswith("*"), strict_end=True)
    for message, body, fd in client.messages():
        if message.get("id") == asked:
            if "error" in message:
                sys.exit("client.py: " + message["error"]["message"])
            print("listening", flush=True)
        if message.get("method") == "channel.opened":
            print("opened", body["channel"], body["peer"], json.dumps(body["uri"]), flush=True)
            echo(client, body["channel"], fd)
        if message.get("method") == "channel.closed":
            print("closed", body["channel"], body["reason"], body["bytes_in"], body["bytes_out"], flush=True)

if __name__ == "__main__":
    verbs = {("open", 4): open_channel, ("listen", 3): listen}
    verb = verbs.get((sys.argv[1] if sys.argv[1:] else "", len(sys.argv)))
    if not verb:
        sys.exit(__doc__)
    verb(Client(), *sys.argv[2:])
