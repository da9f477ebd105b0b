"""`python -m app models`: list, install and verify model packs."""

import argparse
import sys

from app.engine.installer import InstallError, install
from app.engine.packs import PACKS, folder_of, problems_of
from app.settings import SettingsError, load_settings


def run(arguments: argparse.Namespace) -> int:
    """Run one action; returns the exit status."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return _fail(str(error))
    if arguments.action == "list":
        for pack in PACKS.values():
            state = (
                "not installed" if problems_of(pack, folder_of(pack, settings.models_path)) else "installed"
            )
            chosen = " (MODEL_PACK)" if pack.name == settings.model_pack else ""
            print(f"{pack.name}{chosen}: {state}")
            print(f"  face model {pack.face_model_version}, vectors of {pack.vector_size} values")
            print(f"  licence: {pack.licence}")
        return 0

    name = arguments.name or settings.model_pack
    if name not in PACKS:
        return _fail(f"there is no pack {name}; the packs are {', '.join(PACKS)}")
    pack = PACKS[name]
    if arguments.action == "verify":
        problems = problems_of(pack, folder_of(pack, settings.models_path))
        print("\n".join(problems) or f"{name}: all files are as published")
        return 1 if problems else 0

    print(f"{name}: {pack.licence}")
    if not (pack.permissive or arguments.accept_license):
        return _fail("add --accept-license if your use is within this licence")
    try:
        folder = install(pack, settings.models_path, arguments.url or settings.model_url, progress=print)
    except InstallError as error:
        return _fail(f"{name} was not installed: {error}")
    print(f"{name} is installed in {folder}")
    return 0


def _fail(reason: str) -> int:
    print(f"svc-face-recon: {reason}", file=sys.stderr)
    return 1
