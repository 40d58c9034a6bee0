"""Tables fit the terminal: words are whole, columns are folded or left out."""

import pytest

from console.tables import add, show, table


def printed(capsys, monkeypatch, rows, width):
    monkeypatch.setenv("COLUMNS", str(width))
    show(rows)
    return capsys.readouterr().out.splitlines()


def guardrails(**options):
    rows = table("guardrail", "half by", "units", "why", right=("units",), **options)
    add(rows, "cancel_success_rate (three_step)", "12 d 18 h", "10,667", "it closes too late")
    add(rows, "satisfaction (three_step)", "-", "", "")
    return rows


@pytest.mark.parametrize("width", [53, 60, 70, 80, 120])
def test_no_word_is_broken_while_there_is_room_for_each(capsys, monkeypatch, width):
    lines = printed(capsys, monkeypatch, guardrails(), width)
    assert max(len(line.rstrip()) for line in lines) <= width
    words = " ".join(lines).split()
    for word in ("cancel_success_rate", "(three_step)", "10,667", "closes", "guardrail"):
        assert word in words


def test_whole_cells_stay_on_one_line_while_others_are_folded(capsys, monkeypatch):
    folded = printed(capsys, monkeypatch, guardrails(), 46)
    assert not any("12 d 18 h" in line for line in folded)
    whole = printed(capsys, monkeypatch, guardrails(whole=("half by",)), 52)
    assert any("12 d 18 h" in line for line in whole)


def test_a_column_is_left_out_only_where_words_would_break(capsys, monkeypatch):
    wide = printed(capsys, monkeypatch, guardrails(drop=("units", "why")), 53)
    assert "units" in wide[0]
    narrow = printed(capsys, monkeypatch, guardrails(drop=("units", "why")), 40)
    assert "units" not in " ".join(narrow)
    assert "why" in narrow[0] + narrow[1]


def test_what_does_not_fit_at_all_is_folded_and_never_cut(capsys, monkeypatch):
    rows = table("name")
    add(rows, "[bold]" + "x" * 60)
    lines = printed(capsys, monkeypatch, rows, 20)
    assert "".join(line.strip() for line in lines) == "name[bold]" + "x" * 60
