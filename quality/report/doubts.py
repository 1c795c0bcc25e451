"""What a careful reader would ask about a dataset before it is published: found by rule, the gravest first."""

from collections.abc import Sequence
from typing import Any, Final

from quality.report.model import Report, Split, Text

STOP, WARN, NOTE = "stop", "warn", "note"
_ORDER: Final = (STOP, WARN, NOTE)
_MANY_FAILED: Final = 0.1  # of the rows that were not fetched; ours
_MOST_OF_THE_DROPS: Final = 0.5  # of one reason alone; ours
_MOVED: Final = 0.05  # of the share that is kept, against another release; ours


def doubts_of(report: Report) -> Sequence[tuple[str, Text]]:
    """(stop, warn or note; what), each with its count and base."""
    found: list[tuple[str, Text]] = []

    def say(level: str, en: str, ko: str, **values: Any) -> None:
        shown = {name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()}
        found.append((level, Text(en.format(**shown), ko.format(**shown))))

    if report.release is not None:
        _of_a_release(report, say)
    _measured(report, say)
    failed = report.rows - report.deferred - report.fetched - report.blocked
    if report.rows and failed > _MANY_FAILED * report.rows:
        say(
            WARN,
            "{n} of {of} rows ({share}) were not fetched, or were no pairs: what is here may not stand for the source.",
            "{of}행 중 {n}행({share})은 가져오지 못했거나 쌍이 아니었습니다. 남은 것이 원본을 대표하지 않을 수 있습니다.",
            n=failed,
            of=report.rows,
            share=_percent(failed, report.rows),
        )
    if report.deferred:
        say(
            WARN,
            "{n} of {of} rows are deferred: their units were never fetched.",
            "{of}행 중 {n}행은 보류 중입니다. 아직 가져오지 않았습니다.",
            n=report.deferred,
            of=report.rows,
        )
    return sorted(found, key=lambda doubt: _ORDER.index(doubt[0]))


def _of_a_release(report: Report, say: Any) -> None:
    kept = report.counts["keep"]
    if report.gates.state == "not_run":
        say(
            STOP,
            "The gates have not run: nothing says yet that the files are whole.",
            "게이트를 아직 실행하지 않았습니다. 파일이 온전하다는 근거가 없습니다.",
        )
    if not kept:
        say(STOP, "Nothing is kept.", "남은 쌍이 없습니다.")
    if report.counts["review"]:
        say(
            WARN,
            "{n} of {of} pairs wait for a person: they are not in the shards.",
            "{of}쌍 중 {n}쌍이 사람의 판단을 기다립니다. 샤드에는 들어 있지 않습니다.",
            n=report.counts["review"],
            of=sum(report.counts.values()),
        )
    for label, en, ko in (
        ("high", "{n} of {of} kept pairs are in the deepfake band “high”.", "남은 {of}쌍 중 {n}쌍이 딥페이크 등급 ‘높음’입니다."),
        ("review", "{n} of {of} kept pairs are in the deepfake band “review”.", "남은 {of}쌍 중 {n}쌍이 딥페이크 등급 ‘검토’입니다."),
    ):
        if n := _kept(report.words.get("deepfake.band", ()), label):
            say(WARN, en, ko, n=n, of=kept)
    if n := sum(split.keep for split in report.nsfw if split.label in ("0.5 – 0.8", "≥ 0.8")):
        say(
            WARN,
            "{n} of {of} kept pairs have an NSFW score of 0.5 or more.",
            "남은 {of}쌍 중 {n}쌍의 NSFW 점수가 0.5 이상입니다.",
            n=n,
            of=kept,
        )
    if n := _kept(report.words.get("license.class", ()), "unknown"):
        say(
            WARN,
            "{n} of {of} kept pairs state no known licence.",
            "남은 {of}쌍 중 {n}쌍은 알려진 라이선스를 밝히지 않았습니다.",
            n=n,
            of=kept,
        )
    if n := _kept(report.words.get("evidence.mining", ()), "disallowed"):
        say(
            STOP,
            "{n} of {of} kept pairs say that they may not be mined.",
            "남은 {of}쌍 중 {n}쌍이 데이터 마이닝을 금지합니다.",
            n=n,
            of=kept,
        )
    personal = sum(split.keep for split in report.words.get("caption.personal_data", ()) if split.label)
    if personal and not report.redacts:
        say(
            WARN,
            "{n} of {of} kept captions hold personal data, and the policy releases them as they are.",
            "남은 {of}개 캡션 중 {n}개에 개인정보가 있으며, 정책은 이를 그대로 내보냅니다.",
            n=personal,
            of=kept,
        )
    elif personal:
        say(
            NOTE,
            "Personal data was taken out of {n} of {of} kept captions.",
            "남은 {of}개 캡션 중 {n}개에서 개인정보를 지웠습니다.",
            n=personal,
            of=kept,
        )
    dropped = report.counts["drop"]
    for reason, n in report.only.items():
        if dropped and n > _MOST_OF_THE_DROPS * dropped:
            say(
                NOTE,
                "{n} of {of} dropped pairs have {reason} as their only reason.",
                "제외된 {of}쌍 중 {n}쌍은 {reason}만이 이유입니다.",
                n=n,
                of=dropped,
                reason=reason,
            )
    if report.against is not None:
        _moved(report, say)


def _moved(report: Report, say: Any) -> None:
    other = report.against
    assert other is not None
    was, now = (sum(counts[side] for side in ("keep", "review", "drop")) for counts in (other.before, report.counts))
    if was and now and abs(other.before["keep"] / was - report.counts["keep"] / now) > _MOVED:
        say(
            WARN,
            "The share that is kept went from {was} to {now} since release {name}.",
            "남는 비율이 릴리스 {name} 이후 {was}에서 {now}로 바뀌었습니다.",
            was=_percent(other.before["keep"], was),
            now=_percent(report.counts["keep"], now),
            name=other.name,
        )


def _measured(report: Report, say: Any) -> None:
    there = {histogram.name: histogram for histogram in report.histograms}
    for column, en, ko in (
        ("nsfw.open_nsfw", "NSFW", "NSFW"),
        ("clip.similarity", "The match of image and caption", "이미지와 캡션의 일치도"),
    ):
        missing = report.fetched if column not in there else there[column].missing
        _not_measured(report, say, missing, en, ko)
    bands = report.words.get("deepfake.band")
    _not_measured(report, say, report.fetched if bands is None else _count(bands, None), "Deepfake risk", "딥페이크 위험")
    mining = report.words.get("evidence.mining")
    missing = report.fetched if mining is None else _count(mining, None)
    _not_measured(report, say, missing, "What files say of mining", "파일의 마이닝 허용 표시")


def _not_measured(report: Report, say: Any, n: int, en: str, ko: str) -> None:
    if n:
        level = WARN if n == report.fetched else NOTE
        say(
            level,
            en + ": not measured for {n} of {of} fetched pairs.",
            ko + ": 가져온 {of}쌍 중 {n}쌍은 측정 안 됨.",
            n=n,
            of=report.fetched,
        )


def _kept(splits: Sequence[Split], label: str) -> int:
    return sum(split.keep for split in splits if split.label == label)


def _count(splits: Sequence[Split], label: str | None) -> int:
    return sum(split.n for split in splits if split.label == label)


def _percent(n: int, of: int) -> str:
    return f"{n / of:.1%}"
