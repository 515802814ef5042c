"""Training data drawn by many processes: one draws 30 to 100 thousand tokens a second, a GPU takes ten times that.

Start them before the GPU is used: they are forks. They read how far the run is from a shared number and make what is due then.
"""
import multiprocessing
import os
import random
import traceback

import numpy as np

import data
import skeletons
import tokenizer

PACK = 16          # sessions a message
AHEAD_MAX = 96     # messages that wait
FAILURES_MAX = 20  # of one process, after which it ends
STRANGE = 0.5  # more than on a CPU: what does not repeat is what a long run needs
REPEATS, REPEATS_LATER = 0.02, 0.04  # share of the run that is repeats only; their share of the sessions after that
QUESTIONS, QUESTIONS_LATE = 0.08, 0.25
MISSED_FROM = 0.7  # from this share on what is learnt are repairs that miss, too


def what_is_due(done):
    """(share of repeats, of mini sessions among the others, of questions among whole sessions) after a share `done` of the run"""
    return (1.0 if done < REPEATS else REPEATS_LATER, 1.0 if done < 0.15 else 0.92 if done < 0.5 else 0.7,
            QUESTIONS if done < 0.85 else QUESTIONS_LATE)


def draw(r, pool, tok, done):
    """(ids, weights) as arrays: uint16, and uint8 in tenths"""
    mix = (data.FIRST if done < MISSED_FROM else data.MISSED)._replace(strange=STRANGE)
    again, mini_share, questions = what_is_due(done)
    if r.random() < again:
        ids, w = data.repeats(r, tok.size, 256 if done < REPEATS else 512)
    else:
        mini = r.random() < mini_share
        ids, w = data.session(r, pool, tok, mini, mini and r.random() < 0.7, questions, mix)
    return np.array(ids, np.uint16), np.rint(np.array(w, np.float32) * 10).astype(np.uint8)


def _produce(seed, spec, done, out, parent):
    r, failures = random.Random(seed), 0
    pool, tok = skeletons.load() + skeletons.load("skeletons_more.txt"), tokenizer.Tokenizer(spec)
    while os.getppid() == parent:
        pack = []
        while len(pack) < PACK:
            try:
                pack.append(draw(r, pool, tok, done.value))
            except Exception:  # a draw that cannot be had shall not end hours of others
                failures += 1
                if failures > FAILURES_MAX:
                    raise
                out.put(traceback.format_exc(limit=-2))
        out.put(pack)


class Producers:
    """`done` says how far the run is, 0 to 1; `get` gives the next pack [(ids, weights)], or the report of a draw that failed."""

    def __init__(self, workers, spec, seed):
        fork = multiprocessing.get_context("fork")
        self.done, self.queue = fork.Value("d", 0.0, lock=False), fork.Queue(AHEAD_MAX)
        self.processes = [fork.Process(target=_produce, args=(seed * 1000 + k, spec, self.done, self.queue, os.getpid()), daemon=True)
                          for k in range(workers)]
        for p in self.processes:
            p.start()

    def get(self, timeout):
        """Raises queue.Empty after `timeout` seconds."""
        return self.queue.get(timeout=timeout)

    def stop(self):
        for p in self.processes:
            p.terminate()
        self.queue.cancel_join_thread()
