from chaoskit.runtime.clock import utc


def test_a_stamp_is_in_utc_and_cut_off():
    """Stamps of all machines can be compared, and none is later than its moment."""
    assert utc(0.0) == "1970-01-01T00:00:00.000Z"
    assert utc(1_700_000_000.9999) == "2023-11-14T22:13:20.999Z"
    assert utc(1_700_000_000.5, 6) == "2023-11-14T22:13:20.500000Z"
