"""Processes for the tests: `weir simulate` and `weir serve` on free ports, ready when handed out, ended by the test.

Each process writes into a file of its own, which `conftest.py` shows when the test fails.
"""

import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("WEIR_BIN", str(ROOT / "target" / "debug" / "weir"))
READY_WITHIN = 20.0

# No proxy of the machine stands between a test and its own processes.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(url, body=None, method=None):
    """The answer of a control or admin endpoint, as text."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    try:
        with _opener.open(asked, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error


def until(condition, within=5.0, what="the condition"):
    """Waits for a condition, not for a time."""
    end = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within} s (last: {value!r})")
        time.sleep(0.01)


class Process:
    """A child whose output goes to a file, and whose first matching line tells its address."""

    def __init__(self, name, arguments, pattern, environment=None):
        self.name = name
        self.lines = []
        self._ready = queue.Queue()
        self._child = subprocess.Popen(
            [BINARY, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, args=(re.compile(pattern),), daemon=True)
        self._reader.start()
        try:
            self.match = self._ready.get(timeout=READY_WITHIN)
        except queue.Empty:
            self.match = None
        if self.match is None:
            self.stop()
            raise AssertionError(f"{name} did not start:\n{self.log()}")

    def _read(self, pattern):
        for line in self._child.stdout:
            self.lines.append(line)
            if found := pattern.search(line):
                self._ready.put(found)
        self._ready.put(None)

    def log(self, last=60):
        return "".join(self.lines[-last:])

    @property
    def pid(self):
        return self._child.pid

    def running(self):
        return self._child.poll() is None

    def signal(self, which):
        self._child.send_signal(which)

    def stop(self, within=5.0):
        """SIGTERM, and SIGKILL when that is not enough. The exit code."""
        if self.running():
            self._child.terminate()
            try:
                self._child.wait(within)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()


class Sim(Process):
    """A simulated provider and its control endpoints."""

    def __init__(self, name="sim", *more):
        arguments = ["simulate", "--json", "--listen", "127.0.0.1:0", "--name", name, "--workers", "1", *more]
        super().__init__(name, arguments, r'"base_url":"(http://[^"]+)/v1"')
        self.url = self.match.group(1)
        self.base_url = self.url + "/v1"

    def inject(self, *faults):
        return json.loads(request(self.url + "/_sim/faults", list(faults)))["ids"]

    def clear(self):
        request(self.url + "/_sim/faults", method="DELETE")

    def reset(self):
        request(self.url + "/_sim/reset", {}, "POST")

    def account(self, **what):
        request(self.url + "/_sim/account", what)

    def stats(self):
        return json.loads(request(self.url + "/_sim/stats"))

    def received(self):
        return json.loads(request(self.url + "/_sim/log"))

    def idle(self):
        until(lambda: self.stats()["in_flight"] == 0, what=f"an idle {self.name}")


class Weir(Process):
    """A gateway with a configuration."""

    def __init__(self, config, directory, **environment):
        self._path = path = pathlib.Path(directory) / "weir.toml"
        self._write(config)
        pattern = r'apps="([^"]+)" admin="([^"]+)"'
        super().__init__("weir", ["serve", "--config", str(path)], pattern, environment)
        self.url = "http://" + self.match.group(1)
        self.admin = "http://" + self.match.group(2)
        self.base_url = self.url + "/v1"

    def _write(self, config):
        self._path.write_text('listen = "127.0.0.1:0"\nadmin = { listen = "127.0.0.1:0" }\n' + config)

    def reload(self, config):
        """Another configuration, taken at once or refused."""
        self._write(config)
        self.signal(signal.SIGHUP)

    def metric(self, name, **labels):
        """The sum of the samples of `name` that have these labels."""
        total = 0.0
        for line in request(self.admin + "/metrics").splitlines():
            found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
            if found and found.group(1) == name:
                there = dict(re.findall(r'(\w+)="([^"]*)"', found.group(2) or ""))
                if all(there.get(key) == value for key, value in labels.items()):
                    total += float(found.group(3))
        return total


def upstream(sim, name="first", key="passthrough", **more):
    """An `[[upstream]]` at a simulator."""
    base_url = sim if isinstance(sim, str) else sim.base_url
    lines = ["[[upstream]]", f'name = "{name}"', 'provider = "openai"', f'base_url = "{base_url}"']
    lines += [f'api_key = "{key}"', *(f'{word} = "{value}"' for word, value in more.items())]
    return "\n".join(lines) + "\n"


def route(*targets, models="*"):
    names = ", ".join(f'"{target}"' for target in targets)
    return f'[[route]]\nmodels = ["{models}"]\ntargets = [{names}]\n'


# Short waits: what is tested is that weir waits and repeats, not for how long.
QUICK = '[retry]\nbase = "50ms"\nmax = "200ms"\n'
NO_CACHE = '[cache]\npolicy = "off"\n'
