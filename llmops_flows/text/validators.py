"""The shipped validators: personal data, prompt injection, toxicity, support by the documents, form, topics."""

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
_FEW = 3
"""A sentence with fewer content words says too little to be compared with documents."""


class NotEmpty(Validator):
    """The text says something."""

    name: ClassVar[str] = "not_empty"

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        return None if text.strip() else ValidationFailure("the text is empty")

    def always_passes(self, beginning: str) -> bool:
        return bool(beginning.strip())


class PII(Validator):
    """No personal data: e-mail, phone, credit card (Luhn), IBAN, SSN, IP address, keys. The fix: `[EMAIL]` and so on.

    Attributes:
        kinds: what is looked for.
        spare: kinds that pass where a document holds the same (a hotline that the handbook names).
    """

    name: ClassVar[str] = "pii"
    by_sentence: ClassVar[bool] = True
    kinds: tuple[PiiKind, ...] = PII_KINDS
    spare: tuple[PiiKind, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return ("documents",) if self.spare else ()

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        places = [place for place in find_personal_data(text, self.kinds) if not self._spared(text, place, facts)]
        if not places:
            return None
        listed = ", ".join(dict.fromkeys(LABELS[place.what] for place in places))
        return ValidationFailure(f"the text holds {listed}", mask_spans(text, places), tuple(places))

    def _spared(self, text: str, place: TextSpan, facts: SlotValues) -> bool:
        wanted = text[place.start : place.end]
        return place.what in self.spare and any(wanted in d["page_content"] for d in facts.get("documents") or ())


class PromptInjection(Validator):
    """Does not try to give the model other orders.

    Attributes:
        threshold: how much must speak for an attack; 1 is one clear sign, 2 several.
    """

    name: ClassVar[str] = "prompt_injection"
    threshold: Annotated[float, Field(gt=0, le=10)] = 1.0

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "signs": content(SIGNS_FILE)}

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        found = find_signs(text)
        if sum(sign.weight for sign in found) < self.threshold:
            return None
        told = ", ".join(dict.fromkeys(sign.what for sign in found))
        same = visible_text(text) == text
        places = tuple(TextSpan(s.what, s.start, s.end) for s in found) if same else ()
        return ValidationFailure(f"the text looks like a prompt injection: it {told}", places=places)


class Toxicity(Validator):
    """Is not abusive. The fix cuts the sentences that are.

    Attributes:
        threshold: how toxic (from 0 to 1) a sentence must be to fail.
    """

    name: ClassVar[str] = "toxicity"
    by_sentence: ClassVar[bool] = True
    threshold: Share = 0.5

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "weights": content(WEIGHTS_FILE)}

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        score = toxicity_score(text)
        if score < self.threshold:
            return None
        return ValidationFailure("the text is abusive", "", (TextSpan(f"toxicity {score:.2f}", 0, len(text)),))


class Answerable(Validator):
    """The documents speak of what the question asks; says nothing where there are no documents to look at.

    Attributes:
        share: how much of the question's topic (its content words) they must name.
        names: whether names and numbers in the question must all stand in the documents.
        one_passage: how much of it the best passage alone must name.
    """

    name: ClassVar[str] = "answerable"
    share: Share = 0.65
    names: bool = True
    one_passage: Share = 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        return ("question", "documents")

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        documents: Sequence[Document] | None = facts.get("documents")
        if documents is None:
            return None
        question = facts.get("question") or text
        if self.names and unknown_names(question, documents):
            return ValidationFailure("the documents do not speak of a name or number that the question asks about")
        share = topic_coverage(question, documents)
        if share < self.share:
            return ValidationFailure(f"the documents name {share:.0%} of what is asked")
        best = topic_coverage(question, documents, one_passage=True) if self.one_passage else 1.0
        return (
            ValidationFailure(f"no passage names more than {best:.0%} of what is asked")
            if best < self.one_passage
            else None
        )


class Supported(Validator):
    """The documents have the words of each sentence; a refusal needs none. The fix cuts what they do not support.

    Attributes:
        share: how many of a sentence's content words they must have.
        numbers: whether they must have every number of the sentence.
    """

    name: ClassVar[str] = "supported"
    by_sentence: ClassVar[bool] = True
    share: Share = 0.5
    numbers: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return ("documents",)

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        documents: Sequence[Document] | None = facts.get("documents")
        said = list(dict.fromkeys(content_words(text)))
        if documents is None or is_refusal(text) or not said:
            return None
        have = word_roots(indexed_text(document) for document in documents)
        figures = [word for word in said if word.isdigit() and len(word) > 1] if self.numbers else []
        share = root_coverage(said, have)
        if (len(said) < _FEW or share >= self.share) and root_coverage(figures, have) == 1:
            return None
        return ValidationFailure(
            "the documents do not support a sentence", "", (TextSpan(f"support {share:.2f}", 0, len(text)),)
        )


class ValidJson(Validator):
    """Is JSON, and follows a JSON Schema. The fix takes the JSON out of the words or the code fence around it.

    Attributes:
        schema_: JSON Schema as data; None: any JSON. In a config: `schema`.
    """

    name: ClassVar[str] = "valid_json"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    def problems(self) -> list[str]:
        return [f"{place} is not checked here" for place in unsupported_keywords(self.schema_)] if self.schema_ else []

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        problem = self._problem(text)
        if problem is None:
            return None
        within = extract_json(text)
        return ValidationFailure(problem, within if within is not None and self._problem(within) is None else None)

    def _problem(self, text: str) -> str | None:
        try:
            value = parse_json(text)
        except ValueError:
            return "the text is not valid JSON"
        schema: JsonSchema | bool = self.schema_ if self.schema_ is not None else True
        found = list(schema_violations(value, schema))
        return f"the JSON does not follow the schema: {'; '.join(found[:5])}" if found else None


class Length(Validator):
    """Is neither too short nor too long, in characters. The fix cuts a long text at a word.

    Attributes:
        least, most: the bounds; both allowed lengths.
    """

    name: ClassVar[str] = "length"
    least: Annotated[int, Field(ge=0)] = 0
    most: Positive | None = None

    def problems(self) -> list[str]:
        wrong = self.most is not None and self.most < self.least
        return [f"least is {self.least}, more than most: {self.most}"] if wrong else []

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        if len(text) < self.least:
            return ValidationFailure(f"the text is shorter than {plural(self.least, 'character')}")
        if self.most is not None and len(text) > self.most:
            cut = text[: self.most]
            if not text[self.most].isspace() and " " in cut:
                cut = cut[: cut.rindex(" ")]
            return ValidationFailure(f"the text is longer than {plural(self.most, 'character')}", cut.rstrip() or None)
        return None

    def always_passes(self, beginning: str) -> bool:
        return self.most is None and len(beginning) >= self.least


class ForbiddenTopics(Validator):
    """Does not speak of certain topics. The fix cuts the sentences that do.

    Attributes:
        topics: words or phrases; case, plural, -ing and -ed do not count.
        embedder: finds what is close in meaning to a topic, too.
        similarity: how close (cosine, from 0 to 1) is too close.
    """

    name: ClassVar[str] = "forbidden_topics"
    by_sentence: ClassVar[bool] = True
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    embedder: SerializeAsAny[Embedder] | None = None
    similarity: Share = 0.6

    def problems(self) -> list[str]:
        return [f"the topic {topic!r} has no word to look for" for topic in self.topics if not _phrase(topic)]

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        said = f" {_phrase(text)} "
        found = [topic for topic in self.topics if f" {_phrase(topic)} " in said] or self._near(text)
        if not found:
            return None
        return ValidationFailure(
            f"the text speaks of {', '.join(map(repr, found))}", "", (TextSpan("topic", 0, len(text)),)
        )

    def _near(self, text: str) -> list[str]:
        if self.embedder is None or not content_words(text):
            return []
        embedder, topics = self.embedder, list(self.topics)
        known = shared(self, lambda: embedder.embed(topics), name="topics")
        close = known @ embedder.embed([text], query=True)[0]
        return [topic for topic, cosine in zip(topics, close, strict=True) if cosine >= self.similarity]


def _phrase(text: str) -> str:
    return " ".join(content_words(text)) or " ".join(re.findall(r"\w+", text.lower()))


VALIDATORS: dict[str, type[Validator]] = {
    cls.name: cls
    for cls in (NotEmpty, PII, PromptInjection, Toxicity, Answerable, Supported, ValidJson, Length, ForbiddenTopics)
}
"""Every shipped validator by the name that configs use."""
