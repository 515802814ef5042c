"""A small MCP server over Streamable HTTP, of either era, with a flag for each way to misbehave. Prints its port; ends with its stdin."""
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

mode, log_path = sys.argv[1], sys.argv[2]
VERSION, META = "2026-07-28", "io.modelcontextprotocol/"
lock = threading.Lock()
waited = threading.Event()
state = {"sessions": set(), "n_sessions": 0, "n_calls": 0, "listening": None, "grown": False, "kept": None, "renamed": False}


def log(text):
    with lock, open(log_path, "a") as f:
        f.write(text + "\n")


def text(value):
    return {"resultType": "complete", "content": [{"type": "text", "text": value}]}


def tool(name, properties=None):
    return {"name": name, "description": name, "inputSchema": {"type": "object", "properties": properties or {}}}


def tools():
    header = "Area" if state["renamed"] else "Region"
    listed = [tool("echo"), tool("headers", {"region": {"type": "string", "x-mcp-header": header}}),
              tool("broken", {"region": {"type": "number", "x-mcp-header": "Region"}})]
    return listed + [tool("grown")] if state["grown"] else listed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", content_type="application/json", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, message=None, **fields):
        """One event, in chunks of a byte each where the mode says so."""
        data = "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + f"data: {json.dumps(message) if message else ''}\r\n\r\n"
        size = 1 if mode.endswith("drip") else len(data)
        for i in range(0, len(data), size):
            piece = data[i:i + size].encode()
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = json.loads(body)
        method = message.get("method", "")
        log(f"POST {method or 'reply'} {json.dumps(message, sort_keys=True)} {json.dumps({k.lower(): v for k, v in self.headers.items()}, sort_keys=True)}")
        if self.path == "/sse":
            return self.answer(405, b"Method Not Allowed", "text/plain")
        if mode.endswith("_moved") and self.path == "/mcp":
            at = "" if mode == "modern_moved" else f"http://{self.headers['Host']}"
            return self.answer(307, b"", "text/plain", Location=at + "/mcp/?x=1")
        (self.modern if mode.startswith("modern") else self.legacy)(message, method)

    def error(self, message, status, code, why, **data):
        self.answer(status, {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": why, "data": data}})

    def result(self, message, result):
        self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def modern(self, message, method):
        params = message.get("params", {})
        name = params.get("name") or params.get("uri")
        if self.headers["MCP-Protocol-Version"] != VERSION or self.headers["Mcp-Method"] != method or params["_meta"][META + "protocolVersion"] != VERSION:
            return self.error(message, 400, -32020, "headers")
        if self.headers["Mcp-Name"] != name and name:
            return self.error(message, 400, -32020, "name")
        if method == "server/discover":
            self.result(message, {"resultType": "complete", "supportedVersions": [VERSION], "capabilities": {"tools": {"listChanged": True}}, "ttlMs": 0, "cacheScope": "private"})
        elif method == "tools/list":
            self.result(message, {"resultType": "complete", "tools": tools(), "ttlMs": 3600000, "cacheScope": "private"})
        elif method == "subscriptions/listen":
            self.stream()
            self.event({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {}})
            state["listening"] = self
            log("listening")
            while self.alive():
                time.sleep(0.01)
            log("listening ended")
        elif method == "tools/call":
            self.call(message, params)
        else:
            self.error(message, 404, -32601, "no method")

    def alive(self):
        try:
            with lock:
                self.wfile.write(b"3\r\n:\r\n\r\n")  # a comment
                self.wfile.flush()
            return True
        except OSError:
            return False

    def call(self, message, params):
        name, arguments, id = params["name"], params.get("arguments", {}), message["id"]
        state["n_calls"] += 1
        if name == "headers":
            seen = {k.lower(): v for k, v in self.headers.items() if k.lower().startswith("mcp-param")}
            if mode == "modern_renamed" and not state["renamed"]:
                state["renamed"] = True  # from now on the schema is another
            if "region" in arguments and f"mcp-param-{'area' if state['renamed'] else 'region'}" not in seen:
                return self.error(message, 400, -32020, "missing header")
            self.result(message, text(json.dumps(seen, sort_keys=True)))
        elif name == "stream":
            self.stream()
            self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1, "message": "half"}})
            self.event({"jsonrpc": "2.0", "id": id + 1000, "result": text("somebody else's")})
            self.event({"jsonrpc": "2.0", "id": id, "result": text("streamed \u00e9")})
            self.end_stream()
        elif name == "hang":
            self.stream()
            log("hanging")
            while self.alive():
                time.sleep(0.01)
            log("hung up on")
        elif name == "quiet":  # says nothing more, so that only the closed connection can end it
            self.stream()
            log("hanging")
            self.rfile.read(1)
            log("hung up on")
        elif name == "cut":  # ends its stream without the answer
            self.stream()
            self.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            self.end_stream()
        elif name == "reset":  # breaks off in the middle of a chunk
            self.stream()
            self.wfile.write(b"40\r\ndata: {\"json")
            self.close_connection = True
        elif name == "garbage":
            self.answer(200, b"<html>hello</html>", "text/html")
        elif name == "other":
            self.answer(200, {"jsonrpc": "2.0", "id": id + 1, "result": {}})
        elif name == "no_http":
            self.wfile.write(b"hello, I am no HTTP\r\n\r\n")
            self.close_connection = True
        elif name == "silent":
            self.close_connection = True
        elif name == "long_head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"x" * 100000 + b"\r\n\r\n")
            self.close_connection = True
        elif name == "numbers":
            self.answer(200, {"jsonrpc": "2.0", "id": id, "result": {"content": [], "structuredContent": [1] * (1 << 20)}})
        elif name == "numbers_event":
            self.stream()
            self.event({"jsonrpc": "2.0", "id": id, "result": {"content": [], "structuredContent": [1] * (1 << 20)}})
            self.end_stream()
        elif name == "huge":
            self.answer(200, b" " * (3 << 20))
        elif name == "huge_event":
            self.stream()
            try:
                self.event({"jsonrpc": "2.0", "method": "x", "params": {"pad": "x" * (3 << 20)}})
            except OSError:
                pass
            self.close_connection = True
        elif name == "until_close":
            body = json.dumps({"jsonrpc": "2.0", "id": id, "result": text("no length")}).encode()
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
            self.close_connection = True
        elif name == "moved":
            self.answer(307, b"", Location="http://localhost:1/elsewhere")
        elif name == "login":
            self.answer(401, b"", WWW_Authenticate="Bearer")
        elif name == "closed":  # of something else that is called a session, and in vain each time
            self.error(message, 400, -32000, "the Session of parliament is closed")
        elif name == "visit":
            self.error(message, 400, -32042, "no login in this session", elicitations=[{"mode": "url", "url": "https://example.org/x"}])
        elif name == "expelled":
            self.answer(401, b"no seat in this session", "text/plain")
        elif name == "wait":
            log("waiting")
            waited.wait()
            self.result(message, text("waited"))
        elif name == "end_wait":
            waited.set()
            self.result(message, text("ended"))
        elif name == "busy":
            self.answer(503, b"come back later", "text/plain")
        elif name == "resume":  # the answer comes on another stream, after the time that it names
            self.stream()
            self.event(id="a-1", retry="30")
            state["kept"] = {"jsonrpc": "2.0", "id": id, "result": text("resumed")}
            self.end_stream()
        elif name == "grow":
            state["grown"] = True
            if state["listening"]:
                with lock:
                    state["listening"].event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}})
            self.result(message, text("grown"))
        elif name == "forget":  # as a restart would
            state["sessions"].clear()
            self.result(message, text("forgotten"))
        else:
            self.result(message, text(arguments.get("text", "")))

    def legacy(self, message, method):
        session = self.headers["Mcp-Session-Id"]
        if method == "initialize":
            state["n_sessions"] += 1
            session = f"s{state['n_sessions']}"
            state["sessions"].add(session)
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}, "serverInfo": {"name": "x", "version": "1"}}
            return self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, Mcp_Session_Id=session)
        if session is None:
            return self.error(message, 400, -32000, "Bad Request: no session")
        if session not in state["sessions"] and mode == "legacy_400":  # as the TypeScript SDK's examples
            return self.error(message, 400, -32000, "Bad Request: No valid session ID provided")
        if session not in state["sessions"] and mode == "legacy_401":  # as the Rust SDK
            return self.answer(401, b"Unauthorized: Session not found", "text/plain")
        if session not in state["sessions"]:
            return self.error(message, 404, -32001, "Session not found")
        if self.headers["MCP-Protocol-Version"] != "2025-11-25":
            return self.error(message, 400, -32000, "Bad Request: version")
        if method == "notifications/initialized":
            time.sleep(0.1)  # what comes before it has been taken is refused
            state["ready"] = True
            return self.answer(202)
        if "id" not in message or "method" not in message:
            return self.answer(202)
        if not state.get("ready"):
            return self.error(message, 400, -32000, "not initialized")
        if method == "tools/list":
            self.result(message, {"tools": tools()})
        elif method == "tools/call":
            self.call(message, message["params"])
        else:
            self.error(message, 200, -32601, "no method")

    def do_GET(self):
        log(f"GET last={self.headers['Last-Event-ID']} session={self.headers['Mcp-Session-Id']}")
        if mode.endswith("_moved") and self.path == "/mcp":
            return self.answer(404)
        if mode == "legacy_no_get" or mode.startswith("modern"):
            return self.answer(405)
        self.stream()
        if self.headers["Last-Event-ID"] == "a-1":
            self.event(state["kept"], id="a-2")
            return self.end_stream()
        state["listening"] = self
        log("listening")
        while self.alive():
            time.sleep(0.01)

    def do_DELETE(self):
        log(f"DELETE {self.headers['Mcp-Session-Id']} at {self.path}")
        self.answer(200)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 3:  # a certificate and its key
    import ssl  # takes a while, and few need it
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
