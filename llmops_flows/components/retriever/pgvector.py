"""`retriever=pgvector`: vector search in PostgreSQL with the pgvector extension."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError, ConfigError, Problem
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.record import Document
from llmops_flows.core.redaction import redact
from llmops_flows.core.stage import OPERATIONAL, Call, Seconds
from llmops_flows.core.store import Store
from llmops_flows.documents.passages import RankedPassages

from .vector_retriever import VectorRetriever

_SEARCH = """
SELECT q.n, p.id, p.content, p.metadata, 1 - (p.embedding <=> q.v) AS score
FROM unnest(%s::int[], %s::vector[]) AS q(n, v)
CROSS JOIN LATERAL (SELECT * FROM {table} ORDER BY embedding <=> q.v, id LIMIT %s) AS p
ORDER BY q.n, score DESC, p.id
"""


class PgVector(VectorRetriever):
    """Ranks passages by cosine similarity in a table of a PostgreSQL database.

    The table is named by the address of the index, and created in one transaction by the first process that needs it.
    The database must have the extension `vector`, or the user must be allowed to create it.

    Attributes:
        url_env: name of the environment variable that holds the URL of the database.
        search: `exact` compares with every passage; `hnsw` uses an approximate index, for very many passages.
        timeout: seconds to connect, and for each statement.
    """

    requires: ClassVar[tuple[str, ...]] = ("psycopg",)
    extra: ClassVar[str] = "postgres"
    url_env: Annotated[str, OPERATIONAL] = "DATABASE_URL"
    search: Literal["exact", "hnsw"] = "exact"
    timeout: Annotated[Seconds, OPERATIONAL] = 60.0

    @property
    def table(self) -> str:
        """The table of this index."""
        return f"llmops_flows_{self.address[:32]}_{self.search}"

    def nearest(self, questions: Sequence[str], vectors: Sequence[bytes], call: Call) -> list[RankedPassages]:
        url = self._url()
        name = f"database {digest(url.encode())}"
        database = shared(self, lambda: _Database(url, self.timeout), name=name, close=_Database.close)
        with database.transaction() as cursor:
            self._create_table(cursor, call.store)
            texts = [_text(vector) for vector in vectors]
            numbers = list(range(len(texts)))
            cursor.execute(_SEARCH.format(table=self.table), (numbers, texts, self.k))
            results: list[RankedPassages] = [([], []) for _ in texts]
            for number, name, content, metadata, score in cursor.fetchall():
                document = Document(id=name, page_content=content, metadata=json.loads(metadata))
                passages, scores = results[number]
                passages.append(document)
                scores.append(score)
        return results

    def _url(self) -> str:
        url = os.environ.get(self.url_env, "")
        if not url:
            hint = f"set it: export {self.url_env}=postgresql://user:password@host/database"
            raise ConfigError(
                Problem(f"the environment variable {self.url_env} is not set", key="retriever.url_env", hint=hint)
            )
        return url

    def _create_table(self, cursor: Any, store: Store | None) -> None:
        """Create and fill the table if it does not exist; other processes wait for the transaction."""
        if self._exists(cursor):
            return
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self.table,))
        if self._exists(cursor):
            return
        passages, vectors = self.index.embedded(store)
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute(
            f"CREATE TABLE {self.table} (id text PRIMARY KEY, content text NOT NULL, metadata text NOT NULL, "
            f"embedding vector({len(vectors[0]) // 4}) NOT NULL)"
        )
        with cursor.copy(f"COPY {self.table} (id, content, metadata, embedding) FROM STDIN") as copy:
            for passage, vector in zip(passages, vectors, strict=True):
                content = passage["page_content"].replace("\x00", "")
                copy.write_row((passage["id"], content, json.dumps(passage["metadata"]), _text(vector)))
        if self.search == "hnsw":
            cursor.execute(f"CREATE INDEX ON {self.table} USING hnsw (embedding vector_cosine_ops)")

    def _exists(self, cursor: Any) -> bool:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (self.table,))
        return bool(cursor.fetchone()[0])


class _Database:
    """A connection that one thread uses at a time. It is reopened after it is lost."""

    def __init__(self, url: str, timeout: float) -> None:
        self._psycopg = load("psycopg", PgVector.extra, PgVector.__name__)
        self._url = url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: Any = None

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction, which is committed at the end of the block.

        Raises:
            BackendError: the database cannot be reached, or refused a statement.
        """
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._open()
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    yield cursor
            except self._psycopg.Error as error:
                lost = isinstance(error, self._psycopg.OperationalError)
                raise BackendError(redact(f"PostgreSQL: {error}".strip()), retryable=lost) from None

    def _open(self) -> Any:
        connection = self._psycopg.connect(self._url, connect_timeout=max(2, int(self._timeout)), autocommit=True)
        connection.execute(f"SET statement_timeout = {int(self._timeout * 1000)}")
        return connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()


def _text(vector: bytes) -> str:
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    return "[" + ",".join(map(repr, numbers)) + "]"
