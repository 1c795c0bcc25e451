"""Rows of the icon sets: eight that draw the same emoji, and one of game icons."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from training.corpus.cldr import Annotation, annotations, without_presentation
from training.corpus.rows import Drawing, Pair, joined
from training.corpus.sources import EMOJI_SETS, GAME_ICONS, Package, fetch, read_json
from training.splits import concept_of_emoji, concept_of_title

SIDE = 256
# The licence each package names, as the page that has its words.
LICENSE_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "MIT": "https://opensource.org/license/mit",
}
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="{left} {top} {width} {height}" width="{w}" height="{h}" color="#000000">{body}</svg>'
)
# Names of older drawings that a set keeps, which no table knows.
_OLD_NAMES = {
    "crazy-face": "1f92a",
    "curly-haired": "1f9b1",
    "face-with-symbols-over-mouth": "1f92c",
    "keycap-hash": "23-20e3",
    "man-in-business-suit-levitating": "1f574",
    "red-haired": "1f9b0",
    "white-haired": "1f9b3",
}
_OLD_NAMES |= {
    name: f"{0x30 + digit:x}-20e3"
    for digit, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
    for name in (str(digit), f"digit-{word}")
}
_TONE = re.compile(r"(-(medium-dark|medium-light|dark|light|medium)(-skin-tone)?|-tone[1-5])(?=-|$)")
_NOT_IN_A_KEY = re.compile(r"[^a-z0-9]+")
_GENDER = re.compile(r"^(man|woman|men|women)-")


class IconSet:
    """One set: its icons, and for an emoji set the code points of each name."""

    def __init__(self, name: str, package: Package, folder: Path):
        archive = fetch(package, folder)
        self.name = name
        self.data = read_json(archive, "icons.json")
        self.info = read_json(archive, "info.json")
        self.categories = {
            icon: category for category, icons in read_json(archive, "metadata.json").get("categories", {}).items() for icon in icons
        }
        self.codepoints: dict[str, str] = {}
        for codepoints, icon in sorted(read_json(archive, "chars.json").items()):
            self.codepoints.setdefault(icon, codepoints)
        for alias, entry in sorted(self.data.get("aliases", {}).items()):
            parent = entry["parent"]
            if "hFlip" in entry:
                continue
            if parent in self.codepoints:
                self.codepoints.setdefault(alias, self.codepoints[parent])
            elif alias in self.codepoints:
                self.codepoints.setdefault(parent, self.codepoints[alias])

    def svg(self, icon: str) -> str:
        """The icon as an SVG whose longest side is SIDE pixels."""
        entry = self.data["icons"][icon]
        width, height = (entry.get(side, self.data.get(side, 16)) for side in ("width", "height"))  # 16: the format's default
        scale = SIDE / max(width, height)
        corner = {side: entry.get(side, self.data.get(side, 0)) for side in ("left", "top")}
        return _SVG.format(**corner, width=width, height=height, w=round(width * scale), h=round(height * scale), body=entry["body"])


class EmojiNames:
    """Finds the emoji that an icon's name means: by the set's own table, another set's, CLDR's names, or what is left of the name."""

    def __init__(self, sets: list[IconSet], english: dict[str, Annotation]):
        self.sets = sets
        self.by_name = dict(_OLD_NAMES)
        for emoji, annotation in sorted(english.items()):
            for slug in _slugs(annotation.name):
                self.by_name.setdefault(slug, _codepoints(emoji))

    def own_codepoints(self, icons: IconSet, icon: str) -> str | None:
        """Code points of just this icon, not of one like it; a set without a table borrows the others'."""
        if icons.codepoints:
            return icons.codepoints.get(icon)
        return next((one.codepoints[icon] for one in self.sets if icon in one.codepoints), None)

    def codepoints(self, icons: IconSet, icon: str) -> str | None:
        """Code points in hexadecimal, joined by "-"; None when the icon is no emoji, or no table names it."""
        if icon in icons.codepoints:
            return icons.codepoints[icon]
        base = _TONE.sub("", icon)
        # Old names that a set keeps beside new ones, sorted from what says most to what says least.
        for name in (
            icon,
            base,
            icon.replace("flag-for-", ""),
            icon.replace("flag-for-", "flag-"),
            icon.rstrip("0123456789"),
            _GENDER.sub("", base),
            _GENDER.sub("person-", base),
        ):
            for one in (icons, *self.sets):
                if name in one.codepoints:
                    return one.codepoints[name]
            if name in self.by_name:
                return self.by_name[name]
        return None


def emoji_pairs(folder: Path) -> Iterator[Pair]:
    """Rows of the emoji sets, captions in English and, where CLDR has the emoji, in Korean."""
    sets = [IconSet(name, package, folder) for name, package in EMOJI_SETS.items()]
    english, korean = annotations("en", folder), annotations("ko", folder)
    names = EmojiNames(sets, english)
    for icons in sets:
        for icon in sorted(icons.data["icons"]):
            codepoints = names.codepoints(icons, icon)
            own = names.own_codepoints(icons, icon)
            named = english.get(_text(own)) if own else None
            named_ko = korean.get(_text(own)) if own else None
            words = named or _of_base(codepoints, english)
            words_ko = named_ko or _of_base(codepoints, korean)
            yield _pair(
                icons,
                icon,
                caption=named.name if named else _words(icon),
                caption_ko=named_ko.name if named_ko else None,
                concept=concept_of_emoji(codepoints) if codepoints else concept_of_title(icon),
                keywords=joined(list(words.keywords)) if words else None,
                keywords_ko=joined(list(words_ko.keywords)) if words_ko else None,
            )


def game_icon_pairs(folder: Path) -> Iterator[Pair]:
    """Rows of the game icons: one colour, drawn black on white."""
    icons = IconSet("game-icons", GAME_ICONS, folder)
    for icon in sorted(icons.data["icons"]):
        yield _pair(icons, icon, caption=_words(icon), concept=concept_of_title(icon))


def _pair(icons: IconSet, icon: str, *, caption: str, concept: str, **columns: str | None) -> Pair:
    license = icons.info["license"]
    return Pair(
        collection=icons.name,
        name=icon,
        source_id=f"{icons.name}:{icon}",
        caption=caption,
        concept=concept,
        drawing=Drawing(svg=icons.svg(icon), side=SIDE, opaque=not icons.info["palette"]),  # without a palette: black on white
        license=license["title"],
        license_url=LICENSE_URLS[license["spdx"]],
        creator=icons.info["author"]["name"],
        source_page=f"https://icon-sets.iconify.design/{icons.name}/{icon}/",
        title=_words(icon),
        category=icons.categories.get(icon),
        **columns,
    )


def _of_base(codepoints: str | None, table: dict[str, Annotation]) -> Annotation | None:
    """The annotation of the emoji without skin tone: keywords, unlike names, hold for its variants too."""
    if codepoints is None:
        return None
    text = _text(codepoints)
    return table.get(text) or table.get("".join(letter for letter in text if not 0x1F3FB <= ord(letter) <= 0x1F3FF))


def _words(icon: str) -> str:
    return icon.replace("-", " ")


def _slugs(name: str) -> tuple[str, str]:
    """The name as the sets write it in their keys: accents taken off, or accented letters left out ("flag-cte-divoire")."""
    plain = unicodedata.normalize("NFD", name.lower()).encode("ascii", "ignore").decode()
    holed = unicodedata.normalize("NFC", name.lower()).encode("ascii", "ignore").decode()
    return _NOT_IN_A_KEY.sub("-", plain).strip("-"), _NOT_IN_A_KEY.sub("-", holed).strip("-")


def _codepoints(text: str) -> str:
    return "-".join(f"{ord(letter):x}" for letter in text)


def _text(codepoints: str) -> str:
    return without_presentation("".join(chr(int(part, 16)) for part in codepoints.split("-")))
