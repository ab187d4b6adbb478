"""The examples of README.md and docs/ are true: configurations pass `weir check`, scenarios start, commands exist.

A block of shell that is to be run as it stands has `<!-- tested -->` on the line before it.
"""

import functools
import itertools
import os
import pathlib
import re
import shlex
import subprocess

import pytest

import harness

BLOCK = re.compile(r"(<!-- tested -->\n)?^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in [harness.ROOT / "README.md", *sorted(harness.ROOT.glob("docs/**/*.md"))] if page.exists()]


def blocks(*languages):
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            # A provider's preset is no configuration; the ones of config/providers/ are read by the unit tests.
            preset = "\n[[rule]]" in found.group(3)
            if found.group(2) in languages and not preset:
                line = text.count("\n", 0, found.start()) + 1
                where = f"{page.relative_to(harness.ROOT)}:{line}"
                yield pytest.param(found.group(3), bool(found.group(1)), id=where)


def run(*arguments, cwd=None, environment=None, within=30):
    return subprocess.run(
        arguments,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
    )


@pytest.mark.parametrize("text, _", blocks("toml"))
def test_a_configuration_is_accepted(text, _, tmp_path):
    if "[[fault]]" in text or "[[change]]" in text:
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        harness.Sim("documented", "--scenario", str(path)).stop()
        return
    path = tmp_path / "weir.toml"
    path.write_text(text)
    names = re.findall(r"\$\{(\w+)", text)
    dummies = {name: "https://dummy.example/hook" if name.endswith("_URL") else "sk-dummy" for name in names}
    done = run(harness.BINARY, "check", "--config", str(path), environment=dummies)
    assert done.returncode == 0, done.stdout


@functools.cache
def help_of(*command):
    return run(harness.BINARY, *command, "--help")


def commands(text):
    """The lines that call `weir`, as words."""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip().removeprefix("$ ")
        if line.startswith("weir "):
            words = shlex.split(line, comments=True)[1:]
            # What follows belongs to another command.
            ends = [words.index(end) for end in ("--", "|", "&&", "||", ";", "&", ">") if end in words]
            yield words[: min(ends, default=len(words))]


@pytest.mark.parametrize("text, tested", [b for b in blocks("sh", "bash", "shell", "console")])
def test_commands_exist_and_tested_ones_run(text, tested, tmp_path):
    for words in commands(text):
        subcommand = list(itertools.takewhile(lambda word: re.fullmatch("[a-z][a-z-]*", word), words))[:2]
        helped = help_of(*subcommand)
        assert helped.returncode == 0, f"weir {' '.join(words)}: {helped.stdout}"
        for flag in (word.split("=")[0] for word in words if word.startswith("--") and len(word) > 2):
            assert flag in helped.stdout, f"weir {' '.join(words)}: there is no {flag}"
    if tested:
        path = f"{pathlib.Path(harness.BINARY).parent}:{os.environ['PATH']}"
        done = run("bash", "-euo", "pipefail", "-c", text, cwd=tmp_path, environment={"PATH": path}, within=120)
        assert done.returncode == 0, done.stdout
