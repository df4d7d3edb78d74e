"""The kit is tested as the recipes are: real connections, any ensemble, nothing left running."""

from tests.recipes.conftest import expire, pytest_pyfunc_call

__all__ = ["expire", "pytest_pyfunc_call"]
