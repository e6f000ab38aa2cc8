"""Sentences of everyday English from a small grammar of our own.

A rule is a name and its alternatives, all equally likely; `<name>` stands for a part made by that
rule. A trailing `?` asks for a rising voice; it is spoken, not written. The grammar has about 370
words and hundreds of millions of sentences. No two of its words sound alike (no "two" beside "to"):
without a language model only the sound can tell a recognizer how a word is spelt.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MIN_WORDS = 3
MAX_WORDS = 9

_RULES: Mapping[str, str] = {
    "sentence": """<she> <went> <to_place> <when> | <she> <went> <to_place> <when>
        | <she> <bought> <a_thing> <when> | <she> <bought> <a_thing> <at_place>
        | <the_thing> <is> <at_furniture> | <the_thing> <is> <state>
        | <the_things> are <at_furniture> | <the_things> are <state>
        | there are <number> <things> <at_furniture> | there's <a_thing> <at_furniture>
        | <she> <felt> <feeling> <when> | <she> <felt> very <feeling> <when>
        | it was <weather> <when> | it's <weather> <at_place> today
        | <when> it was <weather> <at_place> | please <do> <soon> | <do> before <event>
        | let's <do> <at_place> <soon> | could you <do> <soon> ? | did <person> <do> <when> ?
        | why did <person> <do> ? | where did you put <the_thing> ? | have you seen <the_thing> ?
        | how many <things> do we need ? | can you see <the_animal> <at_place> ?
        | is <the_thing> <at_furniture> ? | <we> <want> to <do> <soon>
        | <we> <want> to <do> <at_place> | <we> can't find <the_thing>
        | <we> don't have any <food> | <she> always <does> <at_time>
        | <she> never <does> <at_place> | everybody <does> <at_time>
        | i think <the_thing> <is> <state> | i think <person> <went> <to_place>
        | <she> said it was <weather> <when> | <she> said <the_thing> was <state>
        | <the_animal> <moved> <at_place> | <when> <the_animal> <moved> <at_place>
        | <the_animal> <felt> <feeling> <when> | <she> <gave> us <a_thing> <when>
        | <she> drank a <vessel> of <drink> | i'd like a <vessel> of <drink>
        | we ate <food> and <food> <when> | <she> cooked <food> for <meal>
        | <she> forgot <the_thing> <at_place> | the <transport> <leaves> at <hour> o'clock
        | the <transport> was <late> <when> | the <transport> <leaves> <at_time>
        | i'm <going> <to_place> <soon> | we're <going> <to_place> by <transport>
        | she's <going> <to_place> with <person> | he's been <feeling> since <day>
        | <she> has <number> <things> | <person> is <older> than <person>
        | <the_thing> is <bigger> than <the_thing> | if it's <weather> we'll <do> <at_place>
        | <she> will <do> <soon> | <she> won't <do> <soon> | don't <do> without <person>
        | nobody <went> <to_place> <when>""",
    "person": """my <relative> | your <relative> | his <relative> | her <relative> | the <worker>
        | the <worker> | the <age> <human> | our <worker> | <name>""",
    "she": "<person> | <person> | <person> | <person> | she | he",
    "relative": "mother | father | brother | sister | daughter | husband | family",
    "worker": "doctor | teacher | farmer | driver | nurse | baker | captain | student",
    "age": "young | old | tall | little | famous",
    "human": "man | woman | girl | child | lady",
    "name": "david | robert | laura | peter | michael",
    "we": "we | they | i | you",
    "want": "want | hope | have | need | plan",
    "went": "walked | drove | hurried | came back | moved | ran",
    "going": "going | driving | walking | moving | coming back",
    "to_place": "to the <place> | to a <kind> <place> | to the <kind> <place>",
    "at_place": """at the <place> | near the <place> | behind the <place>
        | in front of the <place> | outside the <place>""",
    "place": """market | station | school | hospital | library | village | river | park | beach
        | bridge | church | hotel | farm | forest | city""",
    "kind": "small | large | new | busy | empty | beautiful",
    "when": """yesterday | last <unit> | this <daypart> | on <day> | in <month>
        | <number> days ago | after <meal> | during the <unit> | a long time ago""",
    "soon": """today | tomorrow | tonight | next <unit> | after <meal> | in <number> minutes
        | on <day>""",
    "at_time": """on <day> | in the <daypart> | after <meal> | before <meal> | every <unit>
        | in <month>""",
    "unit": "week | month | year | winter | summer | weekend",
    "daypart": "morning | afternoon | evening",
    "day": "monday | tuesday | wednesday | thursday | friday | saturday | sunday",
    "month": "january | april | august | october",
    "number": "three | five | six | seven | ten | twenty | thirty",
    "hour": "three | five | six | seven | ten",
    "meal": "breakfast | lunch | dinner",
    "event": "<meal> | the party | the game",
    "bought": "bought | found | lost | sold | wanted",
    "gave": "gave | showed | brought",
    "a_thing": "a <thing> | a <look> <thing> | a <colour> <thing> | another <thing>",
    "the_thing": """the <thing> | my <thing> | the <look> <thing> | your <colour> <thing>
        | the <colour> <thing> | her <thing>""",
    "the_things": """the <things> | those <things> | these <look> <things>
        | all the <colour> <things>""",
    "thing": """book | key | coat | hat | bag | cup | letter | picture | lamp | bottle | bicycle
        | box | ticket | umbrella | guitar | phone | radio | jacket""",
    "things": """books | keys | coats | bags | cups | letters | pictures | bottles | tickets
        | shoes | gloves""",
    "look": "big | small | heavy | cheap | broken | old | new | round | little",
    "colour": "red | green | yellow | black | white | brown | purple",
    "is": "is | was | isn't | wasn't | must be",
    "state": "dirty | broken | missing | ready | very heavy | very old | expensive | empty",
    "at_furniture": """on the <furniture> | under the <furniture> | behind the <furniture>
        | next to the <furniture> | on the <room> <furniture> | in the <room>
        | in the <look> <container>""",
    "furniture": "table | chair | bed | desk | sofa | window | door",
    "room": "kitchen | bedroom | garden | office",
    "container": "box | basket | bag",
    "food": """bread | cheese | soup | rice | fish | chicken | salt | fruit | cake | tomatoes
        | eggs""",
    "drink": "water | milk | coffee | orange juice",
    "vessel": "cup | glass | bottle",
    "felt": "was | felt | looked | seemed",
    "feeling": "happy | tired | hungry | angry | excited | thirsty | sick",
    "weather": "cold | warm | hot | cloudy | windy | sunny | dark | very cold | snowing",
    "do": """play <game> | cook <food> | watch television | visit <person> | swim
        | listen to music | eat <food> | drink <drink> | work | sleep | sing | dance
        | help <person> | leave | open the <furniture> | shut the <room> door | wash the <things>
        | bring us <a_thing> | turn off the <machine> | turn on the <machine> | clean the <room>
        | put <the_thing> <at_furniture> | call <person> | wait <at_place> | look at <the_thing>
        | give <the_thing> to <person> | ask <person>""",
    "machine": "light | radio | television",
    "does": """plays <game> | plays <game> | sleeps | works | watches television
        | listens to music | eats <food> | eats <food> | drinks <drink> | works | sleeps | sings
        | dances""",
    "game": "football | tennis | the piano | the guitar",
    "the_animal": "the <coat> <animal> | the <age> <animal> | our <animal>",
    "coat": "black | white | brown",
    "animal": "dog | cat | horse | bird | rabbit | mouse",
    "moved": "slept | jumped | stood | waited | sat | played",
    "transport": "train | bus | boat | taxi",
    "leaves": "arrives | stops here",
    "late": "late | early | full",
    "older": "older | younger | taller",
    "bigger": "bigger | smaller | better",
}


@dataclass(frozen=True)
class Sentence:
    """Words in lower case as they are written, and the punctuation that ends the spoken form."""

    text: str
    ending: str

    @property
    def spoken(self) -> str:
        return self.text + self.ending


def _parse(rules: Mapping[str, str]) -> dict[str, list[list[str]]]:
    return {
        name: [alternative.split() for alternative in body.split("|")]
        for name, body in rules.items()
    }


_GRAMMAR = _parse(_RULES)


def _expand(symbol: str, rng: random.Random) -> Iterator[str]:
    if not symbol.startswith("<"):
        yield symbol
        return
    alternatives = _GRAMMAR[symbol[1:-1]]
    # random() is the one method whose sequence Python promises to keep from release to release.
    for part in alternatives[int(rng.random() * len(alternatives))]:
        yield from _expand(part, rng)


def _with_articles(words: list[str]) -> list[str]:
    """`a` becomes `an` before a vowel (the grammar has no word such as "hour" or "useful")."""
    following = [*words[1:], ""]
    return [
        "an" if word == "a" and after[:1] in tuple("aeiou") else word
        for word, after in zip(words, following, strict=True)
    ]


def draw_sentence(rng: random.Random) -> Sentence:
    """One sentence of 3 to 9 words in which no content word is said twice."""
    while True:
        words = list(_expand("<sentence>", rng))
        ending = "."
        if words[-1] == "?":
            ending = words.pop()
        long_words = [word for word in words if len(word) > 3]
        if MIN_WORDS <= len(words) <= MAX_WORDS and len(set(long_words)) == len(long_words):
            return Sentence(" ".join(_with_articles(words)), ending)


def draw_distinct_sentences(count: int, rng: random.Random) -> list[Sentence]:
    """`count` sentences, no two with the same text, in the order drawn."""
    sentences: dict[str, Sentence] = {}
    while len(sentences) < count:
        sentence = draw_sentence(rng)
        sentences.setdefault(sentence.text, sentence)
    return list(sentences.values())


def vocabulary() -> frozenset[str]:
    """Every word that a sentence can contain."""
    words = {
        word
        for alternatives in _GRAMMAR.values()
        for alternative in alternatives
        for word in alternative
        if not word.startswith("<") and word != "?"
    }
    return frozenset(words | {"an"})
