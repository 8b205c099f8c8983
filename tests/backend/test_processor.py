"""What is fast on a processor, by features that are made up here; and one measurement."""

import json
import subprocess

import pytest

from fashion.backend import processor

X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 avx512f {}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"
find_processor = processor.find_processor.__wrapped__  # which remembers nothing


@pytest.fixture
def features(monkeypatch, tmp_path):
    """Make this machine one with another ``/proc/cpuinfo``, without a GPU."""
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "processor_name", lambda: "Some CPU")
    monkeypatch.setattr(processor, "JAX_GPU_PACKAGES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return (tmp_path / "cpuinfo").write_text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512_bf16", (True, "with avx512_bf16")),
        ("avx512_bf16 amx_bf16", (True, "with amx_bf16")),
        ("avx512_vnni", (False, "without amx_bf16 and avx512_bf16")),
    ],
)
def test_an_x86_processor_is_known_by_its_features(features, monkeypatch, flags, expected):
    features(X86.format(flags))
    monkeypatch.setattr(subprocess, "run", None)  # nothing is measured
    assert find_processor() == ("Some CPU", False, *expected)


@pytest.mark.process
def test_another_processor_is_measured_once(features, monkeypatch, tmp_path):
    features(ARM)
    first = find_processor()
    (gain,) = json.loads((tmp_path / "fashion" / "bfloat16.json").read_text()).values()
    assert 0.01 < gain < 100
    assert first == ("Some CPU", False, gain >= processor.MIN_GAIN, f"on which bfloat16 is {gain:.1f} times as fast")
    monkeypatch.setattr(subprocess, "run", None)
    assert find_processor() == first


@pytest.mark.process
def test_a_processor_that_cannot_be_measured_computes_in_float32(features, monkeypatch, tmp_path):
    features(ARM)
    monkeypatch.setattr(processor, "MEASURE", "raise SystemExit('no TensorFlow')")
    assert find_processor() == ("Some CPU", False, False, "on which bfloat16 could not be measured")
    assert not (tmp_path / "fashion").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("NVIDIA H100 80GB HBM3, 9.0\nNVIDIA H100 80GB HBM3, 9.0\n", ("NVIDIA H100 80GB HBM3", True, True, "9.0")),
        ("Tesla V100-SXM2-16GB, 7.0\n", ("Tesla V100-SXM2-16GB", True, False, "7.0")),
        ("No devices were found\n", None),
    ],
)
def test_a_gpu_is_known_by_its_compute_capability(features, monkeypatch, tmp_path, listed, expected):
    features(X86.format(""))
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert not find_processor().is_gpu  # JAX is not installed for it
    monkeypatch.setattr(processor, "JAX_GPU_PACKAGES", ("json",))
    found = find_processor()
    assert found == ((*expected[:3], f"with compute capability {expected[3]}") if expected else found)
    assert found.is_gpu == bool(expected)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not find_processor().is_gpu
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not find_processor().is_gpu
