"""pgvector: the retriever's contract against a real PostgreSQL, which the tests start for themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from llmops_flows.artifacts.resources import release_all
from llmops_flows.components.retriever.pgvector import PgVector
from llmops_flows.core.errors import BackendError, ConfigError
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.retrievers import RetrieverContract
from tests.support.required import missing
from tests.support.store_servers import StoreServer

EXTENSIONS = [*Path("/usr/share").glob("postgresql*/**/vector.control")]


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if not EXTENSIONS:
        missing("pgvector", "pgvector is not installed")
    server: StoreServer = request.getfixturevalue("postgres_server")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE vectors")
    yield server.url.removesuffix("postgres") + "vectors"
    release_all()


@pytest.fixture(autouse=True)
def environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_DATABASE", url)


def retriever(documents: Path, k: int = 5, **options: str) -> PgVector:
    return PgVector(documents=documents, embedder=WordVectors(), url_env="FLOWS_DATABASE", k=k, **options)


class TestPgVector(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        return retriever(documents, k)


def folder(tmp_path: Path, *texts: str) -> Path:
    place = tmp_path / "documents"
    place.mkdir()
    for number, text in enumerate(texts):
        (place / f"{number}.txt").write_text(text)
    return place


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'llmops%'").fetchall()
    return [row[0] for row in rows]


def test_many_who_ask_at_once_make_one_table(tmp_path: Path, url: str) -> None:
    documents = folder(tmp_path, "apples are red", "pears are green")
    before = len(tables(url))
    WordVectors.batches.clear()
    found: list[object] = []

    def ask() -> None:
        one = retriever(documents, k=1)
        found.append(one.retrieve(["red apples"], Call())[0][0]["id"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["0.txt"] * 6
    assert len(tables(url)) == before + 1
    assert sum(1 for batch in WordVectors.batches if len(batch) == 2) == 1


def test_an_approximate_index_finds_the_same_here(tmp_path: Path) -> None:
    documents = folder(tmp_path, "apples are red", "pears are green", "plums are blue")
    found = retriever(documents, k=1, search="hnsw").retrieve(["green pears", "blue plums"], Call())
    assert [one["id"] for (one,) in found] == ["1.txt", "2.txt"]


def test_a_build_that_fails_leaves_no_table(tmp_path: Path, url: str) -> None:
    documents = folder(tmp_path, "apples are red and round")
    before = tables(url)

    class Broken(WordVectors):
        def embed(self, texts: object, *, query: bool = False) -> object:  # type: ignore[override]
            if query:
                return super().embed(texts, query=query)  # type: ignore[arg-type]
            raise BackendError("no vectors today")

    broken = PgVector(documents=documents, embedder=Broken(), url_env="FLOWS_DATABASE")
    with pytest.raises(BackendError, match="no vectors today"):
        broken.retrieve(["apples"], Call())
    assert tables(url) == before


def test_a_lost_connection_is_opened_again(tmp_path: Path, url: str) -> None:
    asked = retriever(folder(tmp_path, "apples are red"))
    asked.retrieve(["apples"], Call())
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(BackendError):
        asked.retrieve(["apples"], Call())
    assert asked.retrieve(["apples"], Call())[0]


def test_a_database_that_does_not_answer_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS_DATABASE", "postgresql://flows:canary-password@127.0.0.1:9/postgres")
    with pytest.raises(BackendError) as caught:
        retriever(folder(tmp_path, "apples")).retrieve(["apples"], Call())
    assert caught.value.retryable
    assert "canary-password" not in str(caught.value)


def test_a_missing_url_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWS_DATABASE")
    with pytest.raises(ConfigError, match="FLOWS_DATABASE"):
        retriever(folder(tmp_path, "apples")).retrieve(["apples"], Call())
