"""What is kept for those who ask again, and what it weighs."""

from kusciajob.recent import Recent


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    recent: Recent[str, int] = Recent(3)
    for number, key in enumerate("abc"):
        recent.put(key, number, weight=1)
    assert recent.get("a") == 0
    recent.put("d", 3, weight=1)
    assert [recent.get(key) for key in "abcd"] == [0, None, 2, 3]


def test_a_heavy_value_takes_the_place_of_many_and_one_too_heavy_is_not_kept() -> None:
    recent: Recent[str, int] = Recent(3)
    for key in "abc":
        recent.put(key, 0, weight=1)
    recent.put("heavy", 1, weight=2)
    assert [recent.get(key) for key in ("a", "b", "c", "heavy")] == [None, None, 0, 1]
    recent.put("too heavy", 2, weight=4)
    assert [recent.get(key) for key in ("c", "heavy", "too heavy")] == [0, 1, None]
    recent.put("light", 3, weight=3)
    assert recent.get("light") == 3


def test_what_is_put_again_or_dropped_weighs_no_more() -> None:
    recent: Recent[str, int] = Recent(2)
    for number in range(10):
        recent.put("a", number, weight=2)
    assert recent.get("a") == 9
    recent.drop("a")
    recent.drop("a")
    recent.put("b", 0, weight=1)
    recent.put("c", 0, weight=1)
    assert [recent.get(key) for key in "abc"] == [None, 0, 0]
