"""A pack whose licence was accepted beforehand, or need not be, is downloaded when the service or a worker
starts.
"""

import logging
from pathlib import Path

from app.engine.installer import InstallError, install_if_missing
from app.engine.packs import PACKS, Pack, PackNotInstalledError, require
from app.settings import Settings

log = logging.getLogger("app")


def obtain(settings: Settings) -> tuple[Pack, Path]:
    """The chosen pack and its folder, checked; downloaded if need be and its licence allows.

    It allows when it is permissive or ACCEPT_MODEL_LICENSE is true.

    Several processes and containers that share the folder of the models download it once; the others
    wait.

    Raises:
        PackNotInstalledError: the pack is not there, and the licence is not accepted or the download
            failed.
    """
    name = settings.model_pack
    pack = PACKS[name]
    try:
        return require(name, settings.models_path)
    except PackNotInstalledError:
        # A packaged one is not among the releases.
        if not (pack.permissive or settings.accept_model_license) or pack.python_package is not None:
            raise
    if pack.permissive:
        log.info("the licence of %s: %s", name, pack.licence)
    else:
        log.info("ACCEPT_MODEL_LICENSE accepts the licence of %s: %s", name, pack.licence)
    try:
        install_if_missing(pack, settings.models_path, settings.model_url, progress=log.info)
    except InstallError as error:
        raise PackNotInstalledError(f"model pack {name} was not installed: {error}") from error
    return require(name, settings.models_path)
