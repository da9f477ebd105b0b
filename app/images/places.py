"""Which places of a storage an account may name, where the service's own credentials read."""

import re
from collections.abc import Sequence

_WITH_ACCOUNT = re.compile(r"\d{12}:")


class AllowedPlaces:
    """The buckets and prefixes that may be read; entries are `bucket` or `bucket/prefix`.

    An entry is for the default account, or for the one that stands before it: `123456789012:bucket`. A
    prefix is the beginning of a key: `photos/` is a folder, `photos` also allows `photos-2025`.
    """

    def __init__(self, rules: Sequence[str], default_account: str) -> None:
        self._rules = []
        for rule in rules:
            account, found, place = rule.partition(":") if _WITH_ACCOUNT.match(rule) else ("", "", rule)
            bucket, _, prefix = place.partition("/")
            self._rules.append((account if found else default_account, bucket, prefix))

    def allow(self, account_id: str, bucket: str, key: str) -> bool:
        """Whether an account may read an object, or list what begins with `key`."""
        if any(part in (".", "..") for part in key.split("/")):
            return False  # some servers keep objects as files and would walk up
        return any(
            (account_id, bucket) == (account, its_bucket) and key.startswith(prefix)
            for account, its_bucket, prefix in self._rules
        )
