"""The closed words of the data in English and Korean, for a reader who knows neither the code nor the column names."""

from typing import Final

from quality.report.model import Text
from schemas.reasons import FETCH_ERRORS, FETCH_STATUSES, REASONS

_KOREAN_REASONS: Final = {
    "source:no_url": "행에 URL이나 파일 이름이 없음",
    "source:bad_url": "URL이 http나 https가 아님",
    "source:no_caption": "행에 캡션이 없음",
    "source:wrong_type": "알려진 열에 텍스트가 아닌 값이 있음",
    "source:bad_row": "줄을 해석할 수 없음",
    "source:sha256": "출처가 적은 이미지 해시가 SHA-256이 아님",
    "fetch:failed_to_download": "바이트를 받지 못했거나 이미지가 아님",
    "fetch:failed_to_resize": "바이트는 받았으나 이미지로 쓸 수 없음",
    "fetch:refused": "안전 규칙이나 수집 거부 표시가 요청을 막음",
    "fetch:postponed": "응답 전에 시한이 지남",
    "fetch:crashed": "처리하던 프로세스를 멈추게 함",
    "image:undecodable": "저장된 바이트를 디코딩할 수 없음",
    "image:crashed": "측정하던 프로세스를 세 번 멈추게 함",
    "image:too_small": "짧은 변이 기준보다 작음",
    "image:aspect": "한 변이 다른 변보다 지나치게 김",
    "image:small_file": "파일 크기가 기준보다 작음",
    "image:too_large": "화소 수가 기준보다 많음",
    "image:blurred": "세부가 거의 없는 이미지",
    "image:empty": "거의 한 가지 색인 이미지",
    "image:missing": "이미지가 측정되지 않음",
    "caption:too_short": "캡션의 단어나 글자가 너무 적음",
    "caption:too_long": "캡션의 단어가 너무 많음",
    "caption:repeats": "한 단어가 캡션의 대부분을 차지함",
    "caption:language": "다른 언어의 캡션",
    "caption:common": "같은 캡션이 풀에 너무 자주 나옴",
    "caption:boilerplate": "파일 이름·날짜·링크뿐인 캡션",
    "caption:personal_data": "캡션에 이메일, 전화·카드·계좌·신분증 번호가 있음",
    "caption:not_in_version": "릴리스가 쓰는 캡션 버전에 이 쌍의 캡션이 없음",
    "caption:missing": "캡션이 측정되지 않음",
    "clip:low_similarity": "캡션과 이미지가 충분히 맞지 않음",
    "clip:not_in_top": "일치도가 원하는 상위 비율에 들지 못함",
    "clip:missing": "일치도가 측정되지 않음",
    "nsfw:high": "선정적일 가능성이 높은 이미지",
    "nsfw:possible": "선정적일 수 있는 이미지",
    "nsfw:disagreement": "두 안전성 측정이 서로 다름",
    "nsfw:missing": "이미지가 측정되지 않음",
    "license:not_allowed": "허용되지 않은 라이선스 등급",
    "license:unknown": "알려진 라이선스 표시가 없음",
    "license:missing": "라이선스가 측정되지 않음",
    "duplicate:pair": "같은 URL과 캡션이 풀의 앞쪽에 있음",
    "duplicate:exact": "더 나은 쌍이 같은 이미지 바이트를 가짐",
    "duplicate:picture": "더 나은 쌍이 같은 그림·색·캡션을 가짐",
    "duplicate:near": "더 나은 쌍이 거의 같은 그림과 색을 가짐",
    "duplicate:semantic": "더 나은 쌍의 이미지가 거의 같은 내용임",
    "id:in_list": "정책이 제외하는 목록에 있는 ID",
    "id:not_in_list": "정책이 고르는 목록에 없는 ID",
    "id:missing": "그런 ID가 없음",
    "leak:picture": "평가 집합의 그림과 거의 같음",
    "leak:caption": "평가 집합의 캡션과 같음",
    "leak:missing": "그림이나 캡션이 측정되지 않음",
    "optout:disallowed": "권리자가 텍스트·데이터 마이닝을 유보함",
    "optout:refused": "사이트나 파일이 마이닝을 금지하여 저장하지 않음",
    "list:blocked": "차단 목록에 있거나 요청에 따라 삭제된 쌍",
    "deepfake:high": "딥페이크 위험의 강한 증거가 있음",
    "deepfake:possible": "딥페이크 위험의 증거가 있음",
    "deepfake:missing": "딥페이크 위험이 측정되지 않음",
    "review:rejected": "사람이 쌍을 거부함",
    "review:accepted": "사람이 쌍을 승인함",
}

REASON: Final = {
    f"{family}:{word}": Text(text, _KOREAN_REASONS[f"{family}:{word}"]) for family, words in REASONS.items() for word, text in words.items()
}

_KOREAN_STATUSES: Final = {
    "success": "바이트가 저장됨",
    "failed_to_download": "바이트를 받지 못했거나 이미지가 아님",
    "failed_to_resize": "이미지로 쓸 수 없음",
    "refused": "안전 규칙이나 수집 거부로 요청하지 않음",
    "blocked": "차단 목록에 있음",
    "postponed": "시한이 지나 미룸",
    "crashed": "프로세스를 멈추게 함",
    "invalid": "쌍이 아닌 원본 행",
}
STATUS: Final = {status: Text(text, _KOREAN_STATUSES[status]) for status, text in FETCH_STATUSES.items()}
ERROR: Final = {word: Text(text, "") for word, text in FETCH_ERRORS.items()}

VERDICT: Final = {"keep": Text("keep", "유지"), "review": Text("review", "검토"), "drop": Text("drop", "제외")}

# What a stored word means to a reader; words that are not here are shown as they are.
WORD: Final = {
    "license.class": {
        "public-domain": Text("public domain: nothing is asked", "퍼블릭 도메인: 의무 없음"),
        "attribution": Text("attribution: name the author", "저작자 표시"),
        "share-alike": Text("share-alike: name the author, share under the same terms", "동일조건 변경 허락"),
        "no-derivatives": Text("no derivatives", "변경 금지"),
        "non-commercial": Text("non-commercial use only", "비영리 전용"),
        "proprietary": Text("proprietary: rights reserved", "독점: 모든 권리 보유"),
        "unknown": Text("unknown: never taken as free", "알 수 없음: 자유 이용으로 보지 않음"),
    },
    "license.obligations": {
        "attribution": Text("name the author, title and source", "저작자·제목·출처를 밝힘"),
        "notice": Text("keep the licence notice", "라이선스 고지를 유지"),
        "share-alike": Text("share adaptations under the same licence", "변경물을 같은 라이선스로 공유"),
        "no-derivatives": Text("do not share adaptations", "변경물을 공유하지 않음"),
        "non-commercial": Text("no commercial use", "영리 목적으로 쓰지 않음"),
        "none": Text("nothing is asked, or nothing is known", "의무가 없거나 알려지지 않음"),
    },
    "license.evidence": {
        "name": Text("the source's licence name", "원본의 라이선스 이름"),
        "url": Text("the source's licence URL", "원본의 라이선스 URL"),
        "name|url": Text("name and URL", "이름과 URL"),
        "": Text("neither is stated", "표시 없음"),
    },
    "deepfake.band": {
        "high": Text("high: strong evidence", "높음: 강한 증거"),
        "review": Text("review: a person should look", "검토: 사람이 확인해야 함"),
        "low": Text("low: weak evidence, or a recognisable person", "낮음: 약한 증거 또는 알아볼 수 있는 사람"),
        "none": Text("no evidence (which is no proof)", "증거 없음(증명은 아님)"),
    },
    "evidence.mining": {
        "allowed": Text("allowed", "허용"),
        "disallowed": Text("disallowed", "금지"),
        "says nothing": Text("the file says nothing of it", "파일에 표시 없음"),
    },
    "evidence.c2pa": {
        "none": Text("no manifest", "매니페스트 없음"),
        "trusted": Text("valid, on the trust list", "유효하고 신뢰 목록에 있음"),
        "untrusted": Text("valid, on no trust list", "유효하나 신뢰 목록에 없음"),
        "invalid": Text("does not hold", "유효하지 않음"),
        "unreadable": Text("cannot be read", "읽을 수 없음"),
    },
    "caption.boilerplate": {
        "true": Text("a file name, date, link or placeholder", "파일 이름·날짜·링크·자리 표시"),
        "false": Text("a person's words", "사람이 쓴 문장"),
    },
    "caption.personal_data": {"": Text("none found", "발견되지 않음")},
    "caption.language": {
        "und": Text("undetermined (mostly short captions)", "판별 불가(대개 짧은 캡션)"),
        "zxx": Text("no language", "언어 아님"),
        "en": Text("English", "영어"),
        "ko": Text("Korean", "한국어"),
        "ja": Text("Japanese", "일본어"),
        "zh": Text("Chinese", "중국어"),
        "de": Text("German", "독일어"),
        "fr": Text("French", "프랑스어"),
        "es": Text("Spanish", "스페인어"),
        "ru": Text("Russian", "러시아어"),
    },
    "caption.script": {
        "Latn": Text("Latin", "로마자"),
        "Hang": Text("Hangul", "한글"),
        "Hani": Text("Han", "한자"),
        "Kana": Text("Japanese", "가나"),
        "Cyrl": Text("Cyrillic", "키릴 문자"),
        "Arab": Text("Arabic", "아랍 문자"),
        "Zyyy": Text("no letters", "글자 없음"),
    },
}

COLUMN: Final = {
    "clip.similarity": Text("Match of image and caption", "이미지와 캡션의 일치도"),
    "nsfw.open_nsfw": Text("Not safe for work", "선정성"),
    "nsfw.clip": Text("Not safe for work, by CLIP", "선정성(CLIP)"),
    "nsfw.disagreement": Text("Disagreement of the two", "두 측정의 차이"),
    "image.smallest_side": Text("Shorter side, pixels", "짧은 변(픽셀)"),
    "image.aspect": Text("Aspect ratio", "가로세로 비율"),
    "image.bytes": Text("File size, bytes", "파일 크기(바이트)"),
    "image.sharpness": Text("Sharpness", "선명도"),
    "image.entropy": Text("Entropy, bits", "엔트로피(비트)"),
    "image.pdq_quality": Text("PDQ quality", "PDQ 품질"),
    "faces.count": Text("Faces", "얼굴 수"),
    "faces.largest_share": Text("Largest face, share of the picture", "가장 큰 얼굴의 비율"),
    "faces.score": Text("Best face candidate", "얼굴 후보 점수"),
    "deepfake.synthetic": Text("Generated or altered, by evidence", "생성·변조 가능성(증거)"),
    "deepfake.likeness": Text("Shows an identifiable person", "식별 가능한 인물"),
    "deepfake.enablement": Text("Would help to fake that person", "위조에 도움이 되는 정도"),
    "evidence.camera_fields": Text("Camera fields in EXIF", "EXIF 촬영 정보 수"),
    "caption.words": Text("Words in the caption", "캡션 단어 수"),
    "caption.characters": Text("Characters in the caption", "캡션 글자 수"),
    "caption.repeat_share": Text("Share of the most repeated word", "가장 많이 반복된 단어의 비율"),
    "caption.nsfw_words": Text("Words that name nudity or sex", "선정적인 단어 수"),
    "caption.language_confidence": Text("Confidence of the language", "언어 판별 신뢰도"),
    "caption.repeats": Text("How often the caption stands in the pool", "풀에서 같은 캡션의 수"),
}
