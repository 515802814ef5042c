"""Which events of a stream each agent cannot do without: one kind of them is left out of all answers of a turn in which the agent's own
tool writes a file. The table is what these versions do; where a new one differs, the daemon may have to send more, or may send less.
drops_test.py BIN DAEMON NPM"""
import threading

import door
from relay import Fault
from scene import Scene
from table import TableCase, one_test_an_agent, rows


class Drop(Fault):
    """Leaves out what `passes` says no to, or changes."""

    def __init__(self, spoil):
        self.spoil, self.dropped, self.lock = spoil, set(), threading.Lock()

    def passes(self, ask, event):
        before = event.bytes()
        kept = self.spoil(event)
        if not kept or event.bytes() != before:
            with self.lock:
                self.dropped.add(ask.n)
        return kept


def without(*kinds):
    return lambda event: event.kind not in kinds


def unnamed(event):
    event.name = None
    return True


def unnumbered(event):
    if "sequence_number" in event.json:
        event.put({k: v for k, v in event.json.items() if k != "sequence_number"})
    return True


# What is left out, and how a turn of each agent then ends, in the words of Scene.outcome().

RESPONSES = {
    "response.created, .in_progress": without("response.created", "response.in_progress"),
    "output_item.added": without("response.output_item.added"),
    "function_call_arguments.*": without("response.function_call_arguments.delta", "response.function_call_arguments.done"),
    "output_item.done": without("response.output_item.done"),
    "output_text.delta": without("response.output_text.delta"),
    "response.completed": without("response.completed"),
    "sequence_number": unnumbered,
    "event: lines": unnamed,
}
MESSAGES = {
    "message_start": without("message_start"),
    "content_block_start": without("content_block_start"),
    "content_block_stop": without("content_block_stop"),
    "input_json_delta": without("input_json_delta"),
    "signature_delta": without("signature_delta"),
    "ping": without("ping"),
    "message_delta": without("message_delta"),
    "message_stop": without("message_stop"),
    "event: lines": unnamed,
}
CHAT = {
    "role": without("role"),
    "finish_reason": without("finish_reason"),
    "usage": without("usage"),
    "[DONE]": without("[DONE]"),
}


class Drops(TableCase):
    SPOILS = {}

    def run_cell(self, agent, label):
        return Scene(agent, Drop(self.SPOILS[label])).run()

    def look_at(self, scene, label):
        self.assertTrue(scene.relay.fault.dropped, "the daemon sent nothing that could be left out")


@one_test_an_agent
class OfResponses(Drops):
    TITLE, AGENTS, SPOILS = "without", ("codex", "opencode responses", "pi responses"), RESPONSES
    ROWS = rows(AGENTS, {
        "response.created, .in_progress": ("ok", "ok", "ok"),
        "output_item.added": ("ok", "rc 1", "ok"),
        "function_call_arguments.*": ("ok", "ok", "ok"),
        "output_item.done": ("nothing done", "nothing done", "nothing done"),
        "output_text.delta": ("ok", "text lost", "ok"),
        "response.completed": ("rc 1", "asks for ever", "nothing done"),  # pi asks four times
        "sequence_number": ("ok", "ok", "ok"),
        "event: lines": ("ok", "ok", "ok"),
    })


@one_test_an_agent
class OfMessages(Drops):
    TITLE, AGENTS, SPOILS = "without", ("claude", "opencode messages", "pi messages"), MESSAGES
    ROWS = rows(AGENTS, {
        "message_start": ("asks again", "ok", "ok"),
        "content_block_start": ("asks again", "rc 1", "nothing done"),
        "content_block_stop": ("rc 1", "nothing done", "ok"),
        "input_json_delta": ("nothing done", "nothing done", "nothing done"),
        "signature_delta": ("ok", "ok", "ok"),
        "ping": ("ok", "ok", "ok"),
        "message_delta": ("ok", "asks for ever", "nothing done"),
        "message_stop": ("ok", "asks for ever", "nothing done"),
        "event: lines": ("asks again", "ok", "nothing done"),
    })


@one_test_an_agent
class OfChatCompletions(Drops):
    TITLE, AGENTS, SPOILS = "without", ("opencode chat", "pi chat"), CHAT
    ROWS = rows(AGENTS, {
        "role": ("ok", "ok"),
        "finish_reason": ("asks for ever", "nothing done"),  # opencode asks again with the answer as the last message
        "usage": ("ok", "ok"),
        "[DONE]": ("ok", "ok"),
    })


if __name__ == "__main__":
    door.main()
