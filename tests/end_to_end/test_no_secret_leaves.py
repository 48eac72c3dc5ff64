"""Secrets in questions, documents, config and environment are neither written, printed nor sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmops_flows.tracing.trace_store import TraceStore
from tests.components.test_otel import collecting
from tests.support.langsmith_server import fake_langsmith

_SHAPES = (
    "sk-proj-{}aaaaaaaaaaaaaaaaaaaa", "ghp_{}bbbbbbbbbbbbbbbbbbbbbbbbbb", "lsv2_pt_{}cccccccccccccccccccccc",
    "hf_{}dddddddddddddddddddddddddd", "xoxb-{}-eeeeeeeeeeeeeee",
)  # fmt: skip
_PLACES = ("question", "reference", "deep", "document", "answer", "tag")
SHAPED = {place: [shape.format(f"{place}0{n}") for n, shape in enumerate(_SHAPES)] for place in _PLACES}
"""Five kinds of keys for each place."""
SENTENCES = {
    "Authorization: Basic {}": "YmFzaWMta2V5LTAwMQ0011",
    "postgresql://ann:{}@db/x": "url-password-0022",
    "export SERVICE_PASSWORD={}": "named-password-0033",
}
ENV = {"MY_SERVICE_TOKEN": 'odd "value" of\\ the environment 0044', "SOME_API_KEY_PROD": "plain-words-as-a-key"}
CONFIG = "config-file-password-0055"
CANARIES = [*(secret for place in SHAPED.values() for secret in place), *SENTENCES.values(), *ENV.values(), CONFIG]


def forms(secret: str) -> set[bytes]:
    """A secret as plain text, in JSON, in Python source and in a URL."""
    texts = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
    return {text.encode() for text in texts}


def project(folder: Path) -> list[str]:
    """Create a project with secrets in its config, questions, documents and answers; returns arguments to run it."""
    deep: Any = SHAPED["deep"]
    for level in range(40):
        deep = {f"level {level}": deep}
    text = " ".join(sentence.format(secret) for sentence, secret in SENTENCES.items())
    question = " ".join(["What are the keys?", *SHAPED["question"], text, *ENV.values()])
    rows = [
        {"id": "a", "question": question, "reference": " ".join(SHAPED["reference"]), "deep": deep},
        {"id": "b", "question": f"Nobody knows {SHAPED['question'][0]}, so replaying fails."},
    ]
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    answer = {"question": question, "answer": " ".join(SHAPED["answer"])}
    (folder / "answers.jsonl").write_text(json.dumps(answer) + "\n")
    (folder / "documents").mkdir()
    (folder / "documents" / "keys.md").write_text("# The keys\n\n" + "\n\n".join(SHAPED["document"]))
    debug = folder / "conf" / "debug"
    debug.mkdir(parents=True)
    tags = json.dumps([*SHAPED["tag"], f"password={CONFIG}"])
    (debug / "tagged.yaml").write_text(f"# @package _global_\ntags: {tags}\n")
    return [
        "flow=rag_support", "+debug=tagged", "model=replay", f"model.path={folder}/answers.jsonl", "retriever=bm25",
        "guardrail=none", f"documents={folder}/documents", f"questions.path={folder}/questions.jsonl",
        "questions.unanswerable=null", "tracer=[langsmith,otel]",
    ]  # fmt: skip


def leaks(data: bytes) -> list[str]:
    return [secret for secret in CANARIES if any(form in data for form in forms(secret))]


def test_there_are_thirty_canaries() -> None:
    assert len(set(CANARIES)) >= 30


def test_no_secret_is_written_printed_or_sent(tmp_path: Path) -> None:
    given, work, home = tmp_path / "given", tmp_path / "work", tmp_path / "home"
    given.mkdir()
    work.mkdir()
    arguments = project(given)
    (work / "conf").symlink_to(given / "conf")
    with fake_langsmith() as langsmith, collecting() as collector:
        env = {
            **os.environ, **ENV, "LLMOPS_FLOWS_HOME": str(home), "LANGSMITH_API_KEY": "langsmith-key-0066",
            "LANGSMITH_ENDPOINT": langsmith.url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }  # fmt: skip
        del env["OTEL_SDK_DISABLED"]
        done = subprocess.run(
            [sys.executable, "-m", "llmops_flows", *arguments],
            cwd=work, env=env, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1, (done.stdout + done.stderr).decode()  # one question fails on purpose
        store = TraceStore(home / "traces.sqlite")
        until = time.monotonic() + 30
        while store.outbox.pending_counts() and time.monotonic() < until:
            time.sleep(0.1)
        assert not store.outbox.pending_counts()
        written = [path for folder in (work, home) for path in folder.rglob("*") if path.is_file()]
        found = {str(path): leaks(path.read_bytes()) for path in written if given not in path.resolve().parents}
        store.close()
        assert len(langsmith.roots()) == 2 and len(collector.spans) > 4
        found |= {"stdout": leaks(done.stdout), "stderr": leaks(done.stderr)}
        found |= {f"langsmith {n}": leaks(body) for n, body in enumerate(langsmith.bodies)}
        found |= {f"otel {n}": leaks(span.SerializeToString()) for n, span in enumerate(collector.spans)}
    assert {name: secrets for name, secrets in found.items() if secrets} == {}
    assert any(path.parts[-2:] == (".hydra", "config.yaml") for path in written)


def test_a_sweep_redacts_its_command_line(tmp_path: Path) -> None:
    question = f"Is {SHAPED['question'][0]} a key?"
    sweep = ["-m", "flow=chat", "model=echo", f"question={question}", "samples=1,2"]
    env = {**os.environ, "LLMOPS_FLOWS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "llmops_flows", *sweep]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "multirun.yaml" for path in written)
    found = {str(path): leaks(path.read_bytes()) for path in written}
    assert {name: secrets for name, secrets in found.items() if secrets} == {}
    assert not leaks(done.stdout) and not leaks(done.stderr)
