"""The picture shows what was measured."""

from PIL import Image

from fcis.lab.benchmark.plots import draw
from fcis.lab.benchmark.report import Point, Report, stage_times
from fcis.lab.benchmark.timing import spread


def scaling():
    points = tuple(
        Point(
            sampling=sampling,
            axis="rois",
            count=count,
            seconds=spread([seconds]),
            of_linear=spread([1.0]),
        )
        for sampling in ("native", "pool")
        for count, seconds in ((300, 0.01), (3000, 0.05))
    )
    return Report(figures={}, tables=(), notes=(), points=points)


def test_growth_is_drawn_beside_what_would_be_linear():
    figure = draw(scaling())
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["native", "pool"]
    line, linear = left.lines[:2]
    assert line.get_xydata().tolist() == [[300, 10], [3000, 50]]
    assert linear.get_xydata().tolist() == [[300, 10], [3000, 100]]
    assert left.get_xlabel() == "RoIs" and len(right.lines) == 0


def test_stages_are_bars(tmp_path):
    stages = stage_times([{"a": 0.5, "b": 1.5}], ("a", "b"))
    report = Report(figures={}, tables=(), notes=(), stages=(("first", stages), ("second", stages)))
    figure = draw(report)
    assert [axes.get_title() for axes in figure.axes] == ["first: 2000 ms", "second: 2000 ms"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [500, 1500]
    figure.savefig(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"
