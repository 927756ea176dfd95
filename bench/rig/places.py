"""Where things are."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
PROJECT = BENCH.parent
PEERS = BENCH / "peers"
BIN = BENCH / ".venv" / "bin"
RESULTS = BENCH / "results"
SCRATCH_RESULTS = BENCH / ".venv" / "results"
"""For runs that are not the whole benchmark: they must not take the place of one that was."""
