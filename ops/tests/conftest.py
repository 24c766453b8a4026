"""What several files of tests need, made once."""

import pytest
import support


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The Debian package."""
    return support.build(tmp_path_factory.mktemp("package"))
