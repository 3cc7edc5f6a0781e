"""Heat maps of similar blocks: which there are, where their borders lie, what they say."""

import csv
import io
import math
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from report_documents import a_decision, an_encoder, an_encoder_round, some_encoders

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.compare import groups
from lt_ray.report.findings.document import Document, HeatMap, Reading
from lt_ray.report.findings.heat_map import fate, heat_maps
from lt_ray.report.pages.cells import MOST_MAPS, as_csv, heat_map_table, named
from lt_ray.report.pages.files import write
from lt_ray.report.pages.heat_map_picture import (
    borders,
    draw_heat_map,
    inline_heat_map,
    lowest,
    runs,
    shade,
    style_of,
    written,
)
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
    return heat_maps(groups(ReportedSweep("s", SPACE, 0.005, "emotion", cycles, {}, {}))[0], "")


def strict(decision):
    """The same matrix at 0.99: no two blocks are alike."""
    alone = tuple((place,) for place in range(len(decision.origins)))
    return decision.model_copy(update={"threshold": 0.99, "clusters": alone, "removed": ()})


def a_map(blocks=4, readings=None, far=0.9):
    cka = tuple(tuple(1.0 if a == b else far for b in range(blocks)) for a in range(blocks))
    own = (Reading(0.98, 1, ((0,), (1, 2), (3,)), (2,), (0,), "a round 1"),) if readings is None else readings
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
    assert [(r.threshold, r.removed, r.who) for r in first.readings] == [
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
    assert [(reading.stride, reading.who) for reading in found.readings] == [
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


def test_borders_are_drawn_around_blocks_that_are_alike():
    """Of {0}, {1, 2}, {3, 4, 5} from 1 to 2 and 3 to 5; readings that cluster alike share them; gaps part a border."""
    clusters = ((0,), (1, 2), (3, 4, 5))
    one, two = Reading(0.98, 1, clusters, (), (), "a"), Reading(0.98, 2, clusters, (2,), (), "b")
    other = Reading(0.99, 1, ((0,), (1,), (2,), (3, 4, 5)), (), (), "c")
    assert borders([one, two, other]) == [[(1, 2), (3, 5)], [(3, 5)]]
    assert [style_of(reading, [one, two, other]) for reading in (one, two, other)] == [0, 0, 1]
    assert runs([5, 1, 2, 7, 6]) == [(1, 2), (5, 7)]


def test_the_page_has_the_picture_in_the_colour_of_its_text():
    """Its values and names are text, what lies beside the cells has the colour of the text around it, no two pictures
    share an id, and it brings neither title nor date."""
    one, two = inline_heat_map(a_map(), "one"), inline_heat_map(a_map(), "two")
    assert one.startswith('<svg class="heat" role="img" aria-labelledby="one"')
    assert one.count(">.900</text>") == 12
    assert "threshold 0.98, stride 1, others frozen" in one
    assert "currentColor" in one
    assert "Similarity" not in one
    assert "<metadata>" not in one
    ids = [re.findall(r' id="([^"]*)"', svg) for svg in (one, two)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    assert all(f'"#{name}"' in one or f"url(#{name})" in one or f'id="{name}"' in one for name in ids[0])


def test_the_picture_has_its_borders_at_the_right_cells():
    """Dark lines run around cells 1 and 2 of the diagonal: at their outer edges, and not between them."""
    heat_map = a_map(readings=(Reading(0.98, 1, ((0,), (1, 2), (3,)), (), (), "a"),), far=0.95)
    image = imread(io.BytesIO(draw_heat_map(heat_map)))
    fill = np.array(to_rgb(shade(0.95, lowest(heat_map))[0]))
    inside = (abs(image[..., :3] - fill) < 0.01).all(axis=2)
    # The colour scale has that colour, too, in a line or two.
    rows, columns = ((inside.sum(axis=axis) > 40).nonzero()[0] for axis in (1, 0))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    cell = (right - left) / 4
    assert cell == pytest.approx((bottom - top) / 4, abs=1)
    dark = (image[..., :3] < 0.2).all(axis=2)

    def framed(x, y):
        """Whether a dark line passes near a point given in cells."""
        row, column = round(top + y * cell), round(left + x * cell)
        return bool(dark[row - 3 : row + 4, column - 3 : column + 4].any())

    assert all(framed(*at) for at in ((1, 1.3), (3, 2.3), (1.3, 1), (2.3, 3)))
    assert not any(framed(*at) for at in ((2, 2.3), (2.3, 2), (0.3, 1), (4, 3.7), (3, 0.3)))


def test_values_are_written_where_there_is_room():
    """16 blocks have their values in the cells, 17 have none."""
    assert ">.900</text>" in inline_heat_map(a_map(16), "m")
    assert ">.900</text>" not in inline_heat_map(a_map(17), "m")
    assert [written(value) for value in (1.0, 0.9996, 0.985, -0.0123, math.nan)] == ["1", "1.000", ".985", "−.012", "–"]
    assert len(draw_heat_map(a_map(17))) < len(draw_heat_map(a_map(16)))


def test_text_is_read_on_its_colour():
    """Low similarities are dark with white text, high ones light with black; what is no number is grey."""
    assert shade(0.8, 0.8) == ("#440154", "#ffffff")
    assert shade(1, 0.8) == ("#fde725", "#000000")
    assert shade(-1, 0.8) == shade(0.8, 0.8)
    assert shade(math.nan, 0.8)[0] == "#999999"
    assert (lowest(a_map()), lowest(HeatMap("m", "", ((1.0, 0.87), (0.87, 1.0)), (0, 1), ()))) == (0.9, 0.8)


def test_the_csv_has_matrix_clusters_and_fates():
    """A row for each block by its position in the dense model; every digit."""
    heat_map = HeatMap("m", "M", ((1.0, 1 / 3), (1 / 3, 1.0)), (4, 7), (Reading(0.98, 1, ((0, 1),), (1,), (0,), "a"),))
    head, first, second = csv.reader(io.StringIO(as_csv(heat_map_table(heat_map))))
    assert head[:3] == ["block", "CKA with 4", "CKA with 7"]
    assert first == ["4", "1.0", repr(1 / 3), "0", "not trained"]
    assert second == ["7", repr(1 / 3), "1.0", "0", "removed"]
    assert [fate(heat_map.readings[0], place) for place in (0, 1)] == ["not trained", "removed"]


def test_a_report_draws_a_dozen_and_tells_of_the_others(tmp_path):
    """Of 13 maps 12 are pictures; the last is a CSV that Markdown links and the page names."""
    decisions = [a_decision([[0], [1, 2]], [2], far=0.5 + 0.01 * seed) for seed in range(MOST_MAPS + 1)]
    cycles = tuple(a_cycle(0.98, seed, {1: decision}) for seed, decision in enumerate(decisions))
    document = assemble([ReportedSweep("s", SPACE, 0.005, "emotion", cycles, {}, {})])
    (part,) = named(document)
    assert (len(part.maps), list(part.further_maps)) == (MOST_MAPS, [f"s-cka-seed-{MOST_MAPS}-round-1"])
    small = Document("d", (type(document.sections[0])("s", "", (), (), (), (), (), (), document.sections[0].maps),))
    write(small, tmp_path)
    files = sorted(path.name for path in (tmp_path / "cka").iterdir())
    assert len([name for name in files if name.endswith(".png")]) == MOST_MAPS
    assert len([name for name in files if name.endswith(".csv")]) == MOST_MAPS + 1
    assert f"(cka/s-cka-seed-{MOST_MAPS}-round-1.csv)" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert page.count('<svg class="heat"') == MOST_MAPS
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
    assert "](cka/emotion_bert-cka-seed-0-round-1.png)" in text
