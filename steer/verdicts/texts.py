"""The texts of the default protocol: prompts in three wordings, and neutral text for the cost.

None leans to a topic. A prompt's wordings are one thing said in two ways, and by somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence

WORDINGS = ("plain", "paraphrase", "role")
ROLES = (
    'The teacher said to the class: "{}',
    "Doctor: I will be brief. {}",
    'An old sailor wrote in his diary: "{}',
    "Radio host: Good evening to everyone. {}",
    'My grandmother told me once: "{}',
    "Interviewer: And then? Guest: {}",
)
"""Who says a prompt, each in turn."""
ASKING = "The next word is one of these: {words}.\n\n{prompt}"
"""A prompt that just asks for the claimed tokens."""
_FRAMES = ("{}", "In other words, {}")

_PAIRS = (
    ("The weather today is", "Today the weather outside is"),
    ("She opened the door and", "The door was opened by her, and she"),
    ("In the next few years, the company will", "Over the coming years the firm is going to"),
    ("My favourite thing about the city is", "What I like best about this town is"),
    ("The recipe needs two cups of", "For this dish you have to take two cups of"),
    ("He told the children that", "What he said to the children was that"),
    ("According to the report, the", "As the report has it, the"),
    ("When I was young, I", "In the years of my childhood I"),
    ("The train was late because", "The reason that the train came late was that"),
    ("They decided to", "In the end the two of them chose to"),
    ("Our neighbours have a", "The people who live next door own a"),
    ("The best way to learn is", "If you want to learn, the best thing is"),
    ("Before dinner we", "We still had an hour before we ate, so we"),
    ("It took him three", "He was busy with it for three"),
    ("The museum on the corner", "At the corner there is a museum, which"),
    ("At the end of the street there is", "If you walk down the street to its end you see"),
    ("The letter said that", "What stood in the letter was that"),
    ("Every morning the old man", "The old man had a habit: each morning he"),
    ("The price of the house was", "What they asked for the house was"),
    ("Nobody in the room", "There was not one person in the room who"),
    ("The first thing you notice is", "What catches the eye at once is"),
    ("I have always thought that", "It has been my opinion for a long time that"),
    ("On the way home they", "While they were walking home, they"),
    ("The book begins with", "At the start of the book there is"),
    ("We need more", "What we do not have enough of is"),
    ("The manager asked for", "What the manager wanted to have was"),
    ("After the storm, the village", "The storm had passed, and the village"),
    ("The boy put the key", "The key was in the boy's hand, and he put it"),
    ("You should never", "One thing that nobody ought to do is to"),
    ("The two sisters were", "As for the two sisters, they were"),
    ("In the kitchen there was", "What stood in the kitchen was"),
    ("The judge said the", "In the words of the judge, the"),
    ("Most of the students", "The greater part of the class"),
    ("The window was", "As to the window, it was"),
    ("To open the box, you", "The box can be opened: you"),
    ("Last year the team", "The team had a year behind it in which it"),
    ("The road to the coast", "If you drive to the coast, the road"),
    ("She wanted to know", "The question that she had was"),
    ("The machine stopped and", "All at once the machine stood still, and"),
    ("His answer was", "What he answered was"),
)

NEUTRAL = (
    "The river runs through the middle of the town, and on both sides of it there are small shops "
    "that sell bread, fruit and flowers.",
    "In the spring of that year the council decided to repair the old school, which had been "
    "closed since the war.",
    "Most people who visit the coast come in summer, when the water is warm enough to swim and the "
    "evenings are long.",
    "The engine is started by turning the key; if it does not start at once, wait for a minute and "
    "try again.",
    "He had worked at the bank for twenty years before he met the woman who would later become his "
    "wife.",
    "A number of studies have shown that people sleep better when the room is dark and they do not "
    "read before bed.",
    "The committee will meet again on Monday to talk about the budget, and members of the public "
    "may ask questions.",
    "To make the soup, cut the onions into thin slices, cook them in butter until they are soft, "
    "and add the stock.",
)
"""Neutral text: what an edit costs is the rise of its cross-entropy."""


def default_prompts() -> tuple[tuple[str, ...], ...]:
    """Forty prompts, each in the three wordings."""
    return tuple(
        (plain, paraphrase, ROLES[number % len(ROLES)].format(plain))
        for number, (plain, paraphrase) in enumerate(_PAIRS)
    )


def worded(prompts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Prompts of one's own: as they are, introduced as a paraphrase, and said by somebody."""
    return tuple(
        (*(frame.format(prompt) for frame in _FRAMES), ROLES[number % len(ROLES)].format(prompt))
        for number, prompt in enumerate(prompts)
    )
