"""`python -m app config`: the effective settings and where each comes from; secrets are not shown."""

import json
import re
import sys
from typing import Any

from pydantic import SecretStr

from app.settings import SettingsError, load_with_origins

HIDDEN = "********"


def run(*, as_json: bool) -> int:
    """Print all settings, one a line; returns the exit status, 1 where they can't be used."""
    try:
        settings, origins = load_with_origins()
    except SettingsError as error:
        print(f"svc-face-recon: {error}", file=sys.stderr)
        return 1
    shown = {name: _shown(name, value) for name, value in settings}
    if as_json:
        entries = {name.upper(): {"value": value, "source": origins[name]} for name, value in shown.items()}
        print(json.dumps(entries, indent=2))
    else:
        for name, value in shown.items():
            print(f"{name.upper()}={_text(value)}  # {origins[name]}")
    return 0


def _shown(name: str, value: Any) -> Any:
    """A value as JSON has it, without what is secret in it."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return [_shown(name, part) for part in value]
    if value is None or isinstance(value, bool | int | float | dict):
        return value
    if name.endswith("access_key_id"):
        return HIDDEN + (value[-4:] if len(value) > 8 else "")
    return _without_credentials(str(value))


def _without_credentials(text: str) -> str:
    """A URL without user, password and query; up to the last @, since passwords may hold a slash."""
    if "://" not in text:
        return text
    return re.sub(r"\?.*", f"?{HIDDEN}", re.sub(r"(?<=://).*@", f"{HIDDEN}@", text))


def _text(value: Any) -> str:
    """A value as the environment has it, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        if any(isinstance(number, float) for number in value.values()):  # prices, which are JSON
            return json.dumps(value)
        return ",".join(f"{key}={number}" for key, number in value.items())
    text = str(value)
    return text if text.isprintable() else json.dumps(text)
