"""Prompts of chat messages with `{slot}` placeholders. Placeholders are names only: no attributes, no code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmops_flows.core.roles import Prompt
from llmops_flows.core.stage import OPERATIONAL

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


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
    """Chat messages with `{slot}` placeholders; `{{` and `}}` are literal braces.

    Attributes:
        messages: the messages, in order.
        document: template of one passage: `{page_content}`, `{source}`, `{page}`, `{number}`.
        separator: text between passages.
        notes: description of this version; not part of the identity.
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
            raise ValueError(
                f"unknown placeholder {', '.join(sorted(unknown))} of a passage; use page_content, source, page, number"
            )
        return text

    @cached_property
    def reads(self) -> Mapping[str, bool]:
        """The slots that the placeholders name; the history is optional."""
        slots = {name: True for message in self.messages for name in sorted(template_slots(message.content))}
        return slots | ({"history": False} if any(m.role == "history" for m in self.messages) else {})

    def run(self, **slots: Any) -> list[dict[str, str]]:
        texts = {name: self._text(value) for name, value in slots.items() if name != "history"}
        messages: list[dict[str, str]] = []
        for message in self.messages:
            if message.role == "history":
                messages += slots.get("history") or []
            else:
                messages.append({"role": message.role, "content": fill_template(message.content, texts)})
        return messages

    def _text(self, value: Any) -> str:
        """A slot as text; documents are joined by the separator."""
        if not isinstance(value, list):
            return str(value)
        return self.separator.join(
            fill_template(self.document, _fields(item, number)) if isinstance(item, Mapping) else str(item)
            for number, item in enumerate(value, 1)
        )


def _fields(document: Mapping[str, Any], number: int) -> dict[str, str]:
    metadata = document.get("metadata", {})
    return {
        "page_content": str(document.get("page_content", "")),
        "source": str(metadata.get("source", "")),
        "page": str(metadata.get("page", "")),
        "number": str(number),
    }


def template_slots(template: str) -> set[str]:
    """The names in the placeholders of a template.

    Raises:
        ValueError: a single brace that is not part of a placeholder.
    """
    names = set()
    for match in _PLACEHOLDER.finditer(template):
        if match[0] in "{}":
            near = template[max(0, match.start() - 10) : match.start() + 20]
            raise ValueError(f"a single brace near {near!r}: write {{name}} for a slot, {{{{ or }}}} for a brace")
        if match[1]:
            names.add(match[1])
    return names


def fill_template(template: str, texts: Mapping[str, str]) -> str:
    """The template with its placeholders replaced. Braces in the texts are kept.

    Raises:
        KeyError: a placeholder without a text.
    """
    return _PLACEHOLDER.sub(lambda m: texts[m[1]] if m[1] else m[0][0], template)
