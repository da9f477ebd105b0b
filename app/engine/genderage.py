"""Age and gender, for packs that have insightface's model of them."""

from pathlib import Path

import numpy as np

from app.domain import AgeRange, Gender, Pixels
from app.engine.crops import run_upright
from app.engine.detector import Detection
from app.engine.model import Model
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scaling import RAW

# The model gives one number of years; its mean error is 7.5 on IMDB-Clean (arXiv 2511.14689).
_AGE_REACH = 7


class GenderAge:
    """insightface's model."""

    def __init__(self, path: Path, runtime: Runtime = ONNX_RUNTIME) -> None:
        self._model = Model(runtime.open_of_one_size(path, RAW))

    def look(self, image: Pixels, detection: Detection) -> tuple[Gender, AgeRange]:
        """Gender as the model sees it, and a range of years around its one estimate."""
        found, _ = run_upright(self._model, image, detection)
        female, male, age = found.tolist()
        probability = 1 / (1 + float(np.exp(-abs(male - female))))
        years = round(100 * age)
        return (
            Gender("Male" if male > female else "Female", 100 * probability),
            AgeRange(max(0, years - _AGE_REACH), max(1, years + _AGE_REACH)),
        )
