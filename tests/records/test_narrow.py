import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harness.records import narrow

NAMES = [f"network={network},regularizer={regularizer},seed={seed}" for network in ("mlp", "cnn")
         for regularizer in ("none", "batch_norm+dropout") for seed in range(3)]
TEXTS = st.text(st.sampled_from("ab1 _+-=,/é字"), max_size=60)


@given(TEXTS, st.integers(2, 50))
def test_no_line_is_wider_than_it_may_be(text, width):
    assert all(cell_len(line) <= width for line in narrow.wrapped(text, width))
    assert all(cell_len(line) <= width for line in narrow.paragraph(text, width, 2))
    assert cell_len(narrow.cut(text, width)) <= width


@given(TEXTS, st.integers(1, 50))
def test_where_every_word_fits_nothing_is_lost(text, more):
    width = narrow.narrowest(text) + more
    assert "".join("".join(narrow.wrapped(text, width)).split()) == "".join(text.split())


@pytest.mark.parametrize(("text", "width", "lines"), [
    ("batch_norm+dropout", 12, ["batch_norm+", "dropout"]),
    ("a batch_norm", 10, ["a", "batch_norm"]),
    ("lr=1e-5 +2.16", 7, ["lr=1e-5", "+2.16"]),
    ("+12.16 -0.001", 4, ["+12…", "-0.…"]),
    ("Fashion-MNIST", 9, ["Fashion-", "MNIST"]),
])
def test_words_break_after_separators_and_numbers_never(text, width, lines):
    assert narrow.wrapped(text, width) == lines


def test_names_leave_out_what_all_share():
    assert narrow.distinct(NAMES[:3]) == ("", ["seed=0", "seed=1", "seed=2"])
    assert narrow.distinct(NAMES[:1]) == ("", NAMES[:1])
    assert narrow.distinct(NAMES) == ("", NAMES)


def test_narrower_names_leave_their_words_to_the_header_and_then_their_middle():
    assert narrow.distinct(NAMES, 24)[0] == "network,regularizer,seed"
    assert narrow.distinct(NAMES, 24)[1][::5] == ["mlp,none,0", "mlp,batch_norm+dropout,2", "cnn,batch_norm+dropout,1"]
    assert narrow.distinct(NAMES, 14)[1][3:6] == ["mlp,batch_no…0", "mlp,batch_no…1", "mlp,batch_no…2"]


@pytest.mark.parametrize("width", [6, 12, 20, 40])
@pytest.mark.parametrize("names", [NAMES, [f"{'x' * 60}{number:02}{'y' * 60}" for number in range(12)],
                                   ["a=1", "a=1,b=2", "b=2"]], ids=["settings", "middles", "parts"])
def test_different_names_stay_different_and_fit(names, width):
    _, short = narrow.distinct(names, width)
    assert len(set(short)) == len(names)
    assert all(cell_len(name) <= width for name in short)


def test_labels_leave_out_common_beginnings_and_ends_of_whole_words():
    assert narrow.without_common(["mobilenet_v2_0.35", "mobilenet_v2_1.0"]) == ["…0.35", "…1.0"]
    assert narrow.without_common(["wide block, 0.1", "wide block, 0.15"]) == ["…0.1", "…0.15"]
    assert narrow.without_common(["none", "norm"]) == ["none", "norm"]
    assert narrow.without_common(["same_label"]) == ["same_label"]
