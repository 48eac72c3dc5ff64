"""Redacts secrets in what the command line prints and logs."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from typing import Any, TextIO

from llmops_flows.core.redaction import redact


class RedactedStream:
    """A text stream that redacts secrets line by line, and passes everything else to the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        lines, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._stream.write(redact(lines) + newline)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write an incomplete line too."""
        line, self._line = self._line, ""
        self._stream.write(redact(line))
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_streams() -> None:
    """Redact standard output and standard error from now on.

    Characters that their encoding lacks are written as "?". A closed stream is replaced by the null device.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        setattr(sys, name, RedactedStream(stream))


def redact_logs() -> None:
    """Redact log records from now on, for all handlers. May be called repeatedly."""
    factory = logging.getLogRecordFactory()
    if getattr(factory, "redacts", False):
        return

    def redacted(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = factory(*arguments, **options)
        try:
            record.msg, record.args = redact(record.getMessage()), None
        except (TypeError, ValueError):
            return record  # the arguments do not fit the format: the handler reports it
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacted)
