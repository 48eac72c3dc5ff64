"""`--help`: what can be typed, and what there is to choose from. Composes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from llmops_flows.config.files.groups import groups, options

_USAGE = """\
llmops_flows: LLM pipelines as config

  llmops_flows flow=NAME [group=option] [key=value] ...     run a flow over its questions
  llmops_flows flow=NAME question="Any text, as it is"      ask one question
  llmops_flows -m flow=NAME group=option,option ...         every combination
  llmops_flows VERB [arguments]
"""
_FLAGS = (
    ("-m, --multirun", "run every combination of values given as a,b,c"),
    ("-c, --cfg job", "print the config instead of running it (job, hydra or all; --resolve fills in ${…})"),
    ("-i, --info WHAT", "all, config, defaults, defaults-tree, plugins, searchpath"),
    ("--config-dir DIR", "a further folder of options, looked through first"),
    ("-sc install=SHELL", 'tab completion: eval "$(llmops-flows -sc install=bash)"; also zsh, fish'),
    ("--hydra-help", "Hydra's own help"),
    ("--version", "the version of llmops_flows and of Hydra"),
)


def text(verbs: Mapping[str, str]) -> str:
    """The help text. `verbs` maps each verb to one line about it."""
    found = groups()
    rows = {name: ", ".join(options(name)) for name in found if name != "flow"}
    return "\n".join(
        [
            _USAGE,
            "Flows\n" + _table(dict.fromkeys(options("flow"), "")),
            "Verbs\n" + _table(verbs),
            "Groups and their options\n" + _table(rows),
            "Flags\n" + _table(dict(_FLAGS)),
            "The keys of a config: --cfg job. Who set one: explain KEY flow=NAME.",
        ]
    )


def flags() -> list[str]:
    """The flags that there are."""
    words = " ".join(f"{names} {about}" for names, about in _FLAGS).replace(",", " ").replace(";", " ").split()
    return ["--help", *dict.fromkeys(word for word in words if word.startswith("-"))]


def _table(rows: Mapping[str, str]) -> str:
    width = max((len(name) for name in rows), default=0)
    return "".join(f"  {name:<{width}}  {about}".rstrip() + "\n" for name, about in rows.items())
