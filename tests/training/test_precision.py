import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.training import fitting
from stemwise.training.precision import is_quick_in_bfloat16
from stemwise.training.setting import Setting

CPU = torch.device("cpu")


def test_quick_in_bfloat16_are_accelerators_and_processors_with_avx512():
    assert is_quick_in_bfloat16(torch.device("cuda"))
    instructions = torch.backends.cpu.get_cpu_capability()
    if instructions not in {"AVX2", "AVX512"}:
        pytest.skip(f"nothing is known of a processor with {instructions}")
    assert is_quick_in_bfloat16(CPU) is (instructions == "AVX512")


@pytest.mark.parametrize(("told", "quick", "slow"), [
    ("bf16-mixed", "bf16-mixed", "32-true"), ("16-mixed", "bf16-mixed", "32-true"),
    ("32-true", "32-true", "32-true"),
])  # fmt: skip
def test_a_slow_processor_trains_in_single_precision(tmp_path, monkeypatch, told, quick, slow):
    write_corpus(tmp_path, {"train": 1})
    bank = bank_of(tmp_path, RATE_HZ)
    recipe = small_recipe(COMPACT / "contrast.toml", f"precision={told!r}")
    for is_quick, wanted in ((True, quick), (False, slow)):
        monkeypatch.setattr(
            fitting, "is_quick_in_bfloat16", lambda device, is_quick=is_quick: is_quick
        )
        setting = Setting(bank, bank, "cpu", progress=False)
        trainer = fitting._trainer(recipe, recipe.contrastive, setting, tmp_path, [])
        assert trainer.precision == wanted
