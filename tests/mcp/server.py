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
    if mode == "string_ids":  # whatever number it was given it gives back as a string
        if "method" not in message:
            message = {**message, "id": str(message["id"])}
        elif "progressToken" in message.get("params", {}):
            message["params"]["progressToken"] = str(message["params"]["progressToken"])
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def reply(request, result):
    answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
    send([{"jsonrpc": "2.0", "method": "notifications/x"}, answer] if mode == "batches" else answer)


def text(value, is_error=False):
    return {"content": [{"type": "text", "text": value}], "isError": is_error}


def tool(name, description, properties=(), **more):
    schema = {"type": "object", "properties": {p: {"type": "string"} for p in properties}}
    return {"name": name, "description": description, "inputSchema": schema, **more}


TOOLS = [tool("echo", "Returns its text", ["text"], annotations={"readOnlyHint": True}), tool("add", "Adds two numbers", ["a", "b"]),
         tool("env", "Shows where and how it runs"), tool("fail", "Always fails"), tool("picture", "Returns a picture"),
         tool("long", "Returns much text"), tool("grow", "Adds a tool"), tool("die", "Ends the server"),
         tool("hang", "Never answers"), tool("ask", "Asks the client for things")]
logins = []


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
        change_tools()
        reply(request, text("grown"))
    elif name == "die":
        sys.stderr.write("out of cheese\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "hang":
        log("hanging")
    elif name == "cancel_itself":  # which is not the server's to do
        send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request["id"]}})
        reply(request, text("answered all the same"))
    elif name == "progress":  # ten steps of 60 ms; the last two do not grow, and so are none
        for i in (1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9):
            send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": request["params"]["_meta"]["progressToken"], "progress": i, "total": 9, "message": "step"}})
            time.sleep(0.06)
        reply(request, text("progressed"))
    elif name == "stuck":  # progress for ever, which never grows
        while True:
            send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": request["params"]["_meta"]["progressToken"], "progress": 1}})
            time.sleep(0.02)
    elif name == "racing":  # progress for ever
        for i in range(1000000):
            send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": request["params"]["_meta"]["progressToken"], "progress": i}})
            time.sleep(0.02)
    elif name == "half":  # dies in the middle of its answer
        sys.stdout.write('{"jsonrpc": "2.0", "id": %d, "result": {"cont' % request["id"])
        sys.stdout.flush()
        os._exit(4)
    elif name == "mute":  # closes its output and lives on
        os.close(1)
        time.sleep(1000)
    elif name == "numbers":
        reply(request, {"content": [], "structuredContent": [1] * arguments["n"]})
        log("numbers sent")
        if arguments.get("last"):
            os._exit(0)
    elif name == "big":
        reply(request, text("x" * int(arguments["n"])))
    elif name == "orphan":  # ends, while a child of it holds its output open
        subprocess.Popen(["sleep", "1000"])
        os._exit(5)
    elif name == "elicit":
        send({"jsonrpc": "2.0", "id": "e-1", "method": "elicitation/create", "params": {"message": "How many?", "requestedSchema": {
            "type": "object", "properties": {"count": {"type": arguments.get("type", "integer")}}, "required": ["count"]}}})
        if arguments.get("withdraw"):
            send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "e-1"}})
            return reply(request, text("withdrawn"))
        answer = sys.stdin.readline()
        time.sleep(arguments.get("works_s", 0))
        reply(request, text(answer))
    elif name == "elicit_late":  # when its call is answered
        reply(request, text("later"))
        send({"jsonrpc": "2.0", "id": "e-2", "method": "elicitation/create", "params": {"message": "How many?", "requestedSchema": {
            "type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}}})
    elif name == "login":  # wants urls opened, so many times
        logins.append(name)
        if len(logins) > arguments.get("times", 1):
            return reply(request, text("logged in"))
        data = arguments.get("data", {"elicitations": [
            {"mode": "url", "elicitationId": str(i), "url": f"https://example.org/{i}?n={len(logins)}", "message": "Log in"}
            for i in range(arguments.get("urls", 1))]})
        send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32042, "message": "not yet", "data": data}})
    elif name == "roots":
        send({"jsonrpc": "2.0", "id": "r-1", "method": "roots/list"})
        reply(request, text(sys.stdin.readline()))
    elif name == "ask":
        send({"jsonrpc": "2.0", "id": "p-1", "method": "ping"})
        send({"jsonrpc": "2.0", "id": 77, "method": "sampling/createMessage", "params": {}})
        send({"jsonrpc": "2.0", "method": "notifications/unheard_of"})
        answers = [json.loads(sys.stdin.readline()) for _ in range(2)]
        reply(request, text(json.dumps(answers)))
    else:
        send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no such tool: " + name}})


VERSION = "2026-07-28"
META = "io.modelcontextprotocol/"
listening = None
asked = {}  # what was wanted of the client, by the state it brings back


def change_tools():
    TOOLS.append(tool("grown", "Came later"))
    message = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}
    if listening is not None:
        message["params"]["_meta"] = {META + "subscriptionId": listening}
    send(message)


def complete(request, result, **more):
    reply(request, {"resultType": "complete", **result, **more})


def modern(request):
    """Revision 2026-07-28: no handshake, and no requests to the client."""
    global listening
    method, params = request["method"], request.get("params", {})
    meta = params.get("_meta", {})
    if mode == "modern_versions" and not asked.setdefault("versions", False):
        asked["versions"] = True
        return send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32022, "message": "unsupported", "data": {
            "supported": [VERSION], "requested": meta.get(META + "protocolVersion")}}})
    if mode == "modern_future":
        return send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32022, "message": "unsupported", "data": {
            "supported": ["2999-01-01"], "requested": VERSION}}})
    if meta.get(META + "protocolVersion") != VERSION or META + "clientCapabilities" not in meta:
        return send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no _meta"}})
    if method == "server/discover":
        can = {"prompts": {"listChanged": True}} if mode == "modern_prompts" else {"tools": {"listChanged": True}, "resources": {}, "prompts": {}}
        complete(request, {"supportedVersions": [VERSION], "capabilities": can}, ttlMs=0, cacheScope="private")
    elif method == "subscriptions/listen":
        listening = request["id"]
        send({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {"_meta": {META + "subscriptionId": listening}}})
    elif method == "tools/list":
        complete(request, {"tools": TOOLS}, ttlMs=3600000, cacheScope="private")
    elif method == "resources/list":
        complete(request, {"resources": [{"uri": "memo://one", "name": "one", "description": "The first memo"}]}, ttlMs=3600000, cacheScope="private")
    elif method == "resources/templates/list":
        complete(request, {"resourceTemplates": [{"uriTemplate": "memo://{name}", "name": "any"}]}, ttlMs=3600000, cacheScope="private")
    elif method == "prompts/list":
        complete(request, {"prompts": [{"name": "greet", "arguments": [{"name": "who", "description": "whom", "required": True}]}]}, ttlMs=3600000, cacheScope="private")
    elif method == "resources/read":
        complete(request, {"contents": [{"uri": params["uri"], "text": "text of " + params["uri"]}]}, ttlMs=0, cacheScope="private")
    elif method == "prompts/get":
        complete(request, {"messages": [{"role": "user", "content": {"type": "text", "text": "hello " + params["arguments"]["who"]}}]})
    elif method == "tools/call" and params["name"] == "grow":
        change_tools()
        complete(request, text("grown"))
    elif method == "tools/call" and params["name"] == "form":
        if "inputResponses" not in params:
            asked[request["id"]] = True
            return reply(request, {"resultType": "input_required", "requestState": f"state-{request['id']}", "inputRequests": {
                "who": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {
                    "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}},
                "where": {"method": "roots/list"}}})
        first = int(params["requestState"].removeprefix("state-"))
        fresh = first in asked and first != request["id"]
        complete(request, text(json.dumps({"fresh": fresh, "inputs": params["inputResponses"]}, sort_keys=True)))
    elif method == "tools/call" and params["name"] == "endless":
        reply(request, {"resultType": "input_required", "requestState": "again"})
    elif method == "tools/call" and params["name"] == "sampling":
        reply(request, {"resultType": "input_required", "inputRequests": {"x": {"method": "sampling/createMessage", "params": {}}}})
    elif method == "tools/call" and params["name"] == "odd":
        reply(request, {"resultType": "task", "taskId": "1"})
    elif method == "tools/call":
        call(request)
    else:
        send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no method " + method}})


def detach():
    """A helper as daemons are made: in a session of its own, and whoever started it is gone."""
    r, w = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if pid := os.fork():
            os.write(w, str(pid).encode())
            os._exit(0)
        os.execvp("sh", ["sh", "-c", "exec sleep 1000 <&- >&- 2>&-"])
    log(f"child {os.read(r, 32).decode()}")
    os.wait()


def main():
    log(f"start {os.getpid()}")
    if mode == "exit":
        sys.stderr.write("cannot find my database\n")
        sys.exit(1)
    if mode == "child":  # a grandchild that outlives a polite end
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        log(f"child {child.pid}")
    if mode == "detached":
        detach()
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
        if method == "server/discover" and mode == "shy":  # no word before a handshake
            continue
        if method == "server/discover" and mode == "fragile":
            sys.exit(9)
        if mode.startswith("modern"):
            modern(request)
            continue
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
            for wrong in (None, "", "1.0", " 1", -5, 10**30, request["id"] + 1000, 1.5):
                send({"jsonrpc": "2.0", "id": wrong, "result": {"protocolVersion": "nonsense", "tools": "nonsense"}})
        if method == "initialize":
            if mode == "future":
                reply(request, {"protocolVersion": "2999-01-01", "capabilities": {}})
                continue
            if mode == "refuse":
                send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": "no licence"}})
                continue
            can = {"resources": {}, "prompts": {}} if mode == "empty_cursor" else {"resources": {}} if mode == "resources" else {} if mode == "undeclared" else {"tools": {}}
            version = "2025-03-26" if mode == "batches" else request["params"]["protocolVersion"]
            reply(request, {"protocolVersion": version, "capabilities": can,
                            "serverInfo": {"name": "scripted", "version": "1"}})
        elif method == "ping":
            reply(request, {})
        elif mode == "empty_cursor" and method == "resources/list":  # whose last page has the cursor that its first one has
            n = int(request["params"].get("cursor") or 0)
            reply(request, {"resources": [{"uri": f"memo://{n}", "name": f"memo {n}"}], "nextCursor": ["1", "2", ""][n]})
        elif mode == "empty_cursor" and method == "prompts/list":
            reply(request, {"prompts": [{"name": "greet"}], "nextCursor": ""})
        elif mode == "resources" and method == "resources/list":
            reply(request, {"resources": [{"uri": "memo://one", "name": "one", "description": "The first memo"}]})
        elif mode == "resources" and method == "resources/read":
            reply(request, {"contents": [{"uri": request["params"]["uri"], "text": "text of " + request["params"]["uri"]}]})
        elif method == "tools/list" and mode != "resources":
            if mode == "huge":
                sys.stdout.write("x" * (8 << 20))
                sys.stdout.flush()
                time.sleep(1000)
            elif mode == "same_cursor":
                reply(request, {"tools": TOOLS[:1], "nextCursor": "again"})
            elif mode == "odd_tools":
                reply(request, {"tools": [1, None, {"name": 5}, {"name": "ok", "inputSchema": "?", "description": None}]})
            elif mode == "task_tools":
                reply(request, {"tools": [{**TOOLS[0], "execution": {"taskSupport": s}, "name": s} for s in ("required", "optional", "forbidden")]})
            elif mode == "wide":
                def wide(name, n_description, n_schema):
                    about = {"type": "string", "description": "s" * n_schema + " end of schema"}
                    return {"name": name, "description": "A wide one " + "d" * n_description + " end of description",
                            "inputSchema": {"type": "object", "properties": {"x": about}}}
                reply(request, {"tools": [wide("wide", 1000, 6000), wide("wide-too", 1000, 6000), wide("vast", 30000, 9000),
                                          wide("immense", 30000, 30000)]})
            elif mode.startswith("tools_"):
                reply(request, {"tools": [{"name": f"t{i}"} for i in range(int(mode[6:]))]})
            elif mode == "pages":  # as long as it is asked, one tool a page
                n = int(request["params"].get("cursor", 0))
                reply(request, {"tools": [{"name": f"t{n}"}], "nextCursor": str(n + 1)})
            elif mode == "no_tools":
                reply(request, {"tools": "many"})
            else:  # pages of three; the cursor of the second is the empty string
                cursors = [None, ""] + [str(i) for i in range(2, 9)]
                page = cursors.index(request["params"].get("cursor"))
                result = {"tools": TOOLS[3 * page:3 * page + 3]}
                if 3 * page + 3 < len(TOOLS):
                    result["nextCursor"] = cursors[page + 1]
                reply(request, result)
        elif method == "tools/call" and mode == "unread":
            send({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what is this"}})
        elif method == "tools/call":
            call(request)
        else:
            send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "?"}})
    log("eof")
    if mode == "tidy":
        time.sleep(0.2)
        log("tidied up")


main()
