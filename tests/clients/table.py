"""A table of what befalls a turn (rows) and what each agent makes of it (columns), as tests: one an agent, its cells side by side."""
import concurrent.futures
import os
import unittest

import door
from agents import AGENTS
from scene import Scene

TOGETHER = int(os.environ.get("LARES_TEST_TOGETHER", (os.cpu_count() or 1) + 1))  # turns at a time: much of one is waiting


class TableCase(unittest.TestCase):
    """`ROWS`: {label: {agent: expected outcome}}. Subclasses say how a cell is run."""
    maxDiff = None
    TITLE, ROWS, AGENTS = "", {}, ()

    def run_cell(self, agent, label):
        """The Scene, after its turn."""
        raise NotImplementedError

    def look_at(self, scene, label):
        """Asserts what the outcome does not say."""

    def column(self, agent):
        if not os.path.isdir(door.package(AGENTS[agent].package)):
            self.skipTest(f"SKIPPED: {AGENTS[agent].package} not installed; make test-clients does it")
        labels = [label for label, cells in self.ROWS.items() if agent in cells]
        with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
            wrong = [text for text in pool.map(lambda label: self.cell(agent, label), labels) if text]
        self.assertFalse(wrong, "\n\n".join(wrong))

    def cell(self, agent, label):
        """What is wrong with it, or nothing."""
        scene = self.run_cell(agent, label)
        try:
            found, expected = scene.outcome(), self.ROWS[label][agent]
            type(self).found[label, agent] = f"{found} {scene.seconds:.0f}s"
            if found != expected:
                return f"{label}: {agent} is expected to end as {expected!r}, and did as {scene.describe()}"
            try:
                self.look_at(scene, label)
            except AssertionError as e:
                return f"{label}: {agent}: {e}\n{scene.describe()}"
        finally:
            scene.end()

    @classmethod
    def setUpClass(cls):
        cls.found = {}

    @classmethod
    def tearDownClass(cls):
        """Prints what was found, or leaves it to be printed last."""
        agents = [agent for agent in cls.AGENTS if any((label, agent) in cls.found for label in cls.ROWS)]
        if not agents:
            return
        labels = [label for label in cls.ROWS if set(agents) & set(cls.ROWS[label])]
        lines = [[cls.TITLE, *agents]] + [[label, *(cls.found.get((label, agent), "") for agent in agents)] for label in labels]
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = "\n" + "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
        if path := os.environ.get("LARES_TEST_TABLES"):
            with open(path, "a", encoding="utf-8") as f:
                print(text, file=f)
        else:
            print(text, flush=True)


def rows(agents, cells):
    """{label: {agent: outcome}} of {label: (outcome, ...)}, in the order of the agents; None: not to be run."""
    return {label: {agent: outcome for agent, outcome in zip(agents, outcomes, strict=True) if outcome}
            for label, outcomes in cells.items()}


def one_test_an_agent(case):
    for agent in case.AGENTS:
        setattr(case, "test_" + agent.replace(" ", "_"), lambda self, agent=agent: self.column(agent))
    return case
