"""The packages the corpus is made of: pinned by version and digest, fetched by the package managers' own clients, kept in a folder.

Archives are read, never installed: no script in them runs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class SourceError(RuntimeError):
    """A package could not be had or is not the one that was pinned; the message says what to do."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    client: Literal["apt-get", "npm"]
    sha256: str

    @property
    def file_name(self) -> str:
        """What the client calls the archive."""
        if self.client == "npm":
            return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"

    @property
    def command(self) -> list[str]:
        """Puts the archive into the working directory."""
        if self.client == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        return ["apt-get", "download", f"{self.name}={self.version}"]


_DEBIAN = "1:0.18+dfsg-19"
CLIPART_PNG = Package("openclipart-png", _DEBIAN, "apt-get", "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02")
CLIPART_SVG = Package("openclipart-svg", _DEBIAN, "apt-get", "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5")
CLDR = Package("cldr-annotations-full", "48.2.0", "npm", "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1")
CLDR_DERIVED = Package("cldr-annotations-derived-full", "48.2.0", "npm", "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e")
# Emoji sets. A set without a table of code points finds its names in the tables of those before it.
EMOJI_SETS = {
    "noto": Package("@iconify-json/noto", "1.2.9", "npm", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "twemoji": Package("@iconify-json/twemoji", "1.2.5", "npm", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "openmoji": Package("@iconify-json/openmoji", "1.2.29", "npm", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    "fluent-emoji-flat": Package(
        "@iconify-json/fluent-emoji-flat", "1.2.6", "npm", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"
    ),
    "noto-v1": Package("@iconify-json/noto-v1", "1.2.5", "npm", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    "emojione": Package("@iconify-json/emojione", "1.2.3", "npm", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    "fluent-emoji": Package(
        "@iconify-json/fluent-emoji", "1.2.7", "npm", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"
    ),
    "fluent-emoji-high-contrast": Package(
        "@iconify-json/fluent-emoji-high-contrast", "1.2.6", "npm", "0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0"
    ),
}
GAME_ICONS = Package("@iconify-json/game-icons", "1.2.4", "npm", "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4")


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, fetched when it is not there, its digest checked. Raises SourceError."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / package.file_name
    if not archive.exists():
        _download(package, folder)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SourceError(
            f"{archive} is not {package.name} {package.version}: its SHA-256 is {digest}, {package.sha256} was expected. "
            "Delete it and run the same command again; if it comes back the same, the package has changed and the pin must be looked at."
        )
    return archive


def _download(package: Package, folder: Path) -> None:
    shown = " ".join(package.command)
    if shutil.which(package.client) is None:
        raise SourceError(
            f"{package.client} is needed to fetch {package.name}, and is not installed. Or put {package.file_name} into {folder}."
        )
    done = subprocess.run(package.command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0 or not (folder / package.file_name).exists():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(
            f"`{shown}` failed: {said[-1] if said else 'it said nothing'}. "
            f"Check the network, or put {package.file_name} into {folder} by hand and run the same command again."
        )


def read_json(archive: Path, member: str) -> dict:
    """One JSON file of an npm archive, read without unpacking. Raises SourceError when it is not in there."""
    with tarfile.open(archive) as tar:
        try:
            stream = tar.extractfile(f"package/{member}")
        except KeyError:
            stream = None
        if stream is None:
            raise SourceError(f"{archive} has no file {member}.")
        return json.load(stream)


def unpack_deb(archive: Path, into: Path) -> Path:
    """The files of a Debian archive under `into`, unpacked once; `dpkg -x` runs none of its scripts. Raises SourceError."""
    if into.exists():
        return into
    if shutil.which("dpkg") is None:
        raise SourceError(f"dpkg is needed to read {archive}, and is not installed.")
    partial = into.with_name(f"{into.name}.{os.getpid()}.partial")
    done = subprocess.run(["dpkg", "-x", str(archive), str(partial)], capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise SourceError(f"dpkg could not unpack {archive}: {done.stderr.strip()}")
    partial.rename(into)
    return into
