"""Run benchmarks, each in its own process: `python -m benchmarks [name ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HELPERS = ("__init__", "__main__", "measure", "plain_rag", "sweeps")
"""Modules that the benchmarks share, and the script that they compare with."""


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all. Returns 1 if one fails, 2 if a name is unknown."""
    known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _HELPERS)
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; choose from: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [
        name for name in names or known if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode
    ]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
