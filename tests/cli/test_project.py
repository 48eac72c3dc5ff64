"""A user's own project, and an installed plugin: components, flows and prompts of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops_flows.config.files.plugins import plugins

SHOUT = """
from llmops_flows import Model


class Shout(Model):
    '''Answers with the question, louder.'''

    name: str = "shout"
    mark: str = "!"

    def run(self, messages):
        return messages[-1]["content"].upper() + self.mark
"""
FLOW = """# @package _global_
defaults:
  - override /prompt: mine/v1
  - override /model: shout

name: mine
trust: [my_package]
questions: {path: "${flow_data:mine,questions.jsonl}"}
stages:
  prompt: ${prompt}
  model: ${model}
"""
PROMPT = """_target_: llmops_flows.components.prompt.chat.ChatPrompt
messages:
  - {role: user, content: "say {question}"}
"""


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def flows(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a folder, as a user would type it there."""
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=110, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "my_package" / "__init__.py", "")
    write(tmp_path / "my_package" / "shout.py", SHOUT)
    write(tmp_path / "conf" / "flow" / "mine.yaml", FLOW)
    write(tmp_path / "conf" / "prompt" / "mine" / "v1.yaml", PROMPT)
    write(tmp_path / "conf" / "model" / "shout.yaml", '_target_: my_package.shout.Shout\nmark: "!!"\n')
    write(tmp_path / "flows" / "mine" / "questions.jsonl", '{"id": "a", "question": "hello"}\n')
    return tmp_path


def test_a_flow_a_prompt_and_a_component_of_ones_own(project: Path) -> None:
    done = flows(project, "flow=mine")
    assert done.returncode == 0, done.stderr
    [results] = (project / "outputs").glob("*/*/results.jsonl")
    assert json.loads(results.read_text())["answer"] == "SAY HELLO!!"
    assert "mine" in flows(project, "--help").stdout
    assert "Shout" in flows(project, "check", "flow=mine").stdout


def test_a_mistyped_field_of_ones_own_component_has_its_file_and_line(project: Path) -> None:
    write(project / "conf" / "model" / "shout.yaml", "_target_: my_package.shout.Shout\nmrak: x\n")
    done = flows(project, "check", "flow=mine")
    assert done.returncode == 2
    assert "conf/model/shout.yaml:2" in done.stderr and "did you mean 'mark'?" in done.stderr


def test_a_component_that_raises_is_told_with_its_file_and_line(project: Path) -> None:
    write(project / "my_package" / "shout.py", SHOUT.replace("messages[-1]", "{}[messages[-1]['role']]"))
    done = flows(project, "flow=mine")
    assert done.returncode == 1
    assert "1 x model: KeyError: 'user' (my_package/shout.py:12 in run)" in done.stdout
    assert "Traceback" not in done.stderr and "HYDRA_FULL_ERROR=1 shows the whole traceback" in done.stderr
    whole = flows(project, "flow=mine", HYDRA_FULL_ERROR="1").stderr
    assert whole.count("Traceback") == 1 and 'my_package/shout.py", line 12, in run' in whole


def test_an_interrupted_run_says_so_once_and_how_to_go_on(project: Path) -> None:
    slow = SHOUT.replace(
        "        return", "        open('asked', 'w').close(); __import__('time').sleep(30)\n        return"
    )
    write(project / "my_package" / "shout.py", slow)
    begun = subprocess.Popen(
        [sys.executable, "-m", "llmops_flows", "flow=mine"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not (project / "asked").exists() and time.monotonic() < until:
        time.sleep(0.02)
    begun.send_signal(signal.SIGINT)
    said, _ = begun.communicate(timeout=20)
    assert begun.returncode == 130
    assert said.count("interrupted") == 1 and "interrupted after 0 of 1; the same command continues from here" in said


def test_a_package_that_is_not_trusted_is_not_imported(project: Path) -> None:
    write(project / "conf" / "flow" / "mine.yaml", FLOW.replace("trust: [my_package]", "trust: []"))
    write(project / "my_package" / "__init__.py", "open('imported', 'w')\n")
    done = flows(project, "check", "flow=mine")
    assert done.returncode == 2 and "not in a trusted package" in done.stderr
    assert not (project / "imported").exists()


def installed(site: Path, name: str, package: str, files: list[str], **more: str) -> None:
    """What an installer leaves of a distribution: its metadata, the list of its files."""
    info = site / f"{name}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[console_scripts]\nx = {package}:x\n\n[llmops_flows]\n{name} = {package}\n")
    write(info / "RECORD", "".join(f"{file},,\n" for file in files))
    for file, text in more.items():
        write(info / f"{file}.json", text)


OPTION = "_target_: loud_plugin.shout.Shout\nmark: '?!'\n"
LOUD = "open('imported', 'a').close()\n"


def plugged(folder: Path, *arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return flows(folder, *arguments, PYTHONPATH=str(path))


def checked(folder: Path, site: Path) -> None:
    """The option of the plugin is listed without importing it, and runs."""
    assert "shout" in plugged(folder, "--help", path=site).stdout
    assert not (folder / "imported").exists()
    done = plugged(folder, "flow=chat", "model=shout", "guardrail=none", "question=hello", path=site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "HELLO?!"


def test_an_installed_plugin_brings_its_options(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write(site / "loud_plugin" / "__init__.py", LOUD)
    write(site / "loud_plugin" / "shout.py", SHOUT)
    write(site / "loud_plugin" / "conf" / "model" / "shout.yaml", OPTION)
    installed(site, "loud", "loud_plugin", ["loud_plugin/__init__.py", "loud_plugin/conf/model/shout.yaml"])
    (tmp_path / "work").mkdir()
    checked(tmp_path / "work", site)


def test_a_plugin_that_is_installed_as_editable_brings_its_options(tmp_path: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "loud"
    write(source / "src" / "loud_plugin" / "__init__.py", LOUD)
    write(source / "src" / "loud_plugin" / "shout.py", SHOUT)
    write(source / "conf" / "model" / "shout.yaml", OPTION)
    about = json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    installed(site, "loud", "loud_plugin", ["_loud.pth"], direct_url=about)
    (tmp_path / "work").mkdir()
    found = plugged(tmp_path / "work", "--help", path=site).stdout
    assert "shout" in found
    done = flows(
        tmp_path / "work", "flow=chat", "model=shout", "guardrail=none", "question=hello",
        PYTHONPATH=os.pathsep.join([str(site), str(source / "src")]),
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == "HELLO?!", done.stderr


def test_a_broken_plugin_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    installed(site, "gone", "no_such_package", [])
    write(site / "odd-1.0.dist-info" / "entry_points.txt", "[llmops_flows]\n=\x00\n\ufffd")
    write(site / "torn-1.0.dist-info" / "entry_points.txt", "[llmops_flows]\nx = loud_plugin\n")
    write(site / "torn-1.0.dist-info" / "direct_url.json", "{")
    monkeypatch.syspath_prepend(str(site))
    assert all(plugin.conf is None for plugin in plugins())
