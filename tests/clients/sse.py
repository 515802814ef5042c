"""Server-sent events as the three dialects stream them: reading them off the wire, and telling one kind from another."""
import json


class Event:
    """One event, or a comment (name and data None). `kind` is what the dialect calls it: the type, of a delta its own; in Chat Completions
    what the chunk carries."""

    def __init__(self, block):
        self.block = block
        self.name = self.data = None
        for line in block.decode().split("\n"):
            if line.startswith("event: "):
                self.name = line[len("event: "):]
            if line.startswith("data: "):
                self.data = line[len("data: "):]
        self.json = json.loads(self.data) if self.data and self.data != "[DONE]" else {}
        self.kind = self._kind()

    def _kind(self):
        if self.data is None:
            return "comment"
        if self.data == "[DONE]":
            return "[DONE]"
        if "choices" in self.json:
            return self._chunk()
        kind = self.json.get("type", "error")
        return self.json["delta"]["type"] if kind == "content_block_delta" else kind

    def _chunk(self):
        if not self.json["choices"]:
            return "usage"
        choice = self.json["choices"][0]
        if choice["finish_reason"]:
            return "finish_reason"
        if "role" in choice["delta"]:
            return "role"
        if calls := choice["delta"].get("tool_calls"):
            return "call" if "id" in calls[0] else "arguments"
        return "text"

    def bytes(self):
        if self.data is None:
            return self.block + b"\n\n"
        name = f"event: {self.name}\n" if self.name else ""
        return f"{name}data: {self.data}\n\n".encode()

    def put(self, value):
        self.json = value
        self.data = json.dumps(value, ensure_ascii=False)

    def usage(self):
        """(prompt tokens, of them cached), where it is the event that says so."""
        usage = self.json.get("usage") or (self.json.get("response") or {}).get("usage")
        if not usage or self.kind in ("message_start",):
            return None
        if "prompt_tokens" in usage:
            return usage["prompt_tokens"], usage["prompt_cache_hit_tokens"]
        if "input_tokens_details" in usage:
            return usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]
        return usage["input_tokens"] + usage["cache_read_input_tokens"], usage["cache_read_input_tokens"]


ARGUMENTS = {"arguments", "response.function_call_arguments.delta", "input_json_delta"}  # a piece of a call's, in each dialect


def events(read):
    """The events of a stream as they come; read() gives some bytes, none at its end."""
    held = b""
    while piece := read():
        held += piece
        while (end := held.find(b"\n\n")) >= 0:
            yield Event(held[:end])
            held = held[end + 2:]
