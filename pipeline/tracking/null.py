"""The tracker of `tracking=none`."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.tracking.tracker import Tracker


class NullTracker(Tracker):
    """Has the methods that commands call without asking whether there is a store; they do nothing."""

    def warm(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        return thread

    def publish(self, *_: Any, **__: Any) -> dict[str, str]:
        return {}

    def there(self, *_: Any, **__: Any) -> bool:
        return False

    def close_stale(self) -> list[str]:
        return []

    def _no_id(self, *_: Any, **__: Any) -> Any:
        return ""

    def _nothing(self, *_: Any, **__: Any) -> Any:
        return None

    begin = start = log_model = _no_id
    add = end = log_metrics = set_tags = set_note = add_files = _nothing
    parent = recorded = published_keys = _nothing
