"""What is wrong with a request, in the words that AWS uses."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import InvalidParameterException, SerializationException, ServiceError

_CONSTRAINTS = {
    "missing": "Member must not be null",
    "string_too_short": "Member must have length greater than or equal to {min_length}",
    "string_too_long": "Member must have length less than or equal to {max_length}",
    "bytes_too_short": "Member must have length greater than or equal to {min_length}",
    "too_short": "Member must have length greater than or equal to {min_length}",
    "too_long": "Member must have length less than or equal to {max_length}",
    "greater_than_equal": "Member must have value greater than or equal to {ge}",
    "less_than_equal": "Member must have value less than or equal to {le}",
    "string_pattern_mismatch": "Member must satisfy regular expression pattern: {pattern}",
    "enum": "Member must satisfy enum value set: [{expected}]",
}
_SHOWN_VALUE = 64
_SHOWN_PROBLEMS = 10


def refusal_of(error: ValidationError) -> ServiceError:
    """The error for a request that breaks its shape.

    Constraints are listed as AWS lists them; a body that is no JSON, a wrong type or a blob that is
    no base64 is a SerializationException.
    """
    found = error.errors(include_url=False)
    if any(problem["type"] == "invalid_parameters" for problem in found):
        return InvalidParameterException()
    if any(problem["type"] not in _CONSTRAINTS for problem in found):
        return SerializationException()
    texts = [_constraint(problem) for problem in found[:_SHOWN_PROBLEMS]]
    plural = "s" if len(found) > 1 else ""
    return InvalidParameterException(f"{len(found)} validation error{plural} detected: {'; '.join(texts)}")


def _constraint(problem: ErrorDetails) -> str:
    context: dict[str, Any] = dict(problem.get("ctx", {}))
    if "pattern" in context:
        context["pattern"] = context["pattern"].removeprefix("^(?:").removesuffix(")$")
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", "").replace(" or ", ", ")
    constraint = _CONSTRAINTS[problem["type"]].format(**context)
    return f"Value {_value(problem)} at '{_path(problem)}' failed to satisfy constraint: {constraint}"


def _value(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "null"
    value = problem["input"]
    if isinstance(value, str | int | float):
        return f"'{str(value)[:_SHOWN_VALUE]}'"
    return f"'<{type(value).__name__}>'"


def _path(problem: ErrorDetails) -> str:
    """The place in AWS's notation: `image.s3Object.bucket`, `faceIds.1.member`."""
    steps = []
    for step in problem["loc"]:
        if isinstance(step, int):
            steps += [str(step + 1), "member"]
        else:
            steps.append(step[:1].lower() + step[1:_SHOWN_VALUE])
    return ".".join(steps)
