"""Programs that the development requirements bring."""

import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """A program beside this Python, whether the environment is activated or not."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, name
    return found
