"""Secrets are recognized by shape, by name and by the environment's values; ordinary text stays as it is."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_flows.core.redaction import (
    _NAMED,
    _SHAPES,
    MASK,
    has_secret,
    redact,
    redact_value,
    register_secret,
    secret_spans,
)

SHAPES = {
    "sk-proj-abcdefghijklmnop0123456789": "OpenAI",
    "sk-ant-api03-abcdefghijklmnopqrstuvwx": "Anthropic",
    "rk_live_abcdefghijklmnop0123": "Stripe",
    "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789": "LangSmith",
    "ghp_abcdefghijklmnopqrst0123456789ABCD": "GitHub",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz": "GitHub, fine-grained",
    "glpat-abcdefghijklmnopqrst": "GitLab",
    "AKIAIOSFODNN7EXAMPLE": "AWS",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv": "Google",
    "xoxb-1234567890-abcdefghij": "Slack",
    "hf_abcdefghijklmnopqrstuvwxyz012345": "Hugging Face",
    "pl_0123456789abcdef0123456789abcdef": "PromptLayer",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9": "JWT",
}


@pytest.mark.parametrize("secret", SHAPES, ids=SHAPES.values())
@pytest.mark.parametrize("around", ["{}", "use {} now", "key='{}'", '{{"k": "{}"}}', "a,{};b", "({})", "x={}\n"])
def test_keys_are_recognized_by_their_shape(secret: str, around: str) -> None:
    shown = redact(around.format(secret))
    assert secret not in shown and MASK in shown
    assert has_secret(around.format(secret)) and has_secret(json.dumps(around.format(secret)).encode())


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://ann:hunter22@db:5432/x", "hunter22"),
        ("redis://:only-a-password@cache", "only-a-password"),
        ("https://hooks.slack.com/services/T0000/B0000/XXXXXXXXXXXXXXXX", "XXXXXXXXXXXXXXXX"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZDE=", "dXNlcjpwYXNzd29yZDE"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789"),
        ("curl -H 'X-Api-Key: 0a1b2c3d4e'", "0a1b2c3d4e"),
        ("https://x.test/?access_token=abcdef123&page=2", "abcdef123"),
        ("DB_PASSWORD=swordfish", "swordfish"),
        ('{"client_secret": "swordfish"}', "swordfish"),
        (json.dumps({"said": json.dumps({"password": "swordfish"})}), "swordfish"),
        ("{'api_key': 'swordfish'}", "swordfish"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
    ],
)
def test_secrets_are_recognized_by_what_stands_before_them(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "The secret of good bread is time.",
        "Password: choose one with eight letters or more.",
        "max_tokens=256, input_tokens: 12345678",
        "Bearer bonds are not insured.",
        "https://example.com/a:b/c",
        "risk-based pricing, task-oriented dialogue, desk-top",
        "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed",
        "Basic information about the cookie policy",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text and not has_secret(text)


@pytest.mark.parametrize(
    "name", ["MY_API_KEY", "DB_PASS", "SERVICE_TOKEN", "API_KEY_PROD", "APP_SECRET", "SMTP_PASSWORD", "PGPASSWORD"]
)
def test_values_of_the_environment_are_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = f'od"d\\ värde/{name}'
    monkeypatch.setenv(name, value)
    _forget()
    for form in (value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value), quote(value, safe="")):
        assert name not in redact(f"it is {form}!"), form


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "PWD", "MONKEY_NAME", "API_KEY_FILE", "LANGUAGE"])
def test_other_variables_are_no_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "plain-value-here")
    _forget()
    assert redact("plain-value-here") == "plain-value-here"


def test_a_registered_value_is_a_secret() -> None:
    register_secret("from-a-vault-0001")
    assert redact("got from-a-vault-0001") == f"got {MASK}"


def test_what_stands_under_a_secret_name_is_masked_whatever_it_looks_like() -> None:
    value = {"api_key": "short", "Authorization": "x", "list": [{"db-password": "pw"}], "token": ["a", "b"]}
    assert redact_value(value) == {
        "api_key": MASK, "Authorization": MASK, "list": [{"db-password": MASK}], "token": [MASK, MASK],
    }  # fmt: skip


def test_names_of_variables_and_counts_are_no_secrets() -> None:
    value = {
        "api_key_env": "MY_KEY", "api_key": "${oc.env:MY_KEY}", "max_tokens": 5, "key": "abc", "keys": ["a"],
        "input_tokens": "12", "password": "", "tokenizer": "words",
    }  # fmt: skip
    assert redact_value(value) == value


def test_secrets_are_found_forty_levels_deep_and_in_keys() -> None:
    value: object = "sk-proj-abcdefghijklmnop0123456789"
    for level in range(40):
        value = {f"level {level}": [value]} if level % 2 else {"sk-proj-abcdefghijklmnop0123456789": value}
    assert "sk-proj" not in json.dumps(redact_value(value))


def test_what_is_no_plain_data_becomes_text_without_secrets() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd sk-proj-abcdefghijklmnop0123456789"

    assert redact_value([Odd(), b"sk-proj-abcdefghijklmnop0123456789"]) == [f"odd {MASK}", MASK]


def test_places_are_told() -> None:
    assert secret_spans("a DB_PASSWORD=swordfish b") == [(14, 23)]


@given(st.text(max_size=300))
def test_masked_text_holds_no_secret(text: str) -> None:
    assert not has_secret(redact(text))


HOSTILE = [
    "a" * 50_000, "sk-" * 16_000, "eyJ-" * 12_000, "eyJa." * 10_000, "eyJ" + "a" * 50_000, "-----BEGIN " * 4_500,
    "-----BEGIN PRIVATE KEY-----" * 1_800, "://a:" * 10_000, "://" + "a:" * 25_000, "Bearer " * 7_000,
    "password=" * 5_500, "password: " * 5_000, "token" * 10_000, "\\\"" * 25_000, "a_" * 25_000,
    "secret" + " " * 50_000,
    "password" + "\\" * 50_000, ("password:  " + "a" * 60) * 700, "AKIA" * 12_500, "xoxb-" * 10_000,
    "bearer " + "=" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_text_makes_a_pattern_slow(text: str) -> None:
    for pattern in map(re.compile, [*(pattern for _, pattern in _SHAPES), _NAMED]):
        begun = time.process_time()
        for _ in pattern.finditer(text):
            pass
        assert time.process_time() - begun < 0.2, pattern.pattern


def _forget() -> None:
    from llmops_flows.core import redaction

    redaction._last_read = -1.0
