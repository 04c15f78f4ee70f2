"""The small comparison of the folder above, and a small sweep (`sweeping.py`), importable by the tests of this folder."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
