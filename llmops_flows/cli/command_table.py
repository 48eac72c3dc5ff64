"""The commands of the command line, with a line of help for each."""

from __future__ import annotations

VERBS = {
    "board": "the leaderboard of the last sweep: [FOLDER] [--report] [--csv] [--json] [--sort METRIC] [--baseline N]",
    "check": "everything wrong with a config, before anything is loaded or paid for",
    "diff": "what two runs differ in, and where they part: folders, points of the last sweep, or run ids",
    "explain": "which file and line, or which override, set a key, and what it replaced",
    "plan": "what a sweep or run would compute, stage by stage, and what of it is known: plan -m flow=NAME key=A,B",
    "promote": "write conf/flow/NAME.yaml that does what a run did: promote RUN|N|best NAME [--force]",
    "replay": "the answers of a run, or of a sweep's folder, once more from the record alone, byte for byte",
    "schema": "the JSON Schema of a component's option file: schema my_package.module.Class",
    "ship": "deliver the traces that wait in the local store: ship [langsmith …] [run=last]",
    "store": "what is kept: store stats, store verify [--repair], store evict [max_size=2GB] [older_than=90d]",
    "why": "stage by stage what a run knew and what it computed, and what was new about that: why RUN [STAGE]",
}
