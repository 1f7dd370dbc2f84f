"""Neutral text that forecasts are fitted on: of many kinds, none about one thing."""

NEUTRAL = (
    "The council voted on Thursday to repair the two bridges before winter, and the work will be "
    "paid for by the county.",
    "She put the letter back into the drawer, turned off the lamp and stood for a while at the "
    "window.",
    "To replace the filter, first turn off the water, then remove the four screws and lift the "
    "cover.",
    '"I don\'t think he is coming," said Tom. "We have been waiting for an hour, and it is getting '
    'dark."',
    "Hi all, the meeting has been moved to room 12; please send me your notes by Friday, and tell "
    "me who can't be there.",
    "In a study of 400 adults, those who slept less than six hours made more errors in the second "
    "test than in the first.",
    "def total(items):\n    result = 0\n    for item in items:\n        result += item.price\n    "
    "return result\n",
    "Our fathers came to this land with little more than their hands, and we owe to them all that "
    "we have become.",
    "harbour (noun): a part of a sea or lake next to the land where ships can be tied up and stay "
    "out of the wind",
    "The team lost its first three games, but since the new coach arrived it has won five in a row "
    "and is now second.",
    "Prices rose by two per cent last year, which was less than most banks had expected at the "
    "beginning of it.",
    "You can see the whole valley from the top of the hill. Bring good shoes, some water and a "
    "warm coat.",
)
