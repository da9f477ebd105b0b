"""What operators see."""

import re

import httpx
import pytest
import yaml

from tests import photos


def test_liveness_health_and_readiness(http: httpx.Client) -> None:
    assert http.get("/live").json() == {"status": "alive"}
    assert http.get("/health").json() == {"status": "healthy"}
    ready = http.get("/ready").json()
    assert (ready["status"], ready["model_pack"]) == ("ready", "mobile")


def test_status_names_the_pack_and_its_licence(http: httpx.Client) -> None:
    status = http.get("/ops/status").json()
    assert status["model_pack"]["name"] == "mobile"
    assert "non-commercial research" in status["model_pack"]["licence"]
    assert status["runtime"] in ("onnxruntime", "openvino")  # as this machine's CPU is
    assert status["inference"]["queue_size"] >= 64
    assert status["postgresql"].startswith("18.")


def test_status_and_metrics_show_what_rekognition_would_have_cost(http: httpx.Client) -> None:
    http.post("/api/v1/detect-faces", files={"file": ("a.png", photos.astronaut())})
    savings = http.get("/ops/status").json()["savings"]
    (line,) = (line for line in savings["calls"] if line["operation"] == "DetectFaces")
    assert line["price"] == 0.001
    assert line["dollars"] == pytest.approx(line["calls"] * 0.001, rel=1e-12)
    assert savings["dollars"] == pytest.approx(sum(line["dollars"] for line in savings["calls"]), rel=1e-12)
    text = http.get("/metrics").text
    assert re.search(r'^rekognition_calls_total{operation="DetectFaces"} [1-9]', text, re.MULTILINE)
    assert re.search(r"^rekognition_dollars_saved_total 0\.\d+", text, re.MULTILINE)


def test_metrics_count_operations_and_stages(http: httpx.Client) -> None:
    http.post("/api/v1/detect-faces", files={"file": ("a.png", photos.astronaut())})
    http.post("/", headers={"X-Amz-Target": "RekognitionService.ListCollections"}, content=b"{}")
    http.post("/", headers={"X-Amz-Target": "made-up"}, content=b"{}")
    text = http.get("/metrics").text
    assert 'face_operations_total{code="",door="aws",operation="ListCollections"}' in text
    assert 'face_operations_total{code="UnknownOperationException",door="aws",operation="unknown"}' in text
    for stage in ("queue", "decode", "detect", "measure"):
        assert re.search(rf'face_stage_seconds_count{{stage="{stage}"}} [1-9]', text)
    assert "http_request_duration_seconds" in text
    assert "made-up" not in text


def test_openapi_is_the_same_in_json_and_yaml(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert yaml.safe_load(http.get("/openapi.yaml").text) == document
    operations = {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }
    assert {"EnrollFace", "IdentifyFace", "VerifyFace", "CompareFaces"} <= operations.keys()
    body = operations["IdentifyFace"]["requestBody"]["content"]
    assert "image_base64" in body["application/json"]["schema"]["properties"]
    assert "file" not in body["application/json"]["schema"]["properties"]
    assert body["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"


def test_docs_load_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/docs/assets/")
        assert http.get(source).status_code == 200


def test_every_reference_of_the_openapi_document_leads_somewhere(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()

    def check(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                check(item)
        elif isinstance(node, dict):
            if "$ref" in node:
                place = document
                for step in node["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            for item in node.values():
                check(item)

    check(document)


def test_every_call_has_a_name_an_example_errors_and_who_may_call(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    calls = [call for path in document["paths"].values() for call in path.values()]
    names = [call["operationId"] for call in calls]
    assert len(set(names)) == len(names)
    assert {"IdentifyFace", "VerifyFace", "EnrollFace", "CompareFaces", "RebuildIndex"} <= set(names)
    for call in calls:
        assert {"4XX", "5XX"} <= call["responses"].keys()
        if call["operationId"] not in ("Live", "Health", "Ready", "JoinAlbum", "OpenLink"):
            assert {"HTTPBearer": []} in call["security"]
            assert {"APIKeyHeader": []} in call["security"]
        for kind, content in call.get("requestBody", {}).get("content", {}).items():
            assert kind != "application/json" or content["example"]
