"""The first run on a machine, which compiles the kernel, gives the same numbers as all later ones."""

from pathlib import Path

import pytest
from cli import rows, snnrun, timeless


@pytest.mark.slow
@pytest.mark.parametrize("model", ["model.layers=fc64-out", "model=conv"])
def test_a_process_that_compiles_gives_the_same_bits_as_one_that_finds_it_compiled(model: str, tmp_path: Path) -> None:
    options = ("debug=fast", "logger=none", "trainer.threads=1", "loss=spike_train", model)
    places = {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "SNNRUN_CACHE": str(tmp_path / "cache")}
    told = [snnrun(*options, f"hydra.run.dir={n}", cwd=tmp_path, check=True, **places).stdout for n in ("cold", "warm")]
    assert "compiling" in told[0]
    assert "compiling" not in told[1]
    cold, warm = ([timeless(row) for row in rows(tmp_path / name)] for name in ("cold", "warm"))
    assert cold == warm
