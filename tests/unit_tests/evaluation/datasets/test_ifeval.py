import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_darwin.errors import ConfigurationError, MissingDependencyError
from langchain_darwin.evaluation.datasets.ifeval import PartialScore, StrictAccuracy
from langchain_darwin.evaluation.datasets.prompts import Prompt
from langchain_darwin.rewards import as_reward

pytestmark = pytest.mark.skipif(not find_spec("if_verifiable"), reason="needs the extra `eval`")


def prompt(*instructions, text="Write something.", key="1"):
    names, kwargs = [name for name, _ in instructions], [kwargs for _, kwargs in instructions]
    return Prompt(key, (text,), {"instruction_id_list": names, "kwargs": kwargs})


def followed(instruction, kwargs, text):
    """Whether the text follows one instruction."""
    judge = PartialScore([prompt((instruction, kwargs))])
    return judge.followed([HumanMessage("Write something.")], AIMessage(text)) == (True,)


def needs_punkt():
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english")
    except LookupError:
        return pytest.mark.skip(reason="NLTK's punkt_tab is not installed")
    return ()


PUNKT = needs_punkt()
ENGLISH = "the weather is nice today and we walk along the river to the old town"


@pytest.mark.parametrize(
    ("instruction", "kwargs", "right", "wrong"),
    [
        ("punctuation:no_comma", {}, "One and two.", "One, two."),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", "one two three"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n\n***\n\nTwo.", "One.\n\nTwo."),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "sea"},
            "One.\n\nSea, two.",
            "Sea.\n\nTwo.",
        ),
        ("keywords:existence", {"keywords": ["sea", "sky"]}, "Sky and sea.", "Only the sea."),
        ("keywords:forbidden_words", {"forbidden_words": ["sea"]}, "The season.", "The sea."),
        (
            "keywords:frequency",
            {"keyword": "sea", "frequency": 2, "relation": "at least"},
            "Sea and sea.",
            "The sea.",
        ),
        (
            "keywords:letter_frequency",
            {"letter": "e", "let_frequency": 2, "let_relation": "less than"},
            "The sky",
            "The tree",
        ),
        (
            "keywords:letter_frequency",
            {"letter": "!", "let_frequency": 2, "let_relation": "at least"},
            "The sky! The sea!",
            "The sky! The sea tree",
        ),
        ("startend:end_checker", {"end_phrase": "Is that all?"}, "Yes. Is that all?", "Is that all? Yes."),
        ("startend:quotation", {}, '"Quoted."', 'Not "quoted".'),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two", "* one\n* two\n* three"),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a* and b"),
        ("detectable_format:title", {}, "<<A title>>\nText.", "A title\nText."),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', '{"a": 1'),
        ("detectable_format:constrained_response", {}, "My answer is yes.", "Yes."),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "Section", "num_sections": 2},
            "Section 1\nOne.\nSection 2\nTwo.",
            "Section 1\nOne.",
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name]"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hello.\n\nP.S. Bye.", "Hello. Bye."),
        ("combination:two_responses", {}, "One.\n******\nTwo.", "One.\nTwo."),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. Done.", "Done. Say it."),
        ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.capitalize()),
        ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
        ("language:response_language", {"language": "de"}, "Das Wetter ist heute schön und warm.", ENGLISH),
        pytest.param(
            "length_constraints:number_sentences",
            {"num_sentences": 2, "relation": "at least"},
            "Dr. Day came. He left.",
            "Dr. Day came and left.",
            marks=PUNKT,
        ),
        pytest.param(
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "less than"},
            "LOUD and calm.",
            "LOUD and CLEAR.",
            marks=PUNKT,
        ),
    ],
)
def test_a_text_that_follows_is_told_from_one_that_does_not(instruction, kwargs, right, wrong):
    assert followed(instruction, kwargs, right)
    assert not followed(instruction, kwargs, wrong)


NO_COMMA = ("punctuation:no_comma", {})
SHORT = ("length_constraints:number_words", {"num_words": 4, "relation": "less than"})
ASKED = [HumanMessage("Write something.")]
TEXTS = [AIMessage(text) for text in ("Short.", "One, two.", "One two three, four.", "", "  \n")]


def test_strict_accuracy_wants_every_instruction_followed():
    assert StrictAccuracy([prompt(NO_COMMA, SHORT)])(ASKED, TEXTS) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_partial_score_is_the_share_that_is_followed():
    assert PartialScore([prompt(NO_COMMA, SHORT)])(ASKED, TEXTS) == [1.0, 0.5, 0.0, 0.0, 0.0]


def test_scores_are_those_of_the_package():
    from if_verifiable import IFEvalSample, evaluate_output_for_sample

    instructions = [NO_COMMA, SHORT, ("startend:end_checker", {"end_phrase": "three"})]
    names, kwargs = zip(*instructions, strict=True)
    sample = IFEvalSample(1, "Write something.", list(names), list(kwargs))
    texts = ["one", "one two three", " three, \n", "one, two and three", "*three*"]
    theirs = [evaluate_output_for_sample("ifeval", sample, text)[1] for text in texts]
    responses = [AIMessage(text) for text in texts]
    assert StrictAccuracy([prompt(*instructions)])(ASKED, responses) == [scores.binary_strict for scores in theirs]
    assert PartialScore([prompt(*instructions)])(ASKED, responses) == [scores.partial_strict for scores in theirs]


def test_only_the_partial_score_judges_unfinished_text():
    strict, partial = as_reward(StrictAccuracy([prompt(NO_COMMA)])), as_reward(PartialScore([prompt(NO_COMMA)]))
    assert (strict.name, strict.partial) == ("StrictAccuracy", False)
    assert (partial.name, partial.partial) == ("PartialScore", True)


def test_the_prompt_is_found_by_what_the_human_said():
    judge = StrictAccuracy([prompt(NO_COMMA), prompt(SHORT, text="Be brief.", key="2")])
    text = [AIMessage("One, two.")]
    assert judge([SystemMessage("Be good."), HumanMessage(" Be brief.\n")], text) == [1.0]
    assert judge([SystemMessage("Be good."), HumanMessage("Write something.")], text) == [0.0]


def test_another_conversation_cannot_be_judged():
    with pytest.raises(ConfigurationError) as error:
        StrictAccuracy([prompt(NO_COMMA)])([HumanMessage("Who are you?")], TEXTS)
    assert str(error.value) == (
        "'Who are you?' is none of the 1 prompts that can be verified; ask one of them word for word,"
        " or judge with another reward"
    )


def test_a_set_without_instructions_is_refused():
    with pytest.raises(
        ConfigurationError, match="prompt '9' has no instruction_id_list; give prompts in IFEval's format"
    ):
        StrictAccuracy([Prompt("9", ("Why?",), {"prompt": "Why?"})])


def test_one_text_with_two_sets_of_instructions_is_refused():
    StrictAccuracy([prompt(NO_COMMA), prompt(NO_COMMA, key="2")])
    with pytest.raises(ConfigurationError, match="prompts '1' and '2' have one text and different instructions"):
        StrictAccuracy([prompt(NO_COMMA), prompt(SHORT, key="2")])


@pytest.mark.parametrize(
    ("instruction", "kwargs", "complaint"),
    [
        ("keywords:rhymes", {}, "prompt '1': 'keywords:rhymes' has no verifier; there are change_case:"),
        ("startend:end_checker", {}, r"prompt '1': startend:end_checker with {}: end_phrase must be given"),
        ("punctuation:no_comma", {"n": 1}, r"prompt '1': punctuation:no_comma with {'n': 1}: .*unexpected keyword"),
        (
            "length_constraints:number_words",
            {"num_words": 3, "relation": "about"},
            "The supported relation for comparison must be in",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 9, "first_word": "sea"},
            "nth_paragraph=9 is out of range",
        ),
        (
            "keywords:letter_frequency",
            {"letter": "ab", "let_frequency": 2, "let_relation": "at least"},
            "letter='ab' is out of range",
        ),
    ],
)
def test_instructions_that_cannot_be_verified_are_named(instruction, kwargs, complaint):
    judge = StrictAccuracy([prompt(NO_COMMA, text="Another."), prompt((instruction, kwargs))])
    with pytest.raises(ConfigurationError, match=complaint):
        judge([HumanMessage("Another.")], TEXTS)


def test_a_language_is_told_the_same_way_every_time():
    unclear = AIMessage("taxi hotel bar radio")
    judges = [PartialScore([prompt(("language:response_language", {"language": "en"}))]) for _ in range(4)]
    assert len({judge(ASKED, [unclear] * 5)[0] for judge in judges for _ in range(5)}) == 1


def test_many_threads_may_ask_at_once():
    judge = PartialScore([prompt(NO_COMMA, SHORT, ("language:response_language", {"language": "de"}))])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: judge(ASKED, TEXTS[:3]), range(32)))
    assert answers == [answers[0]] * 32


def test_identities_differ_with_the_reward_and_with_its_prompts():
    judges = [StrictAccuracy([prompt(NO_COMMA)]), PartialScore([prompt(NO_COMMA)]), PartialScore([prompt(SHORT)])]
    assert len({str(as_reward(judge).identity()) for judge in judges}) == 3
    assert PartialScore([prompt(SHORT)]).identity() == judges[2].identity()


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "if_verifiable.ifeval", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'langchain-darwin\[eval\]'"):
        StrictAccuracy([prompt(NO_COMMA)])(ASKED, TEXTS)


def test_without_the_data_of_nltk_the_error_says_how_to_get_it(monkeypatch):
    import nltk
    from if_verifiable.ifeval import instructions_util

    monkeypatch.setattr(nltk.data, "path", [])
    instructions_util._get_sentence_tokenizer.cache_clear()
    counted = prompt(("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}))
    with pytest.raises(MissingDependencyError) as error:
        StrictAccuracy([counted])(ASKED, TEXTS)
    assert str(error.value) == (
        "IFEval's NumberOfSentences needs NLTK's punkt_tab: python -m nltk.downloader punkt_tab"
    )


def test_a_text_without_words_is_in_any_language():
    assert followed("language:response_language", {"language": "en"}, "12 + 3 = 15")
