"""Fixtures: simulators, gateways, SDK clients."""

import openai
import pytest

import harness
from harness import NO_CACHE, QUICK, Sim, Weir, route, upstream

_running = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for process in _running:
            report.sections.append((f"log of {process.name}", process.log(last=15)))


def pytest_report_header():
    return f"openai {openai.__version__}, weir: {harness.BINARY}"


class World:
    """Starts processes, and ends them with the test (or the module)."""

    def __init__(self, directories):
        self._directories = directories
        self._mine = []

    def _keep(self, process):
        self._mine.append(process)
        _running.append(process)
        return process

    def sim(self, name="sim", *more):
        return self._keep(Sim(name, *more))

    def weir(self, config, **environment):
        return self._keep(Weir(config, self._directories.mktemp("weir"), **environment))

    def one(self, extra=QUICK + NO_CACHE, **more):
        """A simulator with a gateway before it."""
        sim = self.sim("first")
        return sim, self.weir(upstream(sim, **more) + extra)

    def two(self, extra=QUICK + NO_CACHE, **more):
        """Two simulators, the second standing in for the first."""
        first, second = self.sim("first"), self.sim("second")
        config = upstream(first, "first", "sk-first", **more) + upstream(second, "second", "sk-second", **more)
        return first, second, self.weir(config + route("first", "second") + extra)

    def end(self):
        for process in reversed(self._mine):
            process.stop()
            _running.remove(process)


@pytest.fixture
def world(tmp_path_factory):
    world = World(tmp_path_factory)
    yield world
    world.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One simulator and one gateway for all tests of a module that break nothing."""
    world = World(tmp_path_factory)
    sim, weir = world.one()
    yield sim, weir
    world.end()


@pytest.fixture
def direct(shared):
    return client(shared[0])


@pytest.fixture
def through(shared):
    return client(shared[1])


def client(where, key="sk-test", **more):
    """An SDK client; without its own retries unless the test is about them."""
    return openai.OpenAI(base_url=where.base_url, api_key=key, **{"max_retries": 0, "timeout": 30, **more})


def async_client(where, key="sk-test", **more):
    return openai.AsyncOpenAI(base_url=where.base_url, api_key=key, **{"max_retries": 0, "timeout": 30, **more})
