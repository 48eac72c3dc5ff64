"""Whether two questions state the same facts: numbers, negations, opposites, names, quotes, directions, order."""

from __future__ import annotations

import re
from collections import Counter

from .words import content_words

_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*")
_QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_DIGITS = re.compile(r"[-+]?\d[\d.,:/-]*\d|[-+]?\d|[$\u20ac\u00a3%]")
_START = re.compile(r"[.!?:]\s*[\"'(]*$")
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())}
_DIRECTIONS = frozenset(("from", "to", "into", "onto", "than", "versus", "between", "by"))
_NEGATION_WORDS = "no not never none nobody nothing neither nor without cannot except unless hardly only"
_NEGATIONS = frozenset(_NEGATION_WORDS.split())
_OPPOSITE_WORDS = """
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
_OPPOSITES = frozenset(_OPPOSITE_WORDS.split())


def same_facts(first: str, second: str) -> bool:
    """Whether two questions agree in the words that change an answer.

    Numbers, negations, opposites from a list, names (capitalized inside a sentence), quoted text and the words after
    a preposition of direction must match. The same words in another order ("does the dog bite the man") do not match.
    This is necessary, not sufficient: the similarity of embeddings decides the rest.
    """
    if _facts(first) != _facts(second) or _reordered(content_words(first), content_words(second)):
        return False
    return _names(first) <= set(_words(second)) and _names(second) <= set(_words(first))


def _facts(text: str) -> tuple[Counter[str], ...]:
    words = _words(text)
    numbers = Counter([*_DIGITS.findall(text), *(_NUMBERS[word] for word in words if word in _NUMBERS)])
    negations = Counter("not" if w.endswith("n't") or w == "cannot" else w for w in words if _negates(w))
    opposites = Counter(word for word in set(words) if word in _OPPOSITES)
    quoted = Counter("".join(groups) for groups in _QUOTED.findall(text))
    return numbers, negations, opposites, quoted, _directions(words)


def _directions(words: list[str]) -> Counter[str]:
    """Each preposition of direction with the content word after it."""
    directions: Counter[str] = Counter()
    for number, word in enumerate(words):
        if word in _DIRECTIONS:
            following = content_words(" ".join(words[number + 1 : number + 5]))
            directions[f"{word} {following[0]}" if following else word] += 1
    return directions


def _reordered(first: list[str], second: list[str]) -> bool:
    return first != second and sorted(first) == sorted(second)


def _negates(word: str) -> bool:
    return word in _NEGATIONS or word.endswith("n't")


def _words(text: str) -> list[str]:
    return [word.lower().replace("\u2019", "'") for word in _TOKEN.findall(text)]


def _names(text: str) -> set[str]:
    """Words that look like names or codes: capitalized inside a sentence, or with capitals or underscores inside."""
    names = set()
    for match in _TOKEN.finditer(text):
        word = match.group()
        starts_sentence = match.start() == 0 or _START.search(text[: match.start()]) is not None
        inside = any(character.isupper() or character == "_" for character in word[1:])
        if (inside or (word[0].isupper() and not starts_sentence)) and word.partition("'")[0] != "I":
            names.add(word.lower().replace("\u2019", "'"))
    return names
