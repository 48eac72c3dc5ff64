"""Run benchmarks, each in its own process: `python -m benchmarks [name ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_NOT_ALONE = ("__init__", "__main__", "measure", "plain_rag", "sweeps")
"""What the benchmarks share, and what they measure against."""


def main(wanted: list[str]) -> int:
    """Run the named benchmarks, or all. Returns 1 if one fails, 2 if a name is unknown."""
    known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _NOT_ALONE)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; choose from: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [
        name for name in wanted or known if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode
    ]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
