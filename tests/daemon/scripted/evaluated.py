"""What the engine evaluated for each answer, as the sessions' journals have it: all of a prompt is either known or evaluated, and nothing
that is known is evaluated again."""
import collections
import json
import os

from journal import frames

TIMELINES_MAX = 32  # kTimelinesMax: of more sessions the ones that rest longest are forgotten
LAST = 1           # token of an answer: it may wait for what follows
CUT = 130          # an answer that was cut off ends in the transcript as it did not in the engine, which goes back to a multiple of 128
ANEW = ("session/rewound", "session/unrewound", "lares/shortened", "lares/forked", "lares/imported",
        "lares/put_away")  # behind these other tokens may come, or nothing is known any more


def steps(path):
    """Each turn/step, with whether an answer was drawn again for it and whether anything came before it that changes what is known."""
    again = anew = False
    for payload in frames(path):
        method = payload[11:payload.index(b'"', 11)].decode()
        anew = anew or method in ANEW
        again = again or (method == "item/completed" and b'"kind":"note"' in payload and b"drawn again" in payload)
        if method == "turn/step":
            try:
                params = json.loads(payload)["params"]
            except ValueError:
                return
            yield params, again, anew
            again = anew = False


def check(state, daemons, known_is_evaluated_again=""):
    """`daemons`: since when each of the state directory ran and until when, in ms; the last may still. Returns how many steps there are, and
    how many were compared with the one before. The last argument: why these may evaluate what they knew."""
    folder = os.path.join(state, "sessions")
    journals = [os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".journal")] if os.path.isdir(folder) else []
    counts = collections.Counter()
    for path in journals:
        known = before = None
        for params, again, anew in steps(path):
            usage = collections.Counter(params["usage"])  # what is 0 may be absent
            where = f"session {params['sessionId']}, step {params['step']} of turn {params['turnId']} ({params['reason']}): {params['usage']}"
            counts["steps"] += 1
            if anew:
                known = None
            lived = [n for n, (since, until) in enumerate(daemons) if since <= params["t"] and (until is None or params["t"] <= until)]
            same_daemon = bool(lived) and before is not None and before[0] == lived
            same_turn = before is not None and before[1] == params["turnId"]
            if usage["prefilled"] == usage["cached"] == 0 and params["reason"] in ("error", "cancelled", "context_full"):
                continue  # its prompt was not read
            n = usage["cached"] + usage["prefilled"]
            if n < usage["prompt"] or (n > usage["prompt"] and not again) or usage["cached"] > usage["prompt"]:
                raise AssertionError(f"{where}: cached and prefilled are not the prompt")
            if known is not None and same_daemon and not known_is_evaluated_again and (same_turn or len(journals) <= TIMELINES_MAX):
                counts["compared"] += 1
                if usage["cached"] < known:
                    raise AssertionError(f"{where}: {known} tokens were known and {usage['cached']} of them were not evaluated again")
            known = usage["context"] - (LAST if params["reason"] in ("end", "calls") else CUT)
            before = (lived, params["turnId"])
    return counts
