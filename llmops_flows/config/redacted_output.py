"""What the command line shows and logs, without secrets: every line is looked at on its way out."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from typing import Any, TextIO

from llmops_flows.core.redaction import redact


class RedactedStream:
    """A text stream that masks secrets line by line; everything else is left to the stream that it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        whole, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._stream.write(redact(whole) + newline)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Whoever flushes wants to see what was written, whole line or not."""
        line, self._line = self._line, ""
        self._stream.write(redact(line))
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_streams() -> None:
    """Mask standard output and standard error from now on.

    What their encoding does not have is shown as "?"; a stream that was closed takes everything, and shows none.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        setattr(sys, name, RedactedStream(stream))


def redact_logs() -> None:
    """Mask what is logged from now on, whatever handlers write it; harmless when repeated."""
    make = logging.getLogRecordFactory()
    if getattr(make, "masks", False):
        return

    def masked(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        try:
            record.msg, record.args = redact(record.getMessage()), None
        except (TypeError, ValueError):
            return record  # its format and its arguments do not fit; whoever writes it says so
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    masked.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(masked)
