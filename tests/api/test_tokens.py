"""Users of an app by their tokens: what they may do, and every token that must be refused."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.measure.service import RunningService, running
from app.settings import SettingsError, load_settings
from tests import photos
from tests.loopback import Site, serving

SECRET = "the-jwt-secret-of-the-tests-is-long-enough-for-every-algorithm-that-there-is"
KEY_ID, KEY_SECRET = "AKIATESTTESTTEST0001", "secret-of-the-bootstrap-key"
ADMIN = {"X-API-Key": f"{KEY_ID}:{KEY_SECRET}"}
ISSUER = "https://project.example/auth/v1"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, key_id: str) -> dict[str, Any]:
    algorithm: Any = (
        jwt.algorithms.ECAlgorithm
        if isinstance(key, ec.EllipticCurvePrivateKey)
        else (jwt.algorithms.RSAAlgorithm)
    )
    name = "ES256" if algorithm is jwt.algorithms.ECAlgorithm else "RS256"
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "alg": name, "use": "sig"}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    now = int(time.time())
    usual = {"sub": "anna-in-the-app", "iss": ISSUER, "aud": "authenticated", "iat": now, "exp": now + 600}
    kept = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def keys_site() -> Iterator[Site]:
    with serving() as site:
        site.files["/jwks.json"] = json.dumps({"keys": [jwk(EC_KEY, "ec"), jwk(RSA_KEY, "rsa")]}).encode()
        yield site


@pytest.fixture(scope="module")
def locked(keys_site: Site) -> Iterator[RunningService]:
    with running(
        AUTH="required",
        BOOTSTRAP_ACCESS_KEY_ID=KEY_ID,
        BOOTSTRAP_SECRET_ACCESS_KEY=KEY_SECRET,
        SUPABASE_JWT_SECRET=SECRET,
        JWT_JWKS_URL=f"{keys_site.url}/jwks.json",
        JWT_ISSUER=ISSUER,
        CORS_ALLOWED_ORIGINS="https://app.example",
    ) as service:
        yield service


@pytest.fixture(scope="module")
def http(locked: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=locked.url, timeout=60) as client:
        image = {"image": ("a.png", photos.astronaut())}
        bound = {"member_id": "anna", "subject": "anna-in-the-app"}
        client.post("/enroll", headers=ADMIN, files=image, data=bound).raise_for_status()
        other = {"image": ("b.jpg", photos.group())}
        client.post("/enroll", headers=ADMIN, files=other, data={"member_id": "bea"}).raise_for_status()
        yield client


def verify(http: httpx.Client, member: str, headers: dict[str, str]) -> httpx.Response:
    image = {"image": ("a.png", photos.astronaut())}
    return http.post("/verify", files=image, data={"member_id": member}, headers=headers)


@pytest.mark.parametrize(
    "shown",
    [
        lambda: token(),
        lambda: token(EC_KEY, "ES256", {"kid": "ec"}),
        lambda: token(RSA_KEY, "RS256", {"kid": "rsa"}),
        lambda: token(aud=["other", "authenticated"]),
        lambda: token(exp=int(time.time()) - 10),  # clocks differ
    ],
    ids=["secret", "ec", "rsa", "audiences", "leeway"],
)
def test_an_app_user_verifies_themselves(http: httpx.Client, shown: Any) -> None:
    answer = verify(http, "anna", bearer(shown()))
    assert (answer.status_code, answer.json().get("verified")) == (200, True)


def hs256_with_public_key() -> str:
    """The oldest trick: a public key used as if it were the secret."""
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256", "kid": "ec"}, jwt.decode(token(), options={"verify_signature": False}))
    )
    public = json.dumps(jwk(EC_KEY, "ec")).encode()
    mac = hmac.digest(public, f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned() -> str:
    return jwt.encode(jwt.decode(token(), options={"verify_signature": False}), "", algorithm="none")


@pytest.mark.parametrize(
    "shown",
    [
        lambda: token("another-secret-that-is-long-enough-too"),
        lambda: token(algorithm="HS512"),
        lambda: token(OTHER_KEY, "ES256", {"kid": "ec"}),
        lambda: token(OTHER_KEY, "ES256", {"kid": "unknown"}),
        lambda: token(EC_KEY, "ES256"),
        lambda: token(EC_KEY, "ES256", {"kid": "rsa"}),
        lambda: token(iss="https://other.example/auth/v1"),
        lambda: token(iss=None),
        lambda: token(aud="anon"),
        lambda: token(aud=None),
        lambda: token(exp=int(time.time()) - 100),
        lambda: token(exp=None),
        lambda: token(nbf=int(time.time()) + 100),
        lambda: token(sub=None),
        lambda: token(sub=""),
        lambda: token() + "x",
        lambda: token()[:-10],
        lambda: token().rsplit(".", 1)[0] + ".",
        unsigned,
        hs256_with_public_key,
        lambda: "a.b.c",
        lambda: "..",
        lambda: "x" * 9000 + ".b.c",
    ],
)
def test_a_token_that_is_not_of_the_issuer_is_refused(http: httpx.Client, shown: Any) -> None:
    answer = verify(http, "anna", bearer(shown()))
    assert (answer.status_code, answer.json()["code"]) == (401, "UnrecognizedClientException")


def test_an_app_user_may_do_nothing_about_others(http: httpx.Client) -> None:
    own = bearer(token())
    image = {"image": ("a.png", photos.astronaut())}
    assert http.get("/members/anna", headers=own).json()["face_count"] == 1
    for answer in (
        verify(http, "bea", own),
        verify(http, "nobody", own),
        http.get("/members/bea", headers=own),
        http.delete("/members/bea", headers=own),
        http.get("/members/anna", params={"collection": "other"}, headers=own),
        http.get("/members", headers=own),
        http.patch("/members/anna", json={"metadata": {"a": 1}}, headers=own),
        http.post("/enroll", files=image, data={"member_id": "anna"}, headers=own),
        http.post("/identify", files=image, headers=own),
        http.post("/compare", files={"a": ("a", b"x"), "b": ("b", b"x")}, headers=own),
        http.post("/index", json={}, headers=own),
        http.post("/api/v1/detect-faces", files=image, headers=own),
        http.post("/verify", json={"member_id": "anna", "supabase_path": "a.png"}, headers=own),
        http.post("/verify", json={"member_id": "anna", "image_url": "s3://bucket/a.png"}, headers=own),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDeniedException")


def test_an_app_user_who_is_bound_to_nobody_has_no_rights(http: httpx.Client) -> None:
    stranger = bearer(token(sub="stranger"))
    for member in ("anna", "bea", "nobody"):
        assert verify(http, member, stranger).status_code == 403
        assert http.delete(f"/members/{member}", headers=stranger).status_code == 403


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"app_metadata": {"face_role": "read"}}, {"identify"}),
        ({"app_metadata": {"face_role": "write"}}, {"identify", "patch"}),
        ({"app_metadata": {"face_role": "admin"}}, {"identify", "patch", "collections"}),
        ({"user_metadata": {"face_role": "admin"}}, set()),
        ({"face_role": "admin"}, set()),
        ({"role": "service_role"}, set()),
        ({"app_metadata": {"face_role": ["admin"]}}, set()),
        ({"app_metadata": "admin"}, set()),
        ({"app_metadata": {"face_role": "ADMIN"}}, set()),
    ],
)
def test_the_role_comes_from_the_configured_claim_only(
    http: httpx.Client, claims: dict[str, Any], allowed: set[str]
) -> None:
    shown = bearer(token(**claims))
    image = {"image": ("a.png", photos.astronaut())}
    answers = {
        "identify": http.post("/identify", files=image, headers=shown),
        "patch": http.patch("/members/bea", json={"metadata": {"a": 1}}, headers=shown),
        "collections": http.post("/api/v1/collections", json={"collection_id": "by-token"}, headers=shown),
    }
    http.delete("/api/v1/collections/by-token", headers=ADMIN)
    assert {name for name, answer in answers.items() if answer.status_code < 300} == allowed
    assert {answer.status_code for answer in answers.values() if answer.status_code >= 300} <= {403}


def test_a_subject_is_one_member_and_can_be_unbound(http: httpx.Client) -> None:
    taken = http.patch("/members/bea", json={"subject": "anna-in-the-app"}, headers=ADMIN)
    assert (taken.status_code, taken.json()["reason"]) == (409, "SubjectBound")
    bea = bearer(token(sub="bea-in-the-app"))
    http.patch("/members/bea", json={"subject": "bea-in-the-app"}, headers=ADMIN).raise_for_status()
    assert http.get("/members/bea", headers=bea).status_code == 200
    http.patch("/members/bea", json={"subject": ""}, headers=ADMIN).raise_for_status()
    assert http.get("/members/bea", headers=bea).status_code == 403


def test_keys_of_the_issuer_are_asked_for_rarely(http: httpx.Client, keys_site: Site) -> None:
    verify(http, "anna", bearer(token(EC_KEY, "ES256", {"kid": "ec"})))
    asked = len(keys_site.visits)
    for number in range(20):
        verify(http, "anna", bearer(token(OTHER_KEY, "ES256", {"kid": f"made-up-{number}"})))
    assert len(keys_site.visits) <= asked + 1


def test_an_app_user_erases_themselves(http: httpx.Client) -> None:
    image = {"image": ("a.png", photos.astronaut())}
    bound = {"member_id": "carla", "subject": "carla-in-the-app"}
    http.post("/enroll", headers=ADMIN, files=image, data=bound).raise_for_status()
    own = bearer(token(sub="carla-in-the-app"))
    assert http.delete("/members/carla", headers=own).json()["deleted"] is True
    assert http.get("/members/carla", headers=ADMIN).status_code == 404


def test_pages_of_allowed_origins_may_call(http: httpx.Client) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-api-key",
    }
    preflight = http.options("/identify", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
    refused = http.get("/members", headers={"Origin": "https://app.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
        401,
        "https://app.example",
    )
    strange = http.options("/identify", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in strange.headers


def test_a_page_of_an_allowed_origin_may_call_an_open_service() -> None:
    with running(CORS_ALLOWED_ORIGINS="https://app.example") as service:
        good = httpx.get(f"{service.url}/members", headers={"Origin": "https://app.example"})
        bad = httpx.get(f"{service.url}/members", headers={"Origin": "https://evil.example"})
    assert (good.status_code, bad.status_code) == (200, 403)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SUPABASE_JWT_SECRET": SECRET}, "JWT_ISSUER"),
        ({"JWT_ROLE_CLAIM": "user_metadata.role"}, "JWT_ROLE_CLAIM"),
        ({"SUPABASE_JWT_SECRET": "short", "JWT_ISSUER": ISSUER}, "SUPABASE_JWT_SECRET"),
    ],
)
def test_wrong_settings_of_tokens_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(_env_file=None, **{name.lower(): value for name, value in settings.items()})
