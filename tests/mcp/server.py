"""A small MCP server over stdio with a flag for each way to misbehave."""
import json
import os
import signal
import subprocess
import sys
import time

mode = sys.argv[1] if len(sys.argv) > 1 else "good"
log_path = sys.argv[2] if len(sys.argv) > 2 else None


def log(text):
    if log_path:
        with open(log_path, "a") as f:
            f.write(text + "\n")


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def reply(request, result):
    send({"jsonrpc": "2.0", "id": request["id"], "result": result})


def text(value, is_error=False):
    return {"content": [{"type": "text", "text": value}], "isError": is_error}


def tool(name, description, properties=()):
    schema = {"type": "object", "properties": {p: {"type": "string"} for p in properties}}
    return {"name": name, "description": description, "inputSchema": schema}


TOOLS = [tool("echo", "Returns its text", ["text"]), tool("add", "Adds two numbers", ["a", "b"]),
         tool("env", "Shows where and how it runs"), tool("fail", "Always fails"), tool("picture", "Returns a picture"),
         tool("long", "Returns much text"), tool("grow", "Adds a tool"), tool("die", "Ends the server"),
         tool("hang", "Never answers"), tool("ask", "Asks the client for things")]


def call(request):
    name, arguments = request["params"]["name"], request["params"]["arguments"]
    if name == "echo":
        reply(request, text(arguments["text"]))
    elif name == "env":
        names = sorted(k for k in os.environ if k != "LC_CTYPE")
        reply(request, text(json.dumps({"cwd": os.getcwd(), "env": names, "extra": os.environ.get("EXTRA")})))
    elif name == "fail":
        reply(request, text("it went wrong", True))
    elif name == "picture":
        reply(request, {"content": [{"type": "text", "text": "see"},
                                    {"type": "image", "mimeType": "image/png", "data": "AAAA"},
                                    {"type": "resource", "resource": {"uri": "file:///x", "text": "inner"}}]})
    elif name == "long":
        reply(request, text("\u00e9" * 20000))
    elif name == "grow":
        TOOLS.append(tool("grown", "Came later"))
        send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        reply(request, text("grown"))
    elif name == "die":
        sys.stderr.write("out of cheese\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "hang":
        log("hanging")
    elif name == "ask":
        send({"jsonrpc": "2.0", "id": "p-1", "method": "ping"})
        send({"jsonrpc": "2.0", "id": 77, "method": "sampling/createMessage", "params": {}})
        send({"jsonrpc": "2.0", "method": "notifications/unheard_of"})
        answers = [json.loads(sys.stdin.readline()) for _ in range(2)]
        reply(request, text(json.dumps(answers)))
    else:
        send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no such tool: " + name}})


def main():
    log(f"start {os.getpid()}")
    if mode == "exit":
        sys.stderr.write("cannot find my database\n")
        sys.exit(1)
    if mode == "child":  # a grandchild that outlives a polite end
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        log(f"child {child.pid}")
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "silent":
        time.sleep(1000)
    for line in sys.stdin:
        request = json.loads(line)
        log(line.strip())
        if "method" not in request or "id" not in request:
            continue
        method = request["method"]
        if mode == "garbage":
            sys.stdout.write("Starting up...\n\n{\"half\": \n[1]\n" + "\"text\"\n" + "{\"id\": {}, \"result\": 1}\n")
        if mode == "flood":
            sys.stdout.write("noise\n" * 1000)
            sys.stdout.flush()
            time.sleep(1000)
        if mode == "deep":
            sys.stdout.write("{\"id\": 1, \"result\": " + "[" * 100000 + "]" * 100000 + "}\n")
        if mode == "binary":
            sys.stdout.flush()
            os.write(1, b"\xff\xfe\x00\x01\n")
        if mode == "wrong_id":
            for wrong in (None, "1", -5, 10**30, request["id"] + 1000, 1.5):
                send({"jsonrpc": "2.0", "id": wrong, "result": {"protocolVersion": "nonsense", "tools": "nonsense"}})
        if method == "initialize":
            if mode == "future":
                reply(request, {"protocolVersion": "2999-01-01", "capabilities": {}})
                continue
            if mode == "refuse":
                send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": "no licence"}})
                continue
            reply(request, {"protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                            "serverInfo": {"name": "scripted", "version": "1"}})
        elif method == "ping":
            reply(request, {})
        elif method == "tools/list":
            if mode == "huge":
                sys.stdout.write("x" * (8 << 20))
                sys.stdout.flush()
                time.sleep(1000)
            elif mode == "same_cursor":
                reply(request, {"tools": TOOLS[:1], "nextCursor": "again"})
            elif mode == "odd_tools":
                reply(request, {"tools": [1, None, {"name": 5}, {"name": "ok", "inputSchema": "?", "description": None}]})
            elif mode == "no_tools":
                reply(request, {"tools": "many"})
            else:  # pages of three; the cursor of the second is the empty string
                cursors = [None, ""] + [str(i) for i in range(2, 9)]
                page = cursors.index(request["params"].get("cursor"))
                result = {"tools": TOOLS[3 * page:3 * page + 3]}
                if 3 * page + 3 < len(TOOLS):
                    result["nextCursor"] = cursors[page + 1]
                reply(request, result)
        elif method == "tools/call":
            call(request)
        else:
            send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "?"}})
    log("eof")


main()
