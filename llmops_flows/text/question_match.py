"""Whether two questions state the same facts: numbers, negations, opposites, names, quotes, directions, order."""

from __future__ import annotations

import re
from collections import Counter

from .words import content_words

_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*")
_QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_DIGITS = re.compile(r"[-+]?\d[\d.,:/-]*\d|[-+]?\d|[$\u20ac\u00a3%]")
_START = re.compile(r"[.!?:]\s*[\"'(]*$")
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED.split())}
_DIRECTED = frozenset(("from", "to", "into", "onto", "than", "versus", "between", "by"))
_DENYING = "no not never none nobody nothing neither nor without cannot except unless hardly only"
_NEGATIONS = frozenset(_DENYING.split())
_OPPOSED = """
    above below accept accepted decline declined reject rejected deny denied activate deactivate add remove after
    before all always allow block unblock any buy sell cancel confirm child spouse close closed open opened credit
    debit day night decrease decreased increase increased deposit withdraw withdrawal disable enable download upload
    early earlier late later employee employer export import fail pass false true first last freeze unfreeze high
    higher low lower impossible possible in out incoming outgoing invalid valid left right less more least most lock
    unlock login logout lose win lost found stolen max maximum min minimum new old next previous off on over under
    private public read write receive received send sent recipient sender start stop up down yes weekly monthly
    yearly daily annually today tomorrow yesterday my your his her our their monday tuesday wednesday thursday friday
    saturday sunday january february april june july august september october november december
"""
_OPPOSITES = frozenset(_OPPOSED.split())


def same_facts(one: str, other: str) -> bool:
    """Whether nothing that changes an answer tells the two apart, as far as words show it.

    Numbers, negations, opposites (of a list), names (written with a capital, inside a sentence), quoted text, and
    what follows a preposition of direction must match; equal words in another order ("does the dog bite the man") are
    refused. A necessary condition, not a sufficient one: all else is left to the embedder's likeness.
    """
    if _facts(one) != _facts(other) or _swapped(content_words(one), content_words(other)):
        return False
    return _names(one) <= set(_words(other)) and _names(other) <= set(_words(one))


def _facts(text: str) -> tuple[Counter[str], ...]:
    words = _words(text)
    numbers = Counter([*_DIGITS.findall(text), *(_NUMBERS[word] for word in words if word in _NUMBERS)])
    negations = Counter("not" if w.endswith("n't") or w == "cannot" else w for w in words if _negates(w))
    opposites = Counter(word for word in set(words) if word in _OPPOSITES)
    quoted = Counter("".join(groups) for groups in _QUOTED.findall(text))
    return numbers, negations, opposites, quoted, _directions(words)


def _directions(words: list[str]) -> Counter[str]:
    """Where things come from and go to: each such preposition with the word of meaning after it."""
    found: Counter[str] = Counter()
    for number, word in enumerate(words):
        if word in _DIRECTED:
            ahead = content_words(" ".join(words[number + 1 : number + 5]))
            found[f"{word} {ahead[0]}" if ahead else word] += 1
    return found


def _swapped(one: list[str], other: list[str]) -> bool:
    return one != other and sorted(one) == sorted(other)


def _negates(word: str) -> bool:
    return word in _NEGATIONS or word.endswith("n't")


def _words(text: str) -> list[str]:
    return [word.lower().replace("\u2019", "'") for word in _TOKEN.findall(text)]


def _names(text: str) -> set[str]:
    """Words written as names or codes: a capital that begins no sentence, capitals or underscores inside."""
    found = set()
    for match in _TOKEN.finditer(text):
        word = match.group()
        begins = match.start() == 0 or _START.search(text[: match.start()]) is not None
        inside = any(character.isupper() or character == "_" for character in word[1:])
        if (inside or (word[0].isupper() and not begins)) and word.partition("'")[0] != "I":
            found.add(word.lower().replace("\u2019", "'"))
    return found
