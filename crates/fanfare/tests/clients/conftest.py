"""What the tests in Python begin with."""

import pytest

from hub import Hub


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.kill()
