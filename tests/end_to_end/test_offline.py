"""A run contacts no other machine, and writes only to the project, the home folder and the temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

WATCH = """
import json, os, sys
seen = {"connections": [], "files": []}
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        if isinstance(arguments[1], tuple):
            seen["connections"].append(str(arguments[1][0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        seen["connections"].append(str(arguments[0]))
    elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen["files"].append(os.path.abspath(arguments[0]))
sys.addaudithook(watch)
from llmops_flows.cli.main import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as out:
    json.dump(seen, out)
sys.exit(code)
"""


def watched(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """The connections that a command makes, and the files that it opens for writing."""
    work, home = folder / "work", folder / "home"
    for place in (work, folder / "temporary"):
        place.mkdir(exist_ok=True)
    own = {"LLMOPS_FLOWS_HOME": str(home), "TMPDIR": str(folder / "temporary"), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **own}
    command = [sys.executable, "-c", WATCH, str(folder / "seen.json"), *arguments]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    events: dict[str, list[str]] = json.loads((folder / "seen.json").read_text())
    return events


def test_a_run_with_scores_contacts_no_other_machine(tmp_path: Path) -> None:
    run = ("flow=rag_support", "model=extractive", "retriever=hybrid", "questions.limit=3")
    for _ in range(2):
        seen = watched(tmp_path, *run)
        outside = [host for host in seen["connections"] if host not in ("127.0.0.1", "localhost", "::1")]
        assert outside == []
        allowed = (str(tmp_path), os.devnull, "/dev/")
        assert [file for file in seen["files"] if not file.startswith(allowed)] == []


def test_check_and_ship_make_no_connection(tmp_path: Path) -> None:
    for arguments in (("check", "flow=rag_support"), ("ship",)):
        assert watched(tmp_path, *arguments)["connections"] == []
