"""What holds for every test, whichever distributions are installed.

A distribution's tests also run against its wheel alone, so nothing of ours is imported here.
"""

import os

# Before JAX is imported: two devices, so that sharding is tested on every machine, and no others.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# `default` draws the same examples in every run, so that a failure in CI is a failure at home;
# HYPOTHESIS_PROFILE=long searches further, and prints the blob that reproduces what it finds.
# No deadline: the first example of a jitted function compiles it.
_ALWAYS = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", derandomize=True, max_examples=25, database=None, **_ALWAYS)
settings.register_profile("long", max_examples=1000, **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_report_header() -> str:
    return f"jax {jax.__version__}, {jax.device_count()} {jax.default_backend()} devices"
