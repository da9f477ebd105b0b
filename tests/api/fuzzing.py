"""schemathesis over the whole OpenAPI document, against a service that asks for a key."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.measure.programs import program
from app.measure.service import running

KEY_ID, SECRET = "AKIATESTTESTTEST0001", "secret-of-the-bootstrap-key"
# Not its checks that random photos and ids be accepted, of the Allow header of status 405, and of wrong
# credentials: it leaves the right ones beside them.
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,use_after_free,ensure_resource_availability"
)
_GENERATED = re.compile(r"(\d+) generated")


@dataclass(frozen=True)
class Fuzzing:
    """What schemathesis said, how many calls it made, and what the service logged."""

    passed: bool
    calls: int
    report: str
    log: str


def fuzz(folder: Path, phases: str, examples: int, limit_s: int) -> Fuzzing:
    """Send generated requests, good and bad, alone and in sequences that use what others answered."""
    with running(
        AUTH="required",
        BOOTSTRAP_ACCESS_KEY_ID=KEY_ID,
        BOOTSTRAP_SECRET_ACCESS_KEY=SECRET,
        IMAGE_URLS="off",
    ) as service:
        done = subprocess.run(
            [
                program("schemathesis"), "run", f"{service.url}/openapi.json", "--checks", _CHECKS,
                "--phases", phases, "--max-examples", str(examples), "--seed", "1", "--workers", "2",
                "--continue-on-failure", "--header", f"X-API-Key: {KEY_ID}:{SECRET}",
                "--suppress-health-check", "all", "--no-color",
            ],
            cwd=folder, capture_output=True, text=True, check=False, timeout=limit_s,
        )  # fmt: skip
        found = _GENERATED.search(done.stdout)
        calls = int(found[1]) if found else 0
        return Fuzzing(done.returncode == 0, calls, done.stdout[-20_000:] + done.stderr, service.log)
