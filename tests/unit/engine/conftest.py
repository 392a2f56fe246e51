import pytest

from modelberth.core.digest import Digest
from modelberth.core.revision import Revision
from modelberth.engine.stopping import Stop


@pytest.fixture
def stop():
    return Stop()


@pytest.fixture
def revision():
    return Revision("minilm", Digest("0" * 64))
