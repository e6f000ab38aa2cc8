import gc

from asr.collector import collection_paused


def test_collection_goes_on_as_before() -> None:
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled(), "the outer one still holds"
    assert gc.isenabled()


def test_collection_goes_on_after_an_error() -> None:
    try:
        with collection_paused():
            raise KeyError
    except KeyError:
        assert gc.isenabled()
    else:
        raise AssertionError
