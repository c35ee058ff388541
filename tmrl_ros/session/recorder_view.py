"""Understand what the recorder says of itself on `recorder/status`."""

from __future__ import annotations

import json


def recorder_fault(text: str) -> str:
    """Why the recorder cannot record, or "" when it can.

    Args:
        text: JSON object with "ok" (bool) and "message".
    """
    try:
        status = json.loads(text)
        if status["ok"]:
            return ""
        return str(status.get("message") or "it gives no reason").rstrip(".")
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"its status {text[:80]!r} cannot be read"
