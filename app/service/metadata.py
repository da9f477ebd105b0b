"""A member's metadata: the client's own JSON, changed by merge patches (RFC 7396)."""

import json
from collections.abc import Mapping
from typing import Any

from app.errors import InvalidParameterException

# Characters of JSON.
MAX_METADATA = 16_384


def patched(kept: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata after changes: a key with null is removed, objects are merged, all else is replaced.

    Raises:
        InvalidParameterException: the result is too long.
    """
    merged = _merged(kept, changes)
    if len(json.dumps(merged, ensure_ascii=False)) > MAX_METADATA:
        raise InvalidParameterException(
            f"A member's metadata is at most {MAX_METADATA} characters of JSON", reason="InvalidField"
        )
    return merged


def _merged(kept: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(kept)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            inner = merged.get(name)
            merged[name] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[name] = value
    return merged
