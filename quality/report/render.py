"""A report as one HTML file: templates, style sheets and script from this package, everything inlined."""

import base64
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from quality.report import words
from quality.report.model import Histogram, Pair, Report, Text
from quality.report.plots import LEFT, WIDTH, histogram_svg, positions, shift_svg

LANGUAGES: Final = ("en", "ko")
_HERE: Final = Path(__file__).parent
_CUT: Final = 220  # characters of a caption that are shown at once
_WHOLE: Final = 10_000  # and on demand; the pool has the rest
_BOUND_WORDS: Final = {
    "drop min": Text("drops below", "제외, 이 값 미만:"),
    "drop max": Text("drops above", "제외, 이 값 초과:"),
    "review min": Text("to review below", "검토로, 이 값 미만:"),
    "review max": Text("to review above", "검토로, 이 값 초과:"),
}


def render(report: Report, *, lang: str = "en") -> str:
    """The page. lang: the language that is shown first; both are in it. The same report gives the same text."""
    return _Page(report, lang).html()


class _Page:
    """The pictures and pairs of a page are collected while it is drawn, each once; they stand at its end."""

    def __init__(self, report: Report, lang: str):
        self.report, self.lang = report, lang
        self.sharp: dict[bytes, int] = {}
        self.pairs: dict[int, int] = {}
        self.cards: list[dict[str, Any]] = []

    def html(self) -> str:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

        report = self.report
        environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(
            n=lambda value: f"{value:,}", share=_share, signed=lambda value: f"{value:+,}" if value else "0", figure=_figure,
            bytes=_bytes, clean=clean, webp=_data_url,
        )  # fmt: skip
        script = (_HERE / "report.js").read_text("utf-8")
        styles = (_HERE / "palette.css").read_text("utf-8") + (_HERE / "report.css").read_text("utf-8")
        decided = report.policy is not None
        return environment.get_template("report.html.j2").render(
            report=report, lang=self.lang, title=_title(report), contents=_contents(report), funnel=_funnel(report),
            styles=Markup(styles), script=Markup(script), script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            reasons=words.REASON, statuses=words.STATUS, verdicts=words.VERDICT, words=words.WORD, columns=words.COLUMN,
            bound_words=_BOUND_WORDS, cut_at=_CUT, whole_at=_WHOLE,
            svg=lambda histogram: Markup(histogram_svg(histogram, decided=decided)), shift_svg=lambda shift: Markup(shift_svg(shift)),
            cut_data=lambda histogram, number: Markup(_json(self._cut(histogram, number))), start_of=_start,
            sharp_of=self._sharp, pairs=lambda: Markup(_json(self.cards)), sharps=lambda: Markup(_json([_base64(data) for data in self.sharp])),
        )  # fmt: skip

    def _sharp(self, pair: Pair) -> int:
        assert pair.sharp is not None
        return self.sharp.setdefault(pair.sharp, len(self.sharp))

    def _card(self, pair: Pair) -> int:
        """The place of a pair among those that the script draws."""
        if id(pair) not in self.pairs:
            self.pairs[id(pair)] = len(self.cards)
            self.cards.append(
                {
                    "caption": None if pair.caption is None else clean(pair.caption, _CUT),
                    "verdict": pair.verdict,
                    "blurred": None if pair.blurred is None else _base64(pair.blurred),
                    "sharp": None if pair.sharp is None else self._sharp(pair),
                }
            )
        return self.pairs[id(pair)]

    def _cut(self, histogram: Histogram, number: int) -> dict[str, Any]:
        places = 3 if self.report.policy is not None else 4  # keep, review, drop; or all of them undecided
        return {
            "name": histogram.name, "scorer": histogram.scorer if histogram.name.startswith(("clip.", "nsfw.", "deepfake.")) else None,
            "plot": f"plot{number}", "out": f"out{number}", "stay": f"stay{number}", "decided": self.report.policy is not None,
            "measured": histogram.measured, "of": histogram.totals[:places], "edges": histogram.edges,
            "at_least": [counts[:places] for counts in histogram.at_least], "at_most": [counts[:places] for counts in histogram.at_most],
            "single": bool(histogram.single), "places": positions(histogram), "left": LEFT, "width": WIDTH,
            "samples": [[value, self._card(pair)] for value, pair in histogram.samples],
        }  # fmt: skip


def clean(text: str, most: int) -> str:
    """Text that a page can hold: control characters as their pictures (U+2400 and on), at most `most` characters.

    Escaping is the template's; direction is isolated by `bdi`, so that what turns it stays within its own line."""
    cut = text[:most]
    shown = "".join(_picture(letter) if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in cut)
    return shown + ("…" if len(text) > most else "")


def _picture(letter: str) -> str:
    code = ord(letter)
    if letter in "\t\n\r":
        return " "
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def _title(report: Report) -> dict[str, str]:
    name = clean(report.dataset, 80) + (f" {report.release}" if report.release else "")
    return {"en": f"{name}: quality report", "ko": f"{name}: 품질 보고서"}


def _contents(report: Report) -> list[tuple[str, str, str]]:
    parts = [
        ("verdict", "Verdict", "판단"), ("funnel", "Funnel and reasons", "단계와 이유"),
        ("thresholds", "Measurements and thresholds", "측정값과 기준"),
        ("samples", "Sample pairs", "표본 쌍"), ("licences", "Licences", "라이선스"), ("optouts", "Opt-outs", "수집 거부"),
        ("deepfake", "Deepfake risk", "딥페이크 위험"), ("nsfw", "Not safe for work", "선정성"), ("captions", "Captions", "캡션"),
        ("duplicates", "Duplicates", "중복"),
    ]  # fmt: skip
    if report.release is not None:
        parts += [("rules", "Rules", "규칙"), ("gates", "Gates", "게이트")]
    parts.append(("throughput", "Throughput", "처리 속도"))
    if report.against is not None:
        parts.append(("against", "Against the parent", "이전 릴리스와 비교"))
    return [*parts, ("about", "About this file", "이 파일에 대하여")]


def _funnel(report: Report) -> list[tuple[str, str, int, str]]:
    """(English, Korean, rows, colour)."""
    rows = [
        ("rows in the source", "원본 행", report.rows, "plain"),
        ("fetched", "가져옴", report.fetched, "plain"),
        ("decoded", "디코딩됨", report.decodable, "plain"),
    ]
    if report.policy is not None:
        rows += [(words.VERDICT[side].en, words.VERDICT[side].ko, report.counts[side], side) for side in ("keep", "review", "drop")]
    if report.deferred:
        rows.append(("deferred: never fetched", "보류: 가져오지 않음", report.deferred, "plain"))
    return rows


def _start(histogram: Histogram, side: str) -> int:
    """Where the cut stands at first: the policy's outermost bound, else where all stay."""
    at = [bound.at for bound in histogram.bounds if bound.side == side and bound.do == "drop"] or [bound.at for bound in histogram.bounds]
    if at:
        return min(range(len(histogram.edges)), key=lambda place: abs(histogram.edges[place] - at[0]))
    return 0 if side == "min" else len(histogram.edges) - 1


def _json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data_url(data: bytes) -> str:
    return "data:image/webp;base64," + _base64(data)


def _share(n: int, of: int) -> str:
    return f"{n / of:.1%}" if of else "–"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _bytes(value: int) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return f"{value} B"


__all__: Sequence[str] = ("LANGUAGES", "clean", "render")
