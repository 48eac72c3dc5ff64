"""The shipped validators: personal data, prompt injection, toxicity, support by the documents, format, topics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny

from llmops_flows.artifacts.resources import shared
from llmops_flows.core.fingerprint import content
from llmops_flows.core.plural import plural
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Embedder
from llmops_flows.core.stage import Positive

from .answerable import root_coverage, topic_coverage, unknown_names, word_roots
from .heading import indexed_text
from .injection import SIGNS_FILE, find_signs, visible_text
from .json_check import JsonSchema, extract_json, parse_json, schema_violations, unsupported_keywords
from .overlap import is_refusal
from .pii import LABELS, PII_KINDS, PiiKind, find_personal_data, mask_spans
from .toxicity import WEIGHTS_FILE, toxicity_score
from .validation import SlotValues, TextSpan, ValidationFailure, Validator
from .words import content_words

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_MIN_WORDS = 3
"""A sentence with fewer content words is too short to be compared with documents."""


class NotEmpty(Validator):
    """The text is not empty."""

    name: ClassVar[str] = "not_empty"

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        return None if text.strip() else ValidationFailure("the text is empty")

    def always_passes(self, beginning: str) -> bool:
        return bool(beginning.strip())


class PII(Validator):
    """The text has no personal data or keys. The fix masks them: `[EMAIL]`.

    Attributes:
        kinds: the kinds that fail.
        spare: kinds that pass if a document contains the same text, such as a hotline from the handbook.
    """

    name: ClassVar[str] = "pii"
    by_sentence: ClassVar[bool] = True
    kinds: tuple[PiiKind, ...] = PII_KINDS
    spare: tuple[PiiKind, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return ("documents",) if self.spare else ()

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        spans = [span for span in find_personal_data(text, self.kinds) if not self._is_allowed(text, span, slots)]
        if not spans:
            return None
        listed = ", ".join(dict.fromkeys(LABELS[span.what] for span in spans))
        return ValidationFailure(f"the text contains {listed}", mask_spans(text, spans), tuple(spans))

    def _is_allowed(self, text: str, span: TextSpan, slots: SlotValues) -> bool:
        value = text[span.start : span.end]
        return span.what in self.spare and any(value in d["page_content"] for d in slots.get("documents") or ())


class PromptInjection(Validator):
    """The text does not look like a prompt injection.

    Attributes:
        threshold: total weight of the matched patterns from which it fails; one clear pattern weighs 1.
    """

    name: ClassVar[str] = "prompt_injection"
    threshold: Annotated[float, Field(gt=0, le=10)] = 1.0

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "signs": content(SIGNS_FILE)}

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        signs = find_signs(text)
        if sum(sign.weight for sign in signs) < self.threshold:
            return None
        reasons = ", ".join(dict.fromkeys(sign.what for sign in signs))
        unchanged = visible_text(text) == text  # otherwise the positions do not fit the text
        spans = tuple(TextSpan(s.what, s.start, s.end) for s in signs) if unchanged else ()
        return ValidationFailure(f"the text looks like a prompt injection: it {reasons}", spans=spans)


class Toxicity(Validator):
    """The text is not abusive. The fix removes abusive sentences.

    Attributes:
        threshold: toxicity, from 0 to 1, from which a sentence fails.
    """

    name: ClassVar[str] = "toxicity"
    by_sentence: ClassVar[bool] = True
    threshold: Share = 0.5

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "weights": content(WEIGHTS_FILE)}

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        score = toxicity_score(text)
        if score < self.threshold:
            return None
        return ValidationFailure("the text is abusive", "", (TextSpan(f"toxicity {score:.2f}", 0, len(text)),))


class Answerable(Validator):
    """The documents mention what the question asks about. It passes in a flow without documents.

    Attributes:
        share: share of the question's topic words that the documents must contain.
        names: whether they must contain every name and number of the question.
        one_passage: share of the topic words that one passage must contain.
    """

    name: ClassVar[str] = "answerable"
    share: Share = 0.65
    names: bool = True
    one_passage: Share = 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        return ("question", "documents")

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        documents: Sequence[Document] | None = slots.get("documents")
        if documents is None:
            return None
        question = slots.get("question") or text
        if self.names and unknown_names(question, documents):
            return ValidationFailure("the documents do not mention a name or number in the question")
        share = topic_coverage(question, documents)
        if share < self.share:
            return ValidationFailure(f"the documents mention {share:.0%} of the words of the question")
        best = topic_coverage(question, documents, one_passage=True) if self.one_passage else 1.0
        return (
            ValidationFailure(f"no passage mentions more than {best:.0%} of the words of the question")
            if best < self.one_passage
            else None
        )


class Supported(Validator):
    """The documents support each sentence. Refusals pass. The fix removes unsupported sentences.

    Attributes:
        share: share of a sentence's content words that the documents must contain.
        numbers: whether they must contain every number of the sentence.
    """

    name: ClassVar[str] = "supported"
    by_sentence: ClassVar[bool] = True
    share: Share = 0.5
    numbers: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return ("documents",)

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        documents: Sequence[Document] | None = slots.get("documents")
        claim = list(dict.fromkeys(content_words(text)))
        if documents is None or is_refusal(text) or not claim:
            return None
        known = word_roots(indexed_text(document) for document in documents)
        figures = [word for word in claim if word.isdigit() and len(word) > 1] if self.numbers else []
        share = root_coverage(claim, known)
        if (len(claim) < _MIN_WORDS or share >= self.share) and root_coverage(figures, known) == 1:
            return None
        return ValidationFailure(
            "the documents do not support a sentence", "", (TextSpan(f"support {share:.2f}", 0, len(text)),)
        )


class ValidJson(Validator):
    """The text is JSON that follows a schema. The fix extracts the JSON from the text around it.

    Attributes:
        schema_: JSON Schema, in a config `schema`; None allows any JSON.
    """

    name: ClassVar[str] = "valid_json"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    def problems(self) -> list[str]:
        return [f"{path} is not supported" for path in unsupported_keywords(self.schema_)] if self.schema_ else []

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        problem = self._problem(text)
        if problem is None:
            return None
        extracted = extract_json(text)
        valid = extracted is not None and self._problem(extracted) is None
        return ValidationFailure(problem, extracted if valid else None)

    def _problem(self, text: str) -> str | None:
        try:
            value = parse_json(text)
        except ValueError:
            return "the text is not valid JSON"
        schema: JsonSchema | bool = self.schema_ if self.schema_ is not None else True
        violations = list(schema_violations(value, schema))
        return f"the JSON does not follow the schema: {'; '.join(violations[:5])}" if violations else None


class Length(Validator):
    """The text is neither too short nor too long. The fix shortens a long text at a word boundary.

    Attributes:
        least, most: allowed length in characters, bounds included.
    """

    name: ClassVar[str] = "length"
    least: Annotated[int, Field(ge=0)] = 0
    most: Positive | None = None

    def problems(self) -> list[str]:
        is_empty = self.most is not None and self.most < self.least
        return [f"least ({self.least}) is greater than most ({self.most})"] if is_empty else []

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        if len(text) < self.least:
            return ValidationFailure(f"the text is shorter than {plural(self.least, 'character')}")
        if self.most is not None and len(text) > self.most:
            shortened = text[: self.most]
            if not text[self.most].isspace() and " " in shortened:
                shortened = shortened[: shortened.rindex(" ")]
            return ValidationFailure(
                f"the text is longer than {plural(self.most, 'character')}", shortened.rstrip() or None
            )
        return None

    def always_passes(self, beginning: str) -> bool:
        return self.most is None and len(beginning) >= self.least


class ForbiddenTopics(Validator):
    """The text does not mention certain topics. The fix removes sentences that do.

    Attributes:
        topics: words or phrases; case, plural, -ing and -ed do not count.
        embedder: also finds sentences that are similar to a topic in meaning.
        similarity: cosine, from 0 to 1, from which a sentence is similar.
    """

    name: ClassVar[str] = "forbidden_topics"
    by_sentence: ClassVar[bool] = True
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    embedder: SerializeAsAny[Embedder] | None = None
    similarity: Share = 0.6

    def problems(self) -> list[str]:
        return [f"the topic {topic!r} has no words" for topic in self.topics if not _phrase(topic)]

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        phrase = f" {_phrase(text)} "
        topics = [topic for topic in self.topics if f" {_phrase(topic)} " in phrase] or self._similar(text)
        if not topics:
            return None
        return ValidationFailure(
            f"the text mentions {', '.join(map(repr, topics))}", "", (TextSpan("topic", 0, len(text)),)
        )

    def _similar(self, text: str) -> list[str]:
        if self.embedder is None or not content_words(text):
            return []
        embedder, topics = self.embedder, list(self.topics)
        topic_vectors = shared(self, lambda: embedder.embed(topics), name="topics")
        cosines = topic_vectors @ embedder.embed([text], query=True)[0]
        return [topic for topic, cosine in zip(topics, cosines, strict=True) if cosine >= self.similarity]


def _phrase(text: str) -> str:
    return " ".join(content_words(text)) or " ".join(re.findall(r"\w+", text.lower()))


VALIDATORS: dict[str, type[Validator]] = {
    cls.name: cls
    for cls in (NotEmpty, PII, PromptInjection, Toxicity, Answerable, Supported, ValidJson, Length, ForbiddenTopics)
}
"""The shipped validators by their names in configs."""
