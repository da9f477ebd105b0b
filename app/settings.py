"""The settings, from the sources of `config_sources`. Entry points read them once and pass them on."""

import json
import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import httpx
from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.config_sources import PREFIX_PATTERN, Origin, SourceError, read_sources

MIB = 1024 * 1024


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _host_name(entry: str) -> str:
    """As URLs are compared with it: lower case, IDNA, no dot at the end; `*.` may stand before it."""
    name = entry.removeprefix("*.")
    try:
        host = httpx.URL(host=name).raw_host.decode("ascii").removesuffix(".")
    except (httpx.InvalidURL, ValueError):
        host = ""
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host):
        raise ValueError("each entry is a host name such as example.org, or *.example.org")
    return f"*.{host}" if name != entry else host


def _calls(value: Any) -> Any:
    """`image=60,write=600` as a dict."""
    if isinstance(value, str):
        return {name.strip(): calls for name, _, calls in (part.partition("=") for part in _split(value))}
    return value


CallClass = Literal["image", "write", "read"]
"""What a call costs: one that looks at images, one that stores or erases, one that only reads."""


class SettingsError(Exception):
    """A setting has a value that can't be used; the text names it in one line."""


class Settings(BaseSettings):
    """One field per environment variable, of the same name in capitals. See `.env.example`."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # From the environment or .env alone; `load_settings` reads what lies there.
    app_config_prefix: str | None = Field(default=None, pattern=PREFIX_PATTERN)
    service_name: str = "svc-face-recon"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    root_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9_.~-]+)*$")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # auto: pretty in a terminal, JSON elsewhere.
    log_format: Literal["auto", "json", "pretty"] = "auto"
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    account_id: str = Field(default="000000000000", pattern=r"^\d{12}$")
    aws_region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]+$")

    # None: open on loopback, required elsewhere.
    auth: Literal["required", "open"] | None = None
    bootstrap_access_key_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]{16,128}$")
    bootstrap_secret_access_key: SecretStr | None = Field(default=None, min_length=20)
    keys_master_key: SecretStr | None = None

    supabase_jwt_secret: SecretStr | None = Field(default=None, min_length=32)
    jwt_jwks_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    jwt_issuer: str | None = None
    jwt_audience: str = "authenticated"
    jwt_role_claim: str = Field(default="app_metadata.face_role", pattern=r"^\S+$")
    jwt_account_id: str | None = Field(default=None, pattern=r"^\d{12}$")
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()

    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    # Past a connection pooler; it also says that DATABASE_URL leads to one.
    database_direct_url: SecretStr | None = None
    db_pool_size: int = Field(default=10, ge=1, le=1000)
    db_max_overflow: int = Field(default=20, ge=0, le=1000)
    db_pool_recycle_seconds: int = Field(default=1800, ge=1, le=86_400)
    db_statement_timeout_seconds: int = Field(default=30, ge=1, le=3600)
    # What a process may keep of the collections that it searches; 0: nothing.
    search_memory_mb: int = Field(default=1024, ge=0, le=1_000_000)
    # Collections of so many faces, or users, get an index of their vectors; 0: none does.
    vector_index_faces: int = Field(default=2_000_000, ge=0)
    vector_index_memory_mb: int = Field(default=2048, ge=64, le=1_000_000)

    model_pack: Literal["mobile", "buffalo_l", "buffalo_s", "antelopev2", "opencv"] = "mobile"
    models_dir: Path | None = None
    accept_model_license: bool = False
    # A mirror; each pack has an address of its own.
    model_url: str | None = Field(default=None, pattern=r"^https?://")
    # Without it the pack's own: cosines of different recognisers mean different things.
    face_recognition_threshold: float | None = Field(default=None, ge=-1, le=1)
    fpir_target: float = Field(default=0.01, gt=0, lt=1)
    max_faces_per_image: int = Field(default=100, ge=1, le=1000)
    # Without it the network's own: scores of different ones mean different things, too.
    min_face_confidence: float | None = Field(default=None, ge=0.05, le=1)
    # Pixels in a photo with a longer side of 1920; who is looked for alone has at least a fifth of it.
    min_face_size: float = Field(default=0, ge=0, le=192)
    runtime: Literal["auto", "onnxruntime", "openvino", "cuda"] = "auto"
    inference_threads: int = Field(default=0, ge=0, le=256)
    inference_queue_size: int = Field(default=128, ge=64, le=10_000)
    inference_deadline_seconds: float = Field(default=10, gt=0, le=600)

    max_concurrent_requests: int = Field(default=512, ge=1, le=65_536)
    key_calls_a_minute: Annotated[dict[CallClass, int], NoDecode] = {}
    address_calls_a_minute: Annotated[dict[CallClass, int], NoDecode] = {}
    drain_seconds: float = Field(default=0, ge=0, le=600)

    max_request_bytes: int = Field(default=16 * MIB, ge=MIB)
    max_upload_bytes: int = Field(default=1024 * MIB, ge=MIB)
    max_buffered_bytes: int = Field(default=512 * MIB, ge=16 * MIB)
    max_image_bytes: int = Field(default=15 * MIB, ge=1024)
    max_image_pixels: int = Field(default=50_000_000, ge=80 * 80)

    image_urls: bool = True
    image_url_timeout_seconds: float = Field(default=10, gt=0, le=120)
    image_url_allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    image_url_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()

    s3_endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_allowed: Annotated[tuple[str, ...], NoDecode] = ()

    supabase_url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/?$")
    supabase_service_role_key: SecretStr | None = None
    supabase_storage_bucket: str = Field(default="profiles", pattern=r"^[0-9A-Za-z._-]{1,100}$")
    # Empty: all of the bucket, for the default account.
    supabase_allowed: Annotated[tuple[str, ...], NoDecode] = ()
    folders_allowed: Annotated[tuple[str, ...], NoDecode] = ()

    # None: DATA_DIR/photos.
    storage_url: str | None = Field(
        default=None, pattern=r"^(s3://|supabase:)[0-9A-Za-z._-]{3,255}(/.*[^/])?/?$"
    )
    storage_recompress: bool = False
    link_minutes: int = Field(default=60, ge=1, le=7 * 24 * 60)

    workers: int = Field(default=1, ge=0, le=64)
    worker_nice: int = Field(default=10, ge=0, le=19)
    metrics_port: int = Field(default=9101, ge=0, le=65535)
    photo_attempts: int = Field(default=5, ge=1, le=100)
    photo_cache_days: int = Field(default=30, ge=0, le=36_500)
    guest_token_minutes: int = Field(default=120, ge=1, le=7 * 24 * 60)
    guest_calls_a_minute: int = Field(default=30, ge=1, le=100_000)

    sqs_queue_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    sqs_endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    sqs_region: str = "us-east-1"
    sqs_access_key_id: str | None = None
    sqs_secret_access_key: SecretStr | None = None

    rekognition_prices: Annotated[dict[str, float], NoDecode] = {}

    _comma_lists = field_validator(
        "image_url_allowed_networks",
        "image_url_allowed_hosts",
        "s3_allowed",
        "supabase_allowed",
        "folders_allowed",
        "cors_allowed_origins",
        mode="before",
    )(_split)

    @field_validator("image_url_allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_host_name, value))

    _calls_by_class = field_validator("key_calls_a_minute", "address_calls_a_minute", mode="before")(_calls)

    @field_validator("key_calls_a_minute", "address_calls_a_minute")
    @classmethod
    def _positive(cls, value: dict[CallClass, int]) -> dict[CallClass, int]:
        if min(value.values(), default=1) < 1:
            raise ValueError("each number is 1 or more; leave a class out to let it be unlimited")
        return value

    @field_validator("rekognition_prices", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('must be JSON such as {"IndexFaces": 0.0008}') from None

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _postgresql_only(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, found, rest = value.get_secret_value().partition("://")
        if not found or scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError("must begin with postgresql://")
        url = f"postgresql+psycopg://{rest}"
        try:
            make_url(url)
        except (ArgumentError, ValueError):
            raise ValueError("is not an address of a database") from None
        return SecretStr(url)

    @field_validator("s3_allowed", "supabase_allowed")
    @classmethod
    def _bucket_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for rule in value:
            if not re.fullmatch(r"(\d{12}:)?[0-9A-Za-z._-]{3,255}(/.*)?", rule):
                raise ValueError("each entry is bucket or bucket/prefix, with account: before it if need be")
        return value

    @field_validator("folders_allowed")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for rule in value:
            if not re.fullmatch(r"(\d{12}:)?/.*", rule):
                raise ValueError("each entry is an absolute path, with account: before it if need be")
        return value

    @field_validator("keys_master_key")
    @classmethod
    def _fernet_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                Fernet(value.get_secret_value())
            except ValueError:
                raise ValueError("must be 32 bytes in URL-safe base64 (python -m app keys master)") from None
        return value

    @model_validator(mode="after")
    def _whole_bootstrap_pair(self) -> Self:
        if (self.bootstrap_access_key_id is None) != (self.bootstrap_secret_access_key is None):
            raise ValueError("BOOTSTRAP_ACCESS_KEY_ID and BOOTSTRAP_SECRET_ACCESS_KEY go together")
        return self

    @field_validator("jwt_role_claim")
    @classmethod
    def _not_the_users_own(cls, value: str) -> str:
        if value.split(".")[0] == "user_metadata":
            raise ValueError("must not lie in user_metadata: users write that themselves")
        return value

    @model_validator(mode="after")
    def _direct_beside_pooled(self) -> Self:
        if self.database_direct_url is not None and self.database_url is None:
            raise ValueError("DATABASE_DIRECT_URL goes with a DATABASE_URL that leads to a connection pooler")
        return self

    @model_validator(mode="after")
    def _tokens_have_an_issuer(self) -> Self:
        if (self.supabase_jwt_secret or self.jwt_jwks_url) and self.token_issuer is None:
            raise ValueError("SUPABASE_JWT_SECRET and JWT_JWKS_URL need JWT_ISSUER, or SUPABASE_URL")
        return self

    @property
    def token_issuer(self) -> str | None:
        """Who issues tokens: JWT_ISSUER, or the Supabase project."""
        if self.jwt_issuer is None and self.supabase_url is not None:
            return f"{self.supabase_url.rstrip('/')}/auth/v1"
        return self.jwt_issuer

    def storage_place(self, scheme: Literal["s3://", "supabase:"]) -> str | None:
        """STORAGE_URL without its scheme, if it has this one."""
        url = self.storage_url
        return url.removeprefix(scheme) if url is not None and url.startswith(scheme) else None

    @property
    def auth_required(self) -> bool:
        """Whether requests must be signed: said by AUTH, or because HOST can be reached from elsewhere."""
        if self.auth is not None:
            return self.auth == "required"
        return self.host not in ("127.0.0.1", "::1", "localhost")

    @cached_property
    def models_path(self) -> Path:
        """Where installed model packs lie."""
        return self.models_dir or self.data_dir / "models"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides`, by field name, come before what the sources say.

    Raises:
        SettingsError: a value or a source can't be used; the message is one line and holds no secret.
    """
    return load_with_origins(**overrides)[0]


def load_with_origins(**overrides: Any) -> tuple[Settings, dict[str, Origin]]:
    """As `load_settings`, with the source of each field; that of a field in `overrides` means nothing."""
    try:
        sources = read_sources(Settings, overrides)
        settings = Settings(**{**sources["SSM"], **overrides})
    except SourceError as error:
        raise SettingsError(f"wrong setting: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, (str(*found["loc"][:1]).upper(), found["msg"])))
            for found in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError(f"wrong setting: {problems}") from error
    origins: dict[str, Origin] = {
        name: next((origin for origin, given in sources.items() if name in given), "default")
        for name in Settings.model_fields
    }
    return settings, origins
