"""The small CLIP of this folder (`small_clip.py`), importable by its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
