"""LAION's heads: the published layout, computed by torch and by us; what does not fit is refused. Weights are random: no figure of theirs."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch

from quality.scorers.batch import PairBatch
from quality.scorers.nsfw import Nsfw
from quality.scorers.nsfw_head import HeadError, check_fits, read_head
from tests.scoring import drawn_pairs

SIZES = {512: (512, 32, 32, 1), 768: (768, 64, 512, 256, 1)}
EMBEDDING = "ViT-B-32/openai@12345678;open_clip side512;torch-f32;1"


def state_of(numbers: int) -> dict[str, torch.Tensor]:
    """As LAION's convert_heads_to_pytorch.py names it."""
    generator = torch.Generator().manual_seed(numbers)
    sizes = SIZES[numbers]
    state = {
        "norm.mean": torch.randn(numbers, generator=generator) / 30,
        "norm.variance": torch.rand(numbers, generator=generator) / 500 + 1e-4,
    }
    for number, (into, out) in enumerate(pairwise(sizes), 1):
        state[f"linear_{number}.weight"] = torch.randn(out, into, generator=generator) / into**0.5
        state[f"linear_{number}.bias"] = torch.randn(out, generator=generator) / 10
    return state


def by_torch(state: dict[str, torch.Tensor], embeddings: torch.Tensor) -> np.ndarray:
    values = (embeddings - state["norm.mean"]) / (state["norm.variance"].sqrt() + 1e-10)
    last = (len(state) - 2) // 2
    for number in range(1, last + 1):
        values = torch.nn.functional.linear(values, state[f"linear_{number}.weight"], state[f"linear_{number}.bias"])
        values = torch.sigmoid(values) if number == last else torch.relu(values)
    return values[:, 0].numpy()


@pytest.fixture(params=SIZES)
def numbers(request):
    return request.param


def saved(path, state):
    torch.save(state, path)
    return path


def test_equals_torch(numbers, tmp_path):
    state = state_of(numbers)
    embeddings = torch.nn.functional.normalize(torch.randn(20, numbers, generator=torch.Generator().manual_seed(1)))
    found = read_head(saved(tmp_path / "head.pth", state))(embeddings.double().numpy())
    assert found == pytest.approx(by_torch(state, embeddings), abs=1e-5) and found.std() > 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("norm.mean"), "not LAION's head"),
        (lambda state: state.update({"layers.0.weight": torch.zeros(2, 2)}), "not LAION's head"),
        (lambda state: state.update({"linear_2.weight": torch.zeros(32, 31)}), "do not fit"),
        (lambda state: state.update({"norm.variance": torch.ones(3)}), "do not fit"),
    ],
)
def test_other_weights_are_refused(tmp_path, change, message):
    state = state_of(512)
    change(state)
    with pytest.raises(HeadError, match=message):
        read_head(saved(tmp_path / "head.pth", state))


def test_what_is_no_head_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("junk")
    for path, message in ((tmp_path / "text.pth", "not LAION's head"), (tmp_path / "none.pth", "no such file"), (tmp_path, "TensorFlow")):
        with pytest.raises(HeadError, match=message):
            read_head(path)
    with pytest.raises(HeadError, match="not LAION's head"):
        read_head(saved(tmp_path / "list.pth", [torch.zeros(1)]))


@pytest.mark.parametrize(
    ("model", "fits"),
    [
        ("ViT-B-32/openai", True), ("ViT-B-32-quickgelu/openai", True), ("ViT-B-32/laion2b_s34b_b79k", False), ("ViT-L-14/openai", False),
        ("pigment-embedded", False),
    ],
)  # fmt: skip
def test_a_head_serves_the_weights_it_was_trained_on(tmp_path, model, fits):
    path = saved(tmp_path / "head.pth", state_of(512))
    if fits:
        check_fits(path, read_head(path), model)
    else:
        with pytest.raises(HeadError, match=f"trained on ViT-B-32/openai, and the embeddings here are of {model}"):
            check_fits(path, read_head(path), model)


def test_columns_and_their_nulls(tmp_path):
    path = saved(tmp_path / "head.pth", state_of(512))
    pairs = [*drawn_pairs()[:2], ("", b"junk"), ("", None)]
    generator = np.random.Generator(np.random.PCG64(2))
    embeddings = [list(generator.normal(size=512) / 512**0.5) for _ in range(3)]
    batch = PairBatch(*zip(*pairs, strict=True))
    batch.add_columns({"embed.image": pa.array([embeddings[0], None, embeddings[2], None], pa.list_(pa.float16()))})
    scorer = Nsfw(head=path, embedding=EMBEDDING)
    scorer.load()
    rows = scorer.score(batch).to_pylist()
    expected = read_head(path)(np.float16(embeddings).astype(np.float64))
    assert rows[0]["clip"] == pytest.approx(expected[0], abs=1e-4) and rows[2]["clip"] == pytest.approx(expected[2], abs=1e-4)
    assert rows[0]["disagreement"] == pytest.approx(abs(rows[0]["open_nsfw"] - rows[0]["clip"]), abs=2e-4)
    assert (rows[1]["clip"], rows[1]["disagreement"]) == (None, None) and rows[1]["open_nsfw"] is not None
    assert (rows[2]["open_nsfw"], rows[2]["disagreement"]) == (None, None)
    assert rows[3] == {"open_nsfw": None, "clip": None, "disagreement": None}
    assert scorer.needs == ("embed.image",) and Nsfw().needs == ()


def test_the_version_names_head_and_embeddings(tmp_path):
    one, two = (
        saved(tmp_path / f"{number}.pth", state)
        for number, state in enumerate((state_of(512), state_of(512) | {"norm.mean": torch.zeros(512)}))
    )
    versions = {Nsfw().version, Nsfw(head=one, embedding=EMBEDDING).version, Nsfw(head=two, embedding=EMBEDDING).version}
    versions.add(Nsfw(head=one, embedding=EMBEDDING.replace("12345678", "87654321")).version)
    assert len(versions) == 4 and all(version.startswith("open-nsfw") for version in versions)
    assert "open-nsfw+head-" in Nsfw(head=one, embedding=EMBEDDING).version
    with pytest.raises(HeadError, match="needs the scorer embed"):
        Nsfw(head=one)
    saved(one, state_of(512) | {"norm.mean": torch.ones(512)})
    scorer = Nsfw(head=two, embedding=EMBEDDING)
    saved(two, state_of(512))
    with pytest.raises(HeadError, match="changed since the job began"):
        scorer.load()
