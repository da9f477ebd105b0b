"""Which places of a storage an account may name, where the service's own credentials read."""

import os
import re
from collections.abc import Sequence

_WITH_ACCOUNT = re.compile(r"\d{12}:")


class AllowedPlaces:
    """The buckets and prefixes that may be read; entries are `bucket` or `bucket/prefix`.

    An entry is for the default account, or for the one that stands before it: `123456789012:bucket`. A
    prefix is the beginning of a key: `photos/` is a folder, `photos` also allows `photos-2025`.

    Args:
        own: STORAGE_URL without its scheme, where it lies in this storage: nobody may name what is there.
    """

    def __init__(self, rules: Sequence[str], default_account: str, own: str | None = None) -> None:
        self._own = None if own is None else own_place(own)
        self._rules = []
        for rule in rules:
            account, place = _split(rule, default_account)
            bucket, _, prefix = place.partition("/")
            self._rules.append((account, bucket, prefix))

    def allow(self, account_id: str, bucket: str, key: str) -> bool:
        """Whether an account may read an object, or list what begins with `key`."""
        if any(part in (".", "..") for part in key.split("/")):
            return False  # some servers keep objects as files and would walk up
        if self._own is not None and bucket == self._own[0] and key.startswith(self._own[1]):
            return False
        return any(
            (account_id, bucket) == (account, its_bucket) and key.startswith(prefix)
            for account, its_bucket, prefix in self._rules
        )


class AllowedFolders:
    """The folders of this machine that may be read; entries are absolute paths.

    An entry is for the default account, or for the one that stands before it: `123456789012:/path`. It
    allows that folder and all below it, but no folder whose name only begins alike.

    Args:
        own: the folder of the service's own files, which nobody may name.
    """

    def __init__(self, rules: Sequence[str], default_account: str, own: str | None = None) -> None:
        self._own = None if own is None else os.path.realpath(own)
        self._rules = []
        for rule in rules:
            account, path = _split(rule, default_account)
            self._rules.append((account, os.path.normpath(path)))

    def of(self, account_id: str) -> list[str]:
        """The folders that an account may read, without a slash at their end."""
        return [path for account, path in self._rules if account == account_id]

    def allow(self, account_id: str, path: str) -> bool:
        """Whether an account may read a file, or list a folder; what links lead to is not looked at."""
        if not path.startswith("/") or "\0" in path:
            return False
        if any(part in ("", ".", "..") for part in path.removesuffix("/").split("/")[1:]):
            return False
        return any(is_within(path, folder) for folder in self.of(account_id)) and not self.is_own(path)

    def is_own(self, path: str) -> bool:
        """Whether a real path is that of the service's own files."""
        return self._own is not None and is_within(path, self._own)


def own_place(url: str) -> tuple[str, str]:
    """The bucket of a STORAGE_URL without its scheme, and what all of its keys begin with."""
    bucket, _, prefix = url.partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def is_within(path: str, folder: str) -> bool:
    """Whether an absolute path is that of a folder or of something below it."""
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _split(rule: str, default_account: str) -> tuple[str, str]:
    """The account of a rule and what it allows."""
    account, _, place = rule.partition(":") if _WITH_ACCOUNT.match(rule) else (default_account, "", rule)
    return account, place
