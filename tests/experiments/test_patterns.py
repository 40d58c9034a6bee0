"""Regular expressions of a file: every engine reads them alike, and none takes long."""

import random
import re
import time

import pytest

from experiments.patterns import MAX_PATTERN, MAX_VALUE, PatternError, compile_pattern, portable


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        (r"^3\.", r"^3\."),
        (r"\d+\.\d*?", r"[0-9]+\.[0-9]*"),
        (r"[\d\w.-]", r"[0-90-9A-Z_a-z.\-]"),
        (r"\D\W\S", "[^0-9][^0-9A-Z_a-z][^ ]"),
        ("(a|b)(?:c)", "(?:a|b)c"),
        ("a{2}b{2,}c{2,3}", "a{2}b{2,}c{2,3}"),
        (r"^(\.\d+)*$", r"^(?:\.[0-9]+)*$"),
        (r"}]", r"\}\]"),
        (r"[^\]\[]", r"[^\]\[]"),
        ("[a-z&~-]", r"[a-z\&\~\-]"),
        ("x|", "(?:x|)"),
    ],
)
def test_a_pattern_is_written_for_every_engine(pattern, written):
    assert portable(pattern) == written
    re.compile(written)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "is empty"),
        ("x" * (MAX_PATTERN + 1), "has 201 characters"),
        ("(?i)ios", "has a flag"),
        ("(?m:^a)", "has a flag"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        ("(?=a)b", "look-ahead"),
        ("(?!a)b", "look-ahead"),
        ("(?P<a>b)", "named group"),
        ("(?<a>b)", "named group"),
        ("(?P=a)", "back-reference"),
        (r"(a)\1", "back-reference"),
        (r"\k<a>", "back-reference"),
        (r"\ba", "word boundary"),
        (r"\Aa", r"`\A`"),
        (r"\p{L}", r"`\p`"),
        (r"\x41", "not known"),
        (r"\n", "not known"),
        (r"[\D]", "in a set"),
        ("a\\", "ends with"),
        ("*a", "nothing to repeat"),
        ("a**", "twice"),
        ("a*+", "twice"),
        ("a{2}{3}", "twice"),
        ("a{,3}", "no number"),
        ("a{101}", "times"),
        ("a{3,2}", "times"),
        ("^*", "repeats `^`"),
        ("[", "not closed"),
        ("[]a]", "empty set"),
        ("[z-a]", "makes no sense"),
        (r"[\d-z]", "makes no sense"),
        (r"[\s-z]", "makes no sense"),
        ("(", "not closed"),
        (")", "never opened"),
        ("(((((((((a)))))))))", "nests"),
        ("a\tb", "U+0009"),
        ("😀", "U+1F600"),
        ("(a+)+", "repeats something itself"),
        ("(a|a)*b", "begin alike"),
        ("(a|ab)+", "begin alike"),
        ("(a?)*", "may be empty"),
        ("(^a)*(a*)*", "may be empty"),
        ("^.*,.*,.*,x", "very long"),
        ("a?" * 20 + "a" * 20, "very long"),
        # few ways, and much to do in each
        (r"\w{2,9}((a\w{0,40}\wa*?|a{3}))?b{3}aa+", "very long"),
        ("^a{0,100}a{0,100}a{0,8}(?:(?:a|b)(?:a|c)){45}!", "very long"),
        ("[ab]*[ab]*$", "very long"),
        ("^a(a{0,100}a{0,100}a{0,100}!)?", "very long"),
        ("((a{10}){10}){100}", "too much"),
    ],
)
def test_what_engines_read_differently_or_slowly_is_refused_in_words(pattern, message):
    with pytest.raises(PatternError) as caught:
        portable(pattern)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        (r"iPhone \d+(,\d+)?$", "iPhone 14,2", "iPhone X"),
        (r"@(example|test)\.com$", "ann@test.com", "ann@test.com.org"),
        ("^/orders/[^/]+/cancel", "/orders/7/cancel", "/orders//cancel"),
        (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "ann+b@mail.co.uk", "ann@mail"),
        (r"^[^@]+@[^@]+\.[a-z]{2,}$", "ann@mail.de", "ann@mail.d"),
        (r".*\.example\.com$", "shop.example.com", "example.com"),
        ("foo.*bar", "a foo and a bar", "a bar and a foo"),
        (".*foo.*", "a foo b", "a fo b"),
        ("(foo|bar).*baz", "bar, baz", "baz, bar"),
        ("^.*foo.*bar", "a foo, a bar", "bar foo"),
        (r"\d+\.\d+", "v3.10", "v310"),
    ],
)
def test_what_people_write_is_accepted_and_means_what_it_says(pattern, fits, fits_not):
    matches = compile_pattern(pattern)
    assert matches(fits)
    assert not matches(fits_not)
    for text in (fits, fits_not):
        assert bool(re.search(portable(pattern), text)) is bool(re.search(pattern, text))


def random_pattern(rng, depth=0):
    pieces = ["a", "b", "[ab]", ".", r"\d", "[^a]", "ab", "^", "$", "x"]
    text = ""
    for _ in range(rng.randint(1, 5)):
        piece = rng.choice(pieces)
        if depth < 3 and rng.random() < 0.35:
            piece = f"({random_pattern(rng, depth + 1)})"
        if rng.random() < 0.2:
            piece = f"({piece}|{rng.choice(pieces)})"
        text += piece + rng.choice(["", "", "", "*", "+", "?", "{2}", "{1,3}", "*?"])
    return text


def test_no_accepted_pattern_is_slow_and_all_mean_what_python_means():
    rng = random.Random(3)
    accepted, slowest = 0, 0.0
    values = ["a" * MAX_VALUE, "ab" * (MAX_VALUE // 2), "a" * 255 + "!", "b" * 200, "", "ab1", "xx"]
    for _ in range(6000):
        pattern = random_pattern(rng)
        try:
            matches = compile_pattern(pattern)
        except PatternError:
            continue
        accepted += 1
        original = re.compile(pattern)
        for value in values:
            before = time.perf_counter()
            answer = matches(value)
            slowest = max(slowest, time.perf_counter() - before)
            if len(value) < 10:
                assert answer is (original.search(value) is not None), pattern
    assert accepted > 1000
    # the exponential ones would take longer than the age of the universe
    assert slowest < 1
