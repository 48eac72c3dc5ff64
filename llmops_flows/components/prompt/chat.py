"""Prompts as versions: chat messages with named places, filled with slots. Names only: no attributes, no code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmops_flows.core.roles import Prompt
from llmops_flows.core.stage import OPERATIONAL

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


class MessageTemplate(BaseModel):
    """One message of a prompt. `history` inserts the earlier messages of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    role: Literal["system", "user", "assistant", "history"]
    content: str = ""

    @field_validator("content")
    @classmethod
    def names_only(cls, text: str) -> str:
        template_slots(text)
        return text


class ChatPrompt(Prompt):
    """Chat messages with `{slot}` places; `{{` and `}}` are braces.

    Attributes:
        messages: the messages, in order.
        document: how one passage is written: `{page_content}`, `{source}`, `{page}`, `{number}`.
        separator: what stands between passages.
        notes: what this version is about; decides no answer.
    """

    version: ClassVar[int] = 1
    messages: Annotated[tuple[MessageTemplate, ...], Field(min_length=1)]
    document: str = "{page_content}"
    separator: str = "\n"
    notes: Annotated[str, OPERATIONAL] = ""

    @field_validator("document")
    @classmethod
    def known_fields(cls, text: str) -> str:
        unknown = template_slots(text) - {"page_content", "source", "page", "number"}
        if unknown:
            raise ValueError(f"a passage has no {', '.join(sorted(unknown))}; use page_content, source, page, number")
        return text

    @cached_property
    def reads(self) -> Mapping[str, bool]:
        """The slots that the places name; the history is optional."""
        named = {name: True for message in self.messages for name in sorted(template_slots(message.content))}
        return named | ({"history": False} if any(m.role == "history" for m in self.messages) else {})

    def run(self, **slots: Any) -> list[dict[str, str]]:
        texts = {name: self._text(value) for name, value in slots.items() if name != "history"}
        found: list[dict[str, str]] = []
        for message in self.messages:
            if message.role == "history":
                found += slots.get("history") or []
            else:
                found.append({"role": message.role, "content": fill_template(message.content, texts)})
        return found

    def _text(self, value: Any) -> str:
        """A slot as text: passages one after the other, anything else as it is."""
        if not isinstance(value, list):
            return str(value)
        return self.separator.join(
            fill_template(self.document, _facts(item, number)) if isinstance(item, Mapping) else str(item)
            for number, item in enumerate(value, 1)
        )


def _facts(document: Mapping[str, Any], number: int) -> dict[str, str]:
    metadata = document.get("metadata", {})
    return {
        "page_content": str(document.get("page_content", "")),
        "source": str(metadata.get("source", "")),
        "page": str(metadata.get("page", "")),
        "number": str(number),
    }


def template_slots(template: str) -> set[str]:
    """The names of a template's places.

    Raises:
        ValueError: a brace that is neither a place nor doubled.
    """
    names = set()
    for match in _PLACE.finditer(template):
        if match[0] in "{}":
            near = template[max(0, match.start() - 10) : match.start() + 20]
            raise ValueError(f"a single brace near {near!r}: write {{name}} for a slot, {{{{ or }}}} for a brace")
        if match[1]:
            names.add(match[1])
    return names


def fill_template(template: str, texts: Mapping[str, str]) -> str:
    """The template with its places filled. Braces in the texts stay as they are.

    Raises:
        KeyError: a place that no text fills.
    """
    return _PLACE.sub(lambda m: texts[m[1]] if m[1] else m[0][0], template)
