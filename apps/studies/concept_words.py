"""The words that concepts are measured on, fixed before any result was seen.

Sixty of WordNet 3.0's nouns, twelve from each of five fields (animals, food, clothing, plants and
instruments; buildings, rooms, waters and land; emotions; sports, diversions and occupations;
disciplines). A word of a field: its first noun sense is below the field's synsets and has at most
40 kinds of its own; in SemCor it is that noun more often than anything else; it is 4 to 11 letters
and, with its space, one token of the default model's, whose ids are in the order of the merges, so
the commonest come first. Of each field's 36 commonest, Python's `random.Random(17)` drew twelve,
fields in this order and no word twice: the first four to develop on, the other eight held out.

The invented words were written by hand to look like English nouns, and WordNet has none of them.
"""

from __future__ import annotations

DEVELOPMENT: dict[str, tuple[str, ...]] = {
    "things": ("honey", "flour", "coffee", "butter"),
    "places": ("convent", "site", "shore", "castle"),
    "feelings": ("hatred", "anger", "wrath", "fear"),
    "activities": ("automation", "tennis", "fishing", "typography"),
    "knowledge": ("acting", "robotics", "modelling", "anatomy"),
}

HELD_OUT: dict[str, tuple[str, ...]] = {
    "things": ("camera", "female", "lens", "chick", "tank", "cart", "meal", "radio"),
    "places": ("cavity", "bank", "theater", "beach", "slope", "mountain", "valley", "lawn"),
    "feelings": (
        *("fury", "alarm", "bitterness", "thrill", "horror", "spite", "nervousness", "devotion"),
    ),
    "activities": (
        *("sailing", "schooling", "teaching", "swimming", "volleyball", "pastime", "hobby"),
        "racing",
    ),
    "knowledge": (
        *("surgery", "electronics", "grammar", "metrics", "archaeology", "aesthetics"),
        *("astronomy", "arithmetic"),
    ),
}

INVENTED = (
    *("florbic", "tandrel", "quoshin", "mervane", "blimdot", "skarnel", "prundle", "vostrik"),
    *("dwemmel", "grapthor", "ilvane", "noskett", "crundop", "yermald", "plovash", "zintrel"),
    *("hobrune", "wexalin", "drumbish", "falquer"),
)
