"""Every constant of the deepfake scores, in one place: what a signal weighs, and why.

A weight is a log-likelihood ratio (natural logarithm): how much likelier the signal is where the score's claim holds than where it does
not. +7 is a thousand to one, +4.5 ninety to one, +2 seven to one, +1 three to one. They are classes of strength, not measurements: figures that
detectors are published with do not carry over to other data (they lose about 45 % of their AUC in the wild, arXiv 2503.02857). "Agreed" are the
classes that this project settled on for each kind of evidence before any of it was measured: strong, medium, weak.
"""

from dataclasses import dataclass
from typing import Final, Literal

STRONG, MEDIUM, WEAK, SLIGHT, FAINT = 7.0, 4.5, 2.0, 1.0, 0.5  # alone: high, review, low, low, none

Score = Literal["synthetic", "likeness"]


@dataclass(frozen=True)
class Weight:
    """score: whose log odds it adds to. group: kin signals, of which the largest counts. llr: the weight. why: source or "our judgement"."""

    score: Score
    group: str
    llr: float
    why: str


def _made(group: str, llr: float, why: str) -> Weight:
    return Weight("synthetic", group, llr, why)


def _shown(group: str, llr: float, why: str) -> Weight:
    return Weight("likeness", group, llr, why)


WEIGHTS: Final[dict[str, Weight]] = {
    # What the file declares of itself. One group: a tool that signs a manifest writes the same statement to XMP.
    "c2pa_trusted_ai": _made("declared", STRONG, "agreed: validated C2PA, strong"),
    "c2pa_untrusted_ai": _made(
        "declared", STRONG, "our judgement: intact since it was signed; nobody gains by calling a photograph generated"
    ),
    "c2pa_invalid_ai": _made("declared", MEDIUM, "our judgement: as an unsigned source type, for the signature does not hold"),
    "c2pa_generator": _made("declared", STRONG, "our judgement: a generator named in an intact manifest alone; as its source type"),
    "c2pa_invalid_generator": _made("declared", MEDIUM, "our judgement: the same in one that does not hold"),
    "c2pa_invalid": _made("declared", MEDIUM, "our judgement: changed after it was signed, by whom and how a person must judge"),
    "c2pa_unreadable": _made("declared", SLIGHT, "our judgement: damaged, by accident or not"),
    "c2pa_silent": _made("declared", 0.0, "a manifest that does not say how the picture was made"),
    "c2pa_trusted_capture": _made("declared", -3.0, "agreed: the other way; our judgement: a generator's traces beside it go to a person"),
    "c2pa_untrusted_capture": _made("declared", SLIGHT, "our judgement: makers of cameras are on trust lists; a forger would sign this"),
    "xmp_ai": _made("declared", MEDIUM, "agreed: unsigned source type, medium"),
    "xmp_capture": _made("declared", -FAINT, "our judgement: a forger would write this"),
    "iptc_ai_fields": _made("declared", STRONG, "agreed: IPTC 2025.1 AI fields, strong"),
    # Traces that generators leave.
    "generator_metadata": _made("generator", STRONG, "agreed: metadata of known tools, strong when present"),
    "watermark": _made("watermark", STRONG, "agreed: strong; by luck in 4e-7 of images (quality.evidence.watermark)"),
    # Camera-shaped files pull the other way; metadata is easily copied, so weakly.
    "camera_fields": _made("camera", -SLIGHT, "agreed: weakly; make, model and CAMERA_FIELDS exposure fields together"),
    "camera_name": _made("camera", -FAINT, "our judgement: make and model alone"),
    "gps": _made("camera", -FAINT, "our judgement"),
    # Weak by themselves: see RAISES_TO_REVIEW.
    "caption_says_generated": _made("context", WEAK, "agreed: context, weak"),
    "generator_sides": _made("context", SLIGHT, "agreed: context, weak; icons have these sides too"),
    # Whether an identifiable person is shown.
    "face_large": _shown("face", 5.0, "our judgement: a sure face of FACE_LARGE of the picture or more"),
    "face_medium": _shown("face", 4.0, "our judgement: a sure face of FACE_MEDIUM of the picture or more"),
    "face_small": _shown("face", WEAK, "our judgement: a smaller one is hard to recognise"),
    "face_unsure": _shown("face", WEAK, "of 470 drawings of no person 40 pass at 0.5, one at FACE_SURE (quality.scorers.faces)"),
    "name_in_caption": _shown("name", 3.0, "our judgement: captions name the absent too (a house, a book)"),
}

PRIOR: Final[dict[Score, float]] = {
    "synthetic": -3.0,  # log odds: 5 %, our judgement. What no evidence leaves; it reads "no evidence", never "real"
    "likeness": -3.0,  # log odds: 5 %, our judgement
}

PROBE_MOST: Final = 3.5  # of the learned probe's ratio: enough for review by itself. Never below 0: it clears nothing
RAISES_TO_REVIEW: Final = frozenset({"probe", "context"})  # groups that raise a band to review and no further, alone or together

# Bands by `synthetic`, inclusive. Even odds are a person's to judge; our judgement.
LOW, REVIEW, HIGH = 0.1, 0.5, 0.9
SHOWS_A_PERSON: Final = 0.5  # likeness or enablement from which `none` becomes `low`; they never do more without synthetic evidence
HELPS_TO_FAKE: Final = 0.8  # enablement from which `review` becomes `high`: one named, large, clear face; our judgement

# Shares of the picture's area, our judgement: a face of a fifth of the side is 4 %. FACE_SURE: see face_unsure.
FACE_LARGE, FACE_MEDIUM, FACE_SURE = 0.05, 0.01, 0.7
FACE_PIXELS: Final = (
    128.0  # side of a face that a model can learn from: an eighth of the 1024 that image models are trained at; our judgement
)
UNNAMED: Final = 0.5  # factor of enablement without a name to prompt by; our judgement

CAMERA_FIELDS: Final = 3  # of evidence.camera_fields, with make and model; our judgement
GENERATED_TYPES: Final = (
    frozenset(  # IPTC's digital source types that a generative model had part in (cv.iptc.org/newscodes/digitalsourcetype)
        {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"}
    )
)
CAPTURED_TYPES: Final = frozenset({"digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print"})
GENERATOR_SIDES: Final = frozenset({512, 768, 1024})  # both sides
# A caption that says so, in English or Korean; our list. For captions that are normalised (NFKC, case-folded, one space).
SAYS_GENERATED: Final = (
    r"\b(?:ai|a\.i\.)[ -]?(?:generated|made|created|art|image|artwork)\b|\bgenerated (?:by|with|using) (?:an? )?(?:ai|a\.i\.|neural|diffusion)\b"
    r"|\bmidjourney\b|\bstable diffusion\b|\bdall[·. -]?e\b|\bdeep ?fakes?\b|\bface[ -]?swap(?:s|ped)?\b"
    r"|딥 ?페이크|\bai ?(?:로|가)? ?(?:생성|그린|만든)|인공 ?지능(?:으로|이|가)? ?(?:생성|그린|만든)|페이스 ?스왑"
)
