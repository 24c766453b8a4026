"""What proxies do to an event stream and to a WebSocket when all they were told is where the server
is: whether the upgrade and the first event come through, and whether 75 quiet seconds do.
docs/sse-or-websocket.md has what it said.

`proxies.py HUB NODE SERVER.MJS`, with those of nginx, haproxy, caddy and apache2 that there are.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HUB, WEBSOCKET = 18080, 18090
QUIET_SECONDS = 75
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
APACHE_MODULES = "/usr/lib/apache2/modules"

# Each listens on two ports: in front of the hub, and in front of the WebSocket server.
CONFIGURATIONS = {
    "nginx": """daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; events {{}}
http {{ access_log off;
  server {{ listen 127.0.0.1:{a}; location / {{ proxy_pass http://127.0.0.1:{hub}; }} }}
  server {{ listen 127.0.0.1:{b}; location / {{ proxy_pass http://127.0.0.1:{ws}; }} }} }}
""",
    "haproxy": """defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
listen a
  bind 127.0.0.1:{a}
  server hub 127.0.0.1:{hub}
listen b
  bind 127.0.0.1:{b}
  server ws 127.0.0.1:{ws}
""",
    "caddy": """{{
  admin off
  auto_https off
}}
http://127.0.0.1:{a} {{
  reverse_proxy 127.0.0.1:{hub}
}}
http://127.0.0.1:{b} {{
  reverse_proxy 127.0.0.1:{ws}
}}
""",
    "apache2": """ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/apache.pid
ErrorLog {dir}/error.log
ServerName localhost
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
Listen 127.0.0.1:{a}
Listen 127.0.0.1:{b}
<VirtualHost 127.0.0.1:{a}>
  ProxyPass / http://127.0.0.1:{hub}/
  ProxyPreserveHost On
</VirtualHost>
<VirtualHost 127.0.0.1:{b}>
  ProxyPass / http://127.0.0.1:{ws}/
</VirtualHost>
""",
}
COMMANDS = {
    "nginx": ["-p", "{dir}", "-c"],
    "haproxy": ["-db", "-f"],
    "caddy": ["run", "--adapter", "caddyfile", "--config"],
    "apache2": ["-DFOREGROUND", "-d", "{dir}", "-f"],
}


def read(peer, wanted, seconds):
    """Reads until something came or the time has passed; returns all, and what happened."""
    got, began = b"", time.monotonic()
    passed = lambda: time.monotonic() - began
    while wanted not in got:
        peer.settimeout(max(0.01, seconds - passed()))
        try:
            more = peer.recv(65536)
        except TimeoutError:
            return got, f"open after {seconds} s"
        except OSError as error:
            return got, str(error)
        if not more:
            return got, f"closed after {passed():.0f} s"
        got += more
    return got, f"{passed() * 1000:.0f} ms"


def publish(port, data):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/channels/a", data, method="POST")
    urllib.request.urlopen(request, timeout=5).read()


def look(name, kind, port, source):
    """Subscribes through a proxy, publishes beside it, and is quiet then."""
    fields = UPGRADE if kind == "WebSocket" else "Accept: text/event-stream\r\n"
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(f"GET /channels/a HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode())
    head, _ = read(peer, b"\r\n\r\n", 5)
    status = head.split(b"\r\n")[0].decode()
    said = [f"{name}, {kind}: {status}"]
    if kind != "WebSocket" or " 101 " in status:
        time.sleep(0.5)
        data = f"hello {name}".encode()
        threading.Thread(target=publish, args=(source, data)).start()
        said.append(f"an event after {read(peer, data, 5)[1]}")
        said.append(f"quiet: {read(peer, bytes([255]), QUIET_SECONDS)[1]}")
    print(", ".join(said), flush=True)


def main(hub, node, server):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    started = []

    def start(*command):
        null = subprocess.DEVNULL
        started.append(subprocess.Popen(command, stdout=null, stderr=null))

    with tempfile.TemporaryDirectory() as directory:
        try:
            start(hub, "--listen", f"127.0.0.1:{HUB}", "--admin-listen", "127.0.0.1:18081")
            start(node, server, str(WEBSOCKET))
            looks = []
            for place, (name, text) in enumerate(CONFIGURATIONS.items()):
                program = shutil.which(name, path=path)
                if program is None:
                    print(f"{name}: not here")
                    continue
                a, b = 18100 + 2 * place, 18101 + 2 * place
                own = os.path.join(directory, name)
                os.mkdir(own)
                config = os.path.join(own, "config")
                known = {"dir": own, "a": a, "b": b, "hub": HUB, "ws": WEBSOCKET}
                with open(config, "w", encoding="utf-8") as file:
                    file.write(text.format(modules=APACHE_MODULES, **known))
                start(program, *(part.format(**known) for part in COMMANDS[name]), config)
                looks.append((name, "EventSource", a, HUB))
                looks.append((name, "WebSocket", b, WEBSOCKET))
            time.sleep(3)
            threads = [threading.Thread(target=look, args=args) for args in looks]
            for thread in threads:
                thread.start()
                time.sleep(0.7)
            for thread in threads:
                thread.join()
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
