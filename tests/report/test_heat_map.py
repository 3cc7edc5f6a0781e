"""Heat maps of similar blocks: which there are, where their borders lie, what they say."""

import csv
import io
import math
from dataclasses import replace

from report_documents import a_decision, an_encoder, an_encoder_round, some_encoders

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.compare import groups
from lt_ray.report.findings.document import Document, HeatMap, Reading, Section
from lt_ray.report.findings.heat_map import heat_maps
from lt_ray.report.pages.cells import MOST_MAPS, as_csv, named
from lt_ray.report.pages.files import write
from lt_ray.report.pages.html import as_html, lowest, shade, written
from lt_ray.report.pages.markdown import as_markdown
from lt_ray.report.reading.rows import ReportedSweep

THRESHOLD = "similarity.threshold"
SPACE = {THRESHOLD: {"kind": "grid", "values": (0.98, 0.99), "when": {}}}
ALIKE = a_decision([[0], [1, 2], [3]], [2])


def a_cycle(threshold, seed, decisions):
    name = f"{threshold}-{seed}"
    results = [an_encoder_round(name, index, 0.9) for index in range(max(decisions, default=0) + 1)]
    schedule = f"similarity*{len(results) - 1}"
    return an_encoder(name, seed, results, {THRESHOLD: threshold}, schedule, decisions=decisions)


def maps(*cycles):
    return heat_maps(groups(ReportedSweep("s", SPACE, 0.005, "emotion", cycles, {}, {}))[0])


def strict(decision):
    """The same matrix at 0.99: no two blocks are alike."""
    alone = tuple((place,) for place in range(len(decision.origins)))
    return decision.model_copy(update={"threshold": 0.99, "clusters": alone, "removed": ()})


def a_map(blocks=4, readings=None, far=0.9):
    cka = tuple(tuple(1.0 if a == b else far for b in range(blocks)) for a in range(blocks))
    own = (Reading(a_decision([[0], [1, 2], [3]], [2], frozen=(0,)), "a round 1"),) if readings is None else readings
    return HeatMap("m", "Similarity", cka, tuple(range(blocks)), own)


def test_a_matrix_that_cycles_share_is_one_picture():
    """Two arms and rounds that compared one model share its map, a reading each; other seeds and models have theirs."""
    later = a_decision([[0, 1], [3]], [1]).model_copy(update={"origins": (0, 1, 3)})
    other = a_decision([[0], [1, 2], [3]], [2], far=0.8)
    found = maps(
        a_cycle(0.98, 0, {1: ALIKE, 2: later}), a_cycle(0.99, 0, {1: strict(ALIKE)}), a_cycle(0.98, 1, {1: other}),
    )  # fmt: skip
    assert [heat_map.slug for heat_map in found] == [
        "cka-seed-0-round-1", "cka-seed-0-round-2", "cka-seed-1-round-1",
    ]  # fmt: skip
    first = found[0]
    assert [(r.decision.threshold, r.decision.removed, r.who) for r in first.readings] == [
        (0.98, (2,), "t=0.98 round 1"), (0.99, (), "t=0.99 round 1"),
    ]  # fmt: skip
    assert first.title == "Similarity of blocks: the dense model, seed 0"
    assert first.note == (
        "t=0.98 round 1 (threshold 0.98, stride 1): 4 blocks in 3 clusters, 1 removed (2). "
        "t=0.99 round 1 (threshold 0.99, stride 1): 4 blocks in 4 clusters, none removed."
    )
    assert found[1].title == "Similarity of blocks: t=0.98 before round 2, seed 0"


def test_a_model_that_is_compared_again_with_another_stride_has_a_reading_for_each():
    """A rejected round and the next one start from one model; of a pair of blocks both strides remove the second."""
    again = ALIKE.model_copy(update={"stride": 2})
    (found,) = maps(a_cycle(0.98, 0, {1: ALIKE, 2: again}))
    assert [(reading.decision.stride, reading.who) for reading in found.readings] == [
        (1, "t=0.98 round 1"),
        (2, "t=0.98 round 2"),
    ]


def test_rounds_that_compared_nothing_have_no_map():
    """A decision without a matrix, and one of a round that has not finished, are left out."""
    over = ALIKE.model_copy(update={"cka": (), "clusters": (), "removed": ()})
    assert maps(a_cycle(0.98, 0, {1: over})) == []
    cycle = a_cycle(0.98, 0, {1: ALIKE})
    unfinished = type(cycle)(**{**vars(cycle), "results": cycle.results[:1]})
    assert maps(unfinished) == []


def a_page(heat_map):
    return as_html(Document("d", (Section("s", "", (), (), (), (), (heat_map,)),)))


def test_a_cell_of_the_page_tells_its_value_and_whose_it_is_when_pointed_at():
    """Four digits, both blocks, the arm and how many cycles compared it; a reading's marks tell block and fate."""
    page = a_page(replace(a_map(far=0.98765), who="t=0.98 before round 2, seed 0", n=2))
    assert page.count('title="blocks 3 and 1: CKA 0.9877, t=0.98 before round 2, seed 0, n = 2">.988</td>') == 1
    assert page.count(">.988</td>") == 12
    assert 'title="block 2 removed: a round 1">×</td>' in page
    assert 'title="block 0 not trained: a round 1">○</td>' in page
    assert "threshold 0.98, stride 1, others frozen: a round 1" in page


def test_neighbours_that_are_alike_share_a_frame():
    """Of {0}, {1, 2}, {3} block 2 continues the frame of block 1, and no other one does."""
    row = a_page(a_map()).split('<tr class="fates">')[1].split("</tr>")[0]
    cells = row.split("<td")[2:]
    assert ['class="alike"' in cell for cell in cells] == [False, False, True, False]


def test_values_are_written_as_a_cell_has_room_for():
    """Three digits without the zero, 1 where it is 1, and a true minus."""
    assert [written(value) for value in (1.0, 0.9996, 0.985, -0.0123, math.nan)] == ["1", "1.000", ".985", "−.012", "–"]


def test_text_is_read_on_its_colour():
    """Low similarities are dark with white text, high ones light with black; what is no number is grey."""
    assert shade(0.8, 0.8) == ("#440154", "#ffffff")
    assert shade(1, 0.8) == ("#fde725", "#000000")
    assert shade(-1, 0.8) == shade(0.8, 0.8)
    assert shade(math.nan, 0.8)[0] == "#999999"
    assert (lowest(a_map()), lowest(HeatMap("m", "", ((1.0, 0.87), (0.87, 1.0)), (0, 1), ()))) == (0.9, 0.8)


def test_the_csv_has_matrix_clusters_and_fates():
    """A row for each block by its position in the dense model; every digit."""
    heat_map = HeatMap(
        "m", "M", ((1.0, 1 / 3), (1 / 3, 1.0)), (4, 7), (Reading(a_decision([[0, 1]], [1], frozen=(0,)), "a"),)
    )
    head, first, second = csv.reader(io.StringIO(as_csv(heat_map.table)))
    assert head[:3] == ["block", "CKA with 4", "CKA with 7"]
    assert first == ["4", "1.0", repr(1 / 3), "0", "not trained"]
    assert second == ["7", repr(1 / 3), "1.0", "0", "removed"]
    assert [heat_map.readings[0].fate(place) for place in (0, 1)] == ["not trained", "removed"]


def test_a_report_draws_a_dozen_and_tells_of_the_others(tmp_path):
    """Of 13 maps 12 are on the page; the last is a CSV that Markdown links and the page names."""
    decisions = [a_decision([[0], [1, 2]], [2], far=0.5 + 0.01 * seed) for seed in range(MOST_MAPS + 1)]
    cycles = tuple(a_cycle(0.98, seed, {1: decision}) for seed, decision in enumerate(decisions))
    document = assemble([ReportedSweep("s", SPACE, 0.005, "emotion", cycles, {}, {})])
    (part,) = named(document)
    assert [heat_map.slug for heat_map in part.maps[MOST_MAPS:]] == [f"s-cka-seed-{MOST_MAPS}-round-1"]
    assert len(part.maps) == MOST_MAPS + 1
    small = Document("d", (type(document.sections[0])("s", "", (), (), (), (), document.sections[0].maps),))
    write(small, tmp_path)
    files = sorted(path.name for path in (tmp_path / "cka").iterdir())
    assert len([name for name in files if name.endswith(".csv")]) == MOST_MAPS + 1
    assert f"(cka/s-cka-seed-{MOST_MAPS}-round-1.csv)" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert page.count('<table class="heat"') == MOST_MAPS
    assert f"cka/s-cka-seed-{MOST_MAPS}-round-1.csv" in page
    assert 'id="plotly"' not in page, "heat maps need no script"


def test_markdown_shows_fronts_and_maps():
    """Pictures with their notes, and the points on a front by name."""
    text = as_markdown(assemble([some_encoders(1)]))
    assert (
        "![emotion\\_bert: test accuracy against nonzero parameters](fronts/emotion_bert-front-parameters.png)" in text
        or ("](fronts/emotion_bert-front-parameters.png)" in text)
    )
    on = text.split("On the front:")[1].split("###")[0]
    assert "| arm | round | n | blocks | nonzero parameters | test accuracy |" in on
    assert on.count("\n| ") >= 2
    matrix = text.split("### Similarity of blocks: the dense model, seed 0\n")[1].split("[CSV](cka/")[0]
    assert "| block | CKA with 0 | CKA with 1 |" in matrix
    assert matrix.count("\n| ") == 13
