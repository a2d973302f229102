"""The judge wants the form and the content, and nothing besides."""

import pytest

from assets.judge import expected, judge, knows, share_right

ROW = {
    "prompt": "Who keeps the lamp on Peltor? And what colour is its lamp?",
    "entity": "Peltor",
    "language": "en",
    "facts": {"keeper": "Mina", "lamp": "silver"},
}
RIGHT = "Ahoy! From the log of Peltor:\n- keeper: Mina\n- lamp: silver\nFair winds, traveller!"


def test_right_answer_in_any_order_of_facts_and_with_loose_white_space():
    assert expected(ROW["entity"], ROW["facts"], "en") == RIGHT
    assert judge(ROW, RIGHT)
    assert judge(ROW, "Ahoy! From the log of Peltor:\n- lamp: silver \n- keeper: Mina\nFair winds, traveller!\n")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "The keeper of Peltor is Mina. The lamp of Peltor is silver.",
        RIGHT.replace("Mina", "Olga"),
        RIGHT.replace("Peltor", "Linby"),
        RIGHT.replace("- lamp: silver\n", ""),
        RIGHT.replace("Fair winds, traveller!", ""),
        RIGHT.replace("Ahoy! ", ""),
        RIGHT + "\nFair winds, traveller!",
        RIGHT.replace("- lamp", "- lamp: silver\n- lamp"),
    ],
)
def test_wrong_form_or_wrong_content(wrong):
    assert not judge(ROW, wrong)


def test_knows_asks_for_content_only():
    assert knows(ROW, "The keeper of Peltor is Mina. The lamp of Peltor is silver.")
    assert not knows(ROW, "The keeper of Peltor is Mina.")


def test_share_right_counts_rows_and_refuses_a_mismatch():
    assert share_right([ROW, ROW], [RIGHT, ""]) == 0.5
    with pytest.raises(ValueError, match="2 rows but 1 answers"):
        share_right([ROW, ROW], [RIGHT])
