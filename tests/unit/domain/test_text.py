"""Slugs, names and suggestions."""

import difflib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text import MAX_SLUG_CHARS, Suggester, quote, read_name, slugify


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Enterprise lead search", "enterprise-lead-search"),
        ("  Enterprise -- Lead_Search! ", "enterprise-lead-search"),
        ("Übergrößen für Straße", "ubergrossen-fur-strasse"),
        ("🚀 Leads", "leads"),
        ("Leads 2026/Q1", "leads-2026-q1"),
    ],
)
def test_a_slug_reads_like_its_name(name: str, slug: str):
    assert slugify(name) == slug


@given(st.text())
def test_every_name_has_a_short_plain_slug(name: str):
    slug = slugify(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= MAX_SLUG_CHARS


@pytest.mark.parametrize(
    ("one", "other"),
    [("🚀", "🎯"), ("リード", "検索"), ("x" * 80, "x" * 81), ("Лиды 1", "Клиенты 1")],
)
def test_names_that_lose_letters_keep_different_slugs(one: str, other: str):
    assert slugify(one) != slugify(other)


@given(st.text(min_size=1, max_size=80))
def test_a_name_that_is_taken_stays_as_it_is_when_read_again(text: str):
    try:
        name = read_name(text, max_chars=80)
    except ValueError:
        return
    assert read_name(name, max_chars=80) == name


@pytest.mark.parametrize("name", ["", " ", "\u200b", "a\x07", "a\u2028b", "a\ud800", "\u202ea"])
def test_what_people_cannot_see_is_no_name(name: str):
    with pytest.raises(ValueError, match=r"blank|control"):
        read_name(name, max_chars=80)


@pytest.mark.parametrize("name", ["🚀", "👩‍🔬 Analyst", "リード", "x", "🇩🇪", "1️⃣"])
def test_emoji_and_every_script_make_names(name: str):
    assert read_name(name, max_chars=80) == name


def test_a_quoted_name_is_cut_and_cleaned():
    assert quote("a\x00" + "b" * 100, max_chars=5) == "`a�bb…`"


def test_a_word_without_a_near_name_gets_no_suggestion():
    assert Suggester(["analyst"]).nearest("zzz") is None


def test_a_suggester_stops_comparing_but_still_ignores_case():
    suggester = Suggester(["analyst"], max_searches=1)
    assert suggester.nearest("analist") == "analyst"
    assert suggester.nearest("analysd") is None
    assert suggester.nearest("ANALYST") == "analyst"


@given(
    st.text("abc d", max_size=8), st.lists(st.text("abc d", min_size=1, max_size=8), max_size=15)
)
def test_the_quick_comparison_leaves_out_no_name_that_the_careful_one_would_find(word, known):
    keys = dict.fromkeys(name.strip() for name in known)
    found = Suggester(keys).nearest(word)
    best = difflib.get_close_matches(word.strip(), keys, n=1, cutoff=0.6)
    likeness = difflib.SequenceMatcher(None, found or "", word.strip()).ratio()
    assert (found is None) == (not best)
    if best:
        assert likeness >= difflib.SequenceMatcher(None, best[0], word.strip()).ratio() - 0.1


def test_names_of_any_length_are_compared_by_their_beginnings():
    known = ["x" * 100_000, "employees" + "y" * 100_000]
    assert Suggester(known).nearest("employes" + "y" * 100) == known[1]
