"""The Triton kernel: its cases under Triton's interpreter on the CPU, again on a GPU, and its compiled code."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA builds only", exc_type=ImportError)

CASES = Path(__file__).with_name("cuda_kernel_cases.py")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize(
    "interpret",
    [pytest.param("1", id="interpreter"), pytest.param("0", id="gpu", marks=[pytest.mark.gpu, NO_GPU])],
)
def test_every_case(interpret: str, tmp_path: Path) -> None:
    """In a process of its own, since Triton reads the variable when a kernel is defined."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    environment = os.environ | {"TRITON_INTERPRET": interpret, "TRITON_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(command, env=environment, cwd=CASES.parent, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing")
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("_simulate", {"BIASED": True}),
        ("_simulate", {"BIASED": False}),
        ("_slope", {}),
        ("_backpropagate", {"TIMING": True}),
        ("_backpropagate", {"TIMING": False}),
    ],
)
def test_compiled_code_fuses_no_multiply_add(
    name: str, flags: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling for a GPU needs none; the interpreter accepts kernels that do not compile."""
    from snnrun.kernels import cuda

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(cuda, name)
    constants: dict[str, Any] = flags | {"BLOCK": cuda.BLOCK}
    types = {"steps": "i32", "n": "i32"} | dict.fromkeys(constants, "constexpr")
    types |= {name: "fp32" for name in kernel.arg_names if name.startswith(("alpha", "beta", "min"))}
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, constants)
    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    ptx = triton.compile(source, target=target, options=cuda.OPTIONS).asm["ptx"]
    assert not re.findall(r"\bfma\.", ptx)
    assert "cp.async" in ptx  # loads of coming steps are under way
