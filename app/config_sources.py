"""Where settings come from, the most important first: SSM Parameter Store, environment, `.env`."""

import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

Origin = Literal["SSM", "environment", ".env", "default"]

PREFIX_PATTERN = r"^(/[A-Za-z0-9_.-]+)+/?$"
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _ATTEMPTS = 5, 10, 3


class SourceError(Exception):
    """A source can't be read, or holds what is no setting; the text is one line without values."""


def read_sources(
    settings_class: type[BaseSettings], overrides: Mapping[str, Any]
) -> dict[Origin, dict[str, Any]]:
    """What each source says, by field name and as it was given, the most important source first.

    The Parameter Store is read where APP_CONFIG_PREFIX, which itself never comes from there, is a path.

    Args:
        settings_class: the settings with `app_config_prefix` and `aws_region`.
        overrides: values that win over all sources, those of these two fields too; `_env_file` names
            another file than `.env`.
    Raises:
        SourceError: the Parameter Store can't be read, or holds what is no setting.
    """
    env_file = overrides.get("_env_file", settings_class.model_config.get("env_file"))
    dotenv = DotEnvSettingsSource(settings_class, env_file=env_file)()
    environment = EnvSettingsSource(settings_class)()
    known = {**dotenv, **environment, **overrides}
    prefix = known.get("app_config_prefix") or ""
    parameters: dict[str, str] = {}
    if re.fullmatch(PREFIX_PATTERN, prefix):  # a wrong one is refused with the other settings
        default_region = str(settings_class.model_fields["aws_region"].default)
        found = _parameters_below(prefix.rstrip("/"), known.get("aws_region"), default_region)
        parameters = _by_field(found, prefix.rstrip("/"), settings_class)
    return {"SSM": parameters, "environment": environment, ".env": dotenv}


def _by_field(
    parameters: list[tuple[str, str]], prefix: str, settings_class: type[BaseSettings]
) -> dict[str, str]:
    by_field: dict[str, str] = {}
    for name, value in parameters:
        field = name.lower()
        if field not in settings_class.model_fields:
            raise SourceError(f"{prefix}/{name} in the Parameter Store is no setting")
        if field == "app_config_prefix":
            raise SourceError("APP_CONFIG_PREFIX can't be set in the Parameter Store")
        if field in by_field:
            raise SourceError(f"{prefix}/{name} is twice in the Parameter Store, in different letters")
        by_field[field] = value
    return by_field


def _parameters_below(prefix: str, region: str | None, default_region: str) -> list[tuple[str, str]]:
    """Names, without the prefix, and decrypted values of the parameters right below a path.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
    """
    # Imported when needed: most starts need no AWS client to read their settings.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    retries: Any = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    config = Config(connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S, retries=retries)
    found = []
    try:
        session = boto3.Session()
        region = region or session.region_name or default_region
        with closing(session.client("ssm", region_name=region, config=config)) as client:
            pages = client.get_paginator("get_parameters_by_path")
            for page in pages.paginate(Path=prefix, WithDecryption=True):
                found += [
                    (item["Name"].removeprefix(f"{prefix}/"), item["Value"]) for item in page["Parameters"]
                ]
    except ClientError as error:
        reason = f"the Parameter Store refused {prefix}: {error.response.get('Error', {}).get('Code')}"
        if "AccessDenied" in reason:
            reason += (
                "; it takes ssm:GetParametersByPath, and kms:Decrypt where SecureStrings have a key of yours"
            )
        raise SourceError(f"APP_CONFIG_PREFIX: {reason}") from error
    except (BotoCoreError, ValueError) as error:  # boto3 raises ValueError for a wrong endpoint
        reason = f"the Parameter Store in {region} can't be read: {type(error).__name__}"
        raise SourceError(f"APP_CONFIG_PREFIX: {reason}") from error
    if not found:
        raise SourceError(f"APP_CONFIG_PREFIX: there is no parameter below {prefix} in {region}")
    return found
