"""Work beside the keys: a coroutine that is made only when its turn comes, so that one that is overtaken leaves nothing behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from textual.dom import DOMNode


def beside(node: DOMNode, work: Callable[[], Awaitable[None]], group: str, *, exclusive: bool = True) -> None:
    """Run `work`; `exclusive` ends what goes on in the same group of the same node."""
    node.run_worker(cast("Any", work), group=group, exclusive=exclusive)
