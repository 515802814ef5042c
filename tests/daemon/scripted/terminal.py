"""A terminal for tests: a program on a pty of its own, and what its screen shows after the bytes it wrote."""
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
import unicodedata

WITHIN = 60  # seconds, for what comes at once where nothing else runs


def columns(char):
    if unicodedata.combining(char) or char == "\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """The part of an xterm that line editors use. What scrolls off the top is kept in `above`."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.rows = [[" "] * width for _ in range(height)]
        self.runs_over = [False] * height  # which rows go on in the next one, by no line feed
        self.x = self.y = 0
        self.above, self.rest, self.unknown, self.insert = [], "", [], False

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        while text:
            if text[0] == "\x1b":
                m = re.match(r"\x1b\[([?>]?)([0-9;]*)([@-~])|\x1b([=>78])|\x1b\][^\a]*\a", text)
                if not m:
                    self.rest = text
                    return
                if m[3]:
                    self.control(m[3], m[1], [int(n or 0) for n in m[2].split(";")])
                text = text[m.end():]
            else:
                self.put(text[0])
                text = text[1:]

    def put(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            self.down()
        elif c == "\b":
            self.x = max(0, min(self.x, self.width - 1) - 1)
        elif c == "\t":
            self.x = min(self.width - 1, (self.x // 8 + 1) * 8)
        elif c >= " ":
            w = columns(c)
            if w == 0:
                return
            if self.x + w > self.width:
                self.x = 0
                self.runs_over[self.y] = True
                self.down()
            row = self.rows[self.y]
            if self.insert:
                row[self.x:self.x] = [" "] * w
                del row[self.width:]
            row[self.x] = c
            for i in range(1, w):
                row[self.x + i] = ""
            self.x += w

    def down(self):
        if self.y + 1 < self.height:
            self.y += 1
            return
        self.above.append(self.rows.pop(0))
        self.rows.append([" "] * self.width)
        self.runs_over = self.runs_over[1:] + [False]

    def control(self, final, private, numbers):
        n = max(1, numbers[0])
        self.x = min(self.x, self.width - 1)
        row = self.rows[self.y]
        if private or final == "m":
            pass
        elif final == "A":
            self.y = max(0, self.y - n)
        elif final == "B":
            self.y = min(self.height - 1, self.y + n)
        elif final == "C":
            self.x = min(self.width - 1, self.x + n)
        elif final == "D":
            self.x = max(0, self.x - n)
        elif final == "G":
            self.x = min(self.width, n) - 1
        elif final == "H":
            self.y, self.x = min(self.height, n) - 1, min(self.width, max(1, (numbers + [1])[1])) - 1
        elif final == "K":
            row[self.x:] = [" "] * (self.width - self.x)
            self.runs_over[self.y] = False
        elif final == "J":
            first = 0 if numbers[0] == 2 else self.y + 1
            if numbers[0] != 2:
                row[self.x:] = [" "] * (self.width - self.x)
            for y in range(first, self.height):
                self.rows[y] = [" "] * self.width
            self.runs_over[min(first, self.y):] = [False] * (self.height - min(first, self.y))
        elif final == "P":
            del row[self.x:self.x + n]
            row.extend([" "] * (self.width - len(row)))
        elif final == "@":
            row[self.x:self.x] = [" "] * n
            del row[self.width:]
        elif final in "hl" and numbers == [4]:
            self.insert = final == "h"
        else:
            self.unknown.append((final, private, numbers))

    def resize(self, width, height):
        """As xterm: rows are cut or filled, and the bottom of the screen stays."""
        while self.y >= height:
            self.above.append(self.rows.pop(0))
            self.y -= 1
        self.rows = [(row + [" "] * width)[:width] for row in self.rows[:height]]
        self.rows += [[" "] * width for _ in range(height - len(self.rows))]
        self.width, self.height, self.x = width, height, min(self.x, width - 1)
        self.runs_over = [False] * height

    def reflow(self, width):
        """As most others: rows that ran over are joined, what is too long runs over, and the cursor stays on its letter."""
        rows, runs_over, line, at = [], [], [], None
        for y, row in enumerate(self.rows):
            if y == self.y:
                at = len(line) + self.x
            line += row
            if self.runs_over[y]:
                continue
            while line and line[-1] == " " and len(line) > (at or 0):
                line.pop()
            if at is not None:
                self.y, self.x, at = len(rows) + at // width, at % width, -1
            while len(line) > width:
                rows, runs_over, line = rows + [line[:width]], runs_over + [True], line[width:]
            rows, runs_over, line = rows + [line + [" "] * (width - len(line))], runs_over + [False], []
            if at == -1:
                break  # nothing stands below the cursor's line
        while len(rows) > self.height:
            self.above.append(rows.pop(0))
            runs_over.pop(0)
            self.y -= 1
        missing = self.height - len(rows)
        self.rows, self.runs_over, self.width = rows + [[" "] * width for _ in range(missing)], runs_over + [False] * missing, width

    def lines(self):
        return ["".join(row).rstrip() for row in self.rows]

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.above + self.rows).rstrip("\n")


class Terminal:
    """`command` on a terminal. The master side stays open until close(), so that modes can be looked at after its end."""

    def __init__(self, command, cwd, env, width=80, height=24):
        self.screen = Screen(width, height)
        self.bytes = b""
        self.pending = b""
        self.seen = 0  # of the bytes, by see()
        self.status = None
        # The slave side stays open here: when the last one closes, its modes are gone.
        self.master, self.keeper = os.openpty()
        self.set_size(width, height)
        self.before = self.modes()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.login_tty(self.keeper)
                os.chdir(cwd)
                os.execve(command[0], command, env)
            finally:
                os._exit(127)

    def modes(self):
        return termios.tcgetattr(self.keeper)

    def set_size(self, width, height):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def resize(self, width, height):
        self.screen.resize(width, height)
        self.set_size(width, height)

    def reflow(self, width):
        self.screen.reflow(width)
        self.set_size(width, self.screen.height)

    def write(self, data):
        data = data.encode() if isinstance(data, str) else data
        while data:
            data = data[os.write(self.master, data[:512]):]

    def wait_until_typed(self):
        """What was written reaches whoever reads the terminal when the kernel gets to it."""
        deadline = time.monotonic() + WITHIN
        while not any(fcntl.ioctl(self.keeper, termios.FIONREAD, bytes(4))):
            if time.monotonic() > deadline:
                raise AssertionError("nothing of it arrives")
            time.sleep(0.005)

    def read(self, timeout):
        """Takes in what there is; False: nothing came, or nobody is left to write."""
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.bytes += data
        data = self.pending + data
        cut = len(data)
        while cut > 0 and cut > len(data) - 4 and data[cut - 1] >= 0x80:  # a character may be cut
            try:
                data[:cut].decode()
                break
            except UnicodeDecodeError:
                cut -= 1
        self.pending = data[cut:]
        self.screen.feed(data[:cut].decode(errors="replace"))
        return True

    def until(self, seen, timeout=WITHIN):
        """Waits until the screen, with what scrolled off it, shows a pattern or satisfies a function of it; returns its text."""
        deadline = time.monotonic() + timeout
        test = seen if callable(seen) else lambda text: re.search(seen, text, re.S)
        while not test(self.screen.text()):
            left = deadline - time.monotonic()
            if left < 0:
                raise AssertionError(f"{seen} does not come; the screen shows:\n{self.screen.text()}\n-- and the bytes end in {self.bytes[-300:]!r}")
            if not self.read(min(left, 1)) and self.ended() and not self.read(0):
                if test(self.screen.text()):
                    break
                raise AssertionError(f"{seen} did not come before the end; the screen shows:\n{self.screen.text()}")
        return self.screen.text()

    def see(self, pattern, timeout=60):
        """What was written up to a pattern, where the bytes matter and not what a screen makes of them; what comes after it is for the next call."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern.encode(), self.bytes[self.seen:])):
            if time.monotonic() > deadline or not self.read(1) and self.ended() and not self.read(0):
                raise AssertionError(f"{pattern} does not come, or not before the end: {self.bytes[self.seen:].decode(errors='replace')}")
        seen = self.bytes[self.seen:self.seen + found.end()]
        self.seen += found.end()
        return seen.decode(errors="replace")

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, timeout=WITHIN):
        """The exit status; reads on meanwhile, so that the program can write."""
        deadline = time.monotonic() + timeout
        while not self.ended():
            self.read(0.05)
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; the screen shows:\n{self.screen.text()}")
        self.read_to_the_end()
        return self.status

    def read_to_the_end(self):
        """Of what an ended program wrote: the kernel brings it when it gets to it, and before what is written now."""
        mark = b"\x1b]the end\a"  # the screen does not show it
        left = mark
        os.set_blocking(self.keeper, False)
        deadline = time.monotonic() + WITHIN
        while left or mark not in self.bytes:
            try:
                left = left[os.write(self.keeper, left):] if left else left
            except BlockingIOError:
                pass
            self.read(0.05)
            if time.monotonic() > deadline:
                raise AssertionError("the terminal does not bring what was written")
        self.bytes = self.bytes.replace(mark, b"")

    def signal(self, number):
        os.kill(self.pid, number)

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.keeper)
        os.close(self.master)
