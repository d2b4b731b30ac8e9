"""Lists of benchmarks are compared with what they must be: what is wrong is named by its line."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluation.test_datasets import sides, touch, write
from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.datasets.official import ESC10, ESC50
from toomuchtv.evaluation.errors import BenchmarkError

HEADER = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
Rows = list[list[str]]


def esc10_rows() -> Rows:
    """Return the rows of a table with the numbers of ESC-10: five folds, 8 clips of each class."""
    rows = []
    for fold in range(1, 6):
        for label in ESC10.classes:
            target = ESC50.classes.index(label)
            for number in range(8):
                source = f"{fold}{target}{number // 2}"
                take = "AB"[number % 2]
                name = f"{fold}-{source}-{take}-{target}.wav"
                rows.append([name, str(fold), str(target), label, "True", source, take])
    return rows


@pytest.fixture(scope="module")
def esc10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of ESC-10, empty, and its table."""
    root = tmp_path_factory.mktemp("esc10")
    touch(*(root / "audio" / row[0] for row in esc10_rows()))
    return root


def read(root: Path, text: str | bytes) -> Benchmark:
    path = root / "meta" / "esc50.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_benchmark("esc10", root)


def text_of(rows: Rows, newline: str = "\n") -> str:
    return newline.join(",".join(row) for row in [HEADER, *rows]) + newline


def content(benchmark: Benchmark) -> object:
    """Return what a score depends on, whatever the order of the rows."""
    clips = [(clip.key, clip.labels, clip.source, clip.group) for clip in benchmark.clips]
    folds = [
        (fold.name, *(sorted(clips[row] for row in rows) for rows in (fold.train, fold.test)))
        for fold in benchmark.folds
    ]
    return sorted(clips), folds, benchmark.classes


def remarks(benchmark: Benchmark) -> list[str]:
    return [*benchmark.missing, *benchmark.notes, *benchmark.gaps]


def another_cell(rows: Rows, draw: random.Random) -> None:
    column = draw.randrange(len(HEADER))
    draw.choice(rows)[column] = draw.choice(rows)[column]


def edited_cell(rows: Rows, draw: random.Random) -> None:
    row, column = draw.choice(rows), draw.randrange(len(HEADER))
    at = draw.randrange(len(row[column]) + 1)
    new = draw.choice(["", " ", "x", "0", ".0", '"', ",", "\n", "\t", "A", "\u00a0", "\u200b", ";"])
    row[column] = row[column][:at] + new + row[column][at + draw.randrange(2) :]


def case_of_cell(rows: Rows, draw: random.Random) -> None:
    row, column = draw.choice(rows), draw.randrange(len(HEADER))
    row[column] = draw.choice([str.upper, str.title, str.swapcase])(row[column])


def exchanged_cells(rows: Rows, draw: random.Random) -> None:
    row = draw.choice(rows)
    a, b = draw.sample(range(len(HEADER)), 2)
    row[a], row[b] = row[b], row[a]


def dropped_row(rows: Rows, draw: random.Random) -> None:
    del rows[draw.randrange(len(rows))]


def repeated_row(rows: Rows, draw: random.Random) -> None:
    rows.insert(draw.randrange(len(rows)), [*draw.choice(rows)])


def short_row(rows: Rows, draw: random.Random) -> None:
    del draw.choice(rows)[draw.randrange(len(HEADER)) :]


def shifted_row(rows: Rows, draw: random.Random) -> None:
    draw.choice(rows).insert(draw.randrange(len(HEADER)), draw.choice(["", "1", "dog"]))


CHANGES: list[Callable[[Rows, random.Random], None]] = [
    another_cell, edited_cell, case_of_cell, exchanged_cells, dropped_row, repeated_row,
    short_row, shifted_row,
]  # fmt: skip


def test_no_change_of_a_table_is_silent(esc10: Path) -> None:
    """A changed table is refused, or its difference is listed, or it means the same."""
    clean = read(esc10, text_of(esc10_rows()))
    assert (len(clean.clips), sides(clean), remarks(clean)) == (400, [(320, 0, 80)] * 5, [])
    outcomes = {"refused": 0, "listed": 0, "equal": 0}
    for seed in range(60):
        draw = random.Random(seed)
        rows = esc10_rows()
        for _ in range(draw.randint(1, 2)):
            draw.choice(CHANGES)([row for row in rows if len(row) == len(HEADER)], draw)
        if draw.random() < 0.2:
            dropped_row(rows, draw)
        text = text_of(rows, draw.choice(["\n", "\r\n"])).encode("utf-8-sig")
        if draw.random() < 0.1:
            text = text[: draw.randrange(len(text))]
        try:
            found = read(esc10, text)
        except BenchmarkError:
            outcomes["refused"] += 1
            continue
        if remarks(found):
            outcomes["listed"] += 1
            continue
        assert content(found) == content(clean), (seed, remarks(found))
        outcomes["equal"] += 1
    assert min(outcomes.values()) > 2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fold": ""}, "line 5: the column fold is blank"),
        ({"fold": "6"}, "line 5: .* got 6"),
        ({"fold": "2"}, "line 5: .* states fold"),
        ({"fold": "one"}, "line 5: fold must be a whole number"),
        ({"category": ""}, "line 5: the column category is blank"),
        ({"category": "dgo"}, "line 5: 'dgo' is no class of ESC-10"),
        ({"category": "rain"}, "line 5: rain has the target 10"),
        ({"category": "cat"}, "line 5: 'cat' is no class of ESC-10"),
        ({"esc10": "maybe"}, "line 5: esc10 must be one of"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(
    esc10: Path, changes: dict[str, str], line: str
) -> None:
    rows = esc10_rows()
    for column, value in changes.items():
        rows[3][HEADER.index(column)] = value
    with pytest.raises(BenchmarkError, match=line):
        read(esc10, text_of(rows))


def test_blanks_spellings_and_number_formats_change_nothing(esc10: Path) -> None:
    clean = content(read(esc10, text_of(esc10_rows())))
    rows = esc10_rows()
    for number, row in enumerate(rows):
        row[1] = ["1.0", " 1", "1 ", "1"][number % 4].replace("1", row[1])
        row[3] = [f"{row[3]} ", row[3].upper(), row[3].replace("_", " "), row[3]][number % 4]
    found = read(esc10, text_of(rows, "\r\n").encode("utf-8-sig"))
    assert (content(found), remarks(found)) == (clean, [])


def test_all_problems_are_told_at_once_and_the_first_ten_are_named(esc10: Path) -> None:
    rows = esc10_rows()
    for row in rows[:30]:
        row[1] = ""
    with pytest.raises(BenchmarkError, match=r"30 problems") as raised:
        read(esc10, text_of(rows))
    assert len(re.findall(r"line \d+", str(raised.value))) == 10
    assert "20 more" in str(raised.value)


def test_what_the_lists_lack_of_the_official_ones_is_said(esc10: Path) -> None:
    rows = [row for row in esc10_rows() if row[1] != "3" and row[3] != "dog"]
    benchmark = read(esc10, text_of(rows))
    assert [fold.name for fold in benchmark.folds] == ["1", "2", "4", "5"]
    assert "9 of the 10 classes of ESC-10 (without dog)" in benchmark.gaps[0]
    assert "72 instead of 80 clips to test on in fold 1" in benchmark.gaps[1]


def test_data_of_ones_own_in_the_layout_of_a_benchmark_is_read_and_said(esc10: Path) -> None:
    """One official class among them makes the others errors."""
    rows = esc10_rows()
    own = [[*row[:3], f"my {row[3]}", *row[4:]] for row in rows]
    benchmark = read(esc10, text_of(own))
    assert len(benchmark.classes) == 10
    assert [len(fold.test) for fold in benchmark.folds] == [80] * 5
    assert any("of your own" in note for note in benchmark.notes)
    with pytest.raises(BenchmarkError, match=r"39\d problems"):
        read(esc10, text_of([*rows[:8], *own[8:]]))
    with pytest.raises(BenchmarkError, match="5 folds"):
        read(esc10, text_of([row for row in own if row[1] != "2"]))


def csv(root: Path, *rows: str, header: str = "path,label,split") -> Benchmark:
    for row in rows:
        name = row.partition(",")[0]
        if name:
            touch(root / name)
    write(root / "labels.csv", "\n".join([header, *rows]) + "\n")
    return read_benchmark("csv", root)


def test_a_row_that_repeats_another_counts_once_and_moves_nothing(tmp_path: Path) -> None:
    rows = [f"{label}{fold}.wav,{label},{fold}" for fold in (1, 2) for label in "ab"]
    rows = [rows[0], f"./{rows[0]}", *rows[1:]]
    benchmark = csv(tmp_path, *rows, header="path,label,fold")
    assert sides(benchmark) == [(2, 0, 2)] * 2
    tested = {
        fold.name: {benchmark.clips[row].path.name for row in fold.test} for fold in benchmark.folds
    }
    assert tested == {"1": {"a1.wav", "b1.wav"}, "2": {"a2.wav", "b2.wav"}}
    assert benchmark.notes == ("1 rows repeat others and do not count: labels.csv, line 3",)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["a.wav,x,train", "b.wav,y,train", "c.wav,x,test", "a.wav,y,train"], "line 5: a.wav"),
        (["a.wav,x,train", "b.wav,y,train", "c.wav,x,test", "b.wav,y,test"], "line 5: b.wav"),
        (["a.wav,x,train", "b.wav,y,train", "c.wav,x,test", "d/../b.wav,y,test"], "line 5: b.wav"),
        (["a.wav,x,train", "b.wav,y,train", "c.wav,z,test"], "'z' is tested"),
        (["a.wav,low,train", "b.wav,y,train", "c.wav,Low,test", "e.wav,y,test"], "spellings"),
        (["a.wav,e\u0301,train", "b.wav,\u00e9,train", "c.wav,y,train", "d.wav,y,test"], None),
        (["a.wav,x,train", "b.wav,,train", "c.wav,x,test"], "line 3: the column label is blank"),
        (["a.wav,x,train", "b.wav,y", "c.wav,x,test"], "line 3: it has 2 cells"),
        (["a.wav,x,train", "b.wav,y,2,test", "c.wav,x,test"], "line 3: it has 4 cells"),
        (['a.wav,"x,train', "b.wav,y,train", "c.wav,x,test"], "quotation"),
        ([",x,train", "b.wav,y,train", "c.wav,x,test"], "line 2: the column path is blank"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(
    tmp_path: Path, rows: list[str], text: str | None
) -> None:
    if text is None:  # two Unicode forms of one class are one class
        assert csv(tmp_path, *rows).classes == ("y", unicodedata.normalize("NFC", "e\u0301"))
        return
    with pytest.raises(BenchmarkError, match=text):
        csv(tmp_path, *rows)


INTERVALS = "path,label,split,start_seconds,stop_seconds"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("b.wav,y,test,-1,2", "line 5: start_seconds must be a number .* '-1'"),
        ("b.wav,y,test,3,2", "line 5: start_seconds must be less"),
        ("b.wav,y,test,nan,2", "line 5: start_seconds must be a number"),
        ('b.wav,y,test,"1,5",2', "line 5: start_seconds must be a number"),
        ("b.wav,y,test,0,inf", "line 5: stop_seconds must be a number"),
        ("b.wav,y,test,3,9", "line 5: b.wav from 3 s overlaps, in test, with labels.csv, line 3"),
    ],
)
def test_intervals_are_checked_with_their_line(tmp_path: Path, row: str, text: str) -> None:
    rows = ["a.wav,x,train,,", "b.wav,y,train,0,5", "c.wav,x,test,,"]
    with pytest.raises(BenchmarkError, match=text):
        csv(tmp_path, *rows, row, header=INTERVALS)


def test_a_file_with_clips_on_both_sides_is_said(tmp_path: Path) -> None:
    rows = ["a.wav,x,train,,", "b.wav,y,train,0,5", "b.wav,y,test,5,9", "c.wav,x,test,,"]
    benchmark = csv(tmp_path, *rows, header=INTERVALS)
    assert sides(benchmark) == [(2, 0, 2)]
    assert benchmark.notes == ("1 files have clips on several sides of a split: b.wav",)


def test_a_table_in_long_form_names_its_column_labels(tmp_path: Path) -> None:
    rows = ["a.wav,x,train", "a.wav,y,train", "b.wav,,train", "c.wav,y;z,test", "c.wav,x,test"]
    benchmark = csv(tmp_path, *rows, header="path,labels,split")
    assert benchmark.task == "multi_label"
    assert [clip.labels for clip in benchmark.clips] == [("x", "y"), (), ("y", "z", "x")]
    assert benchmark.notes == ("the class 'z' is tested in test and has no clip to train on",)


def test_columns_that_are_not_used_are_said(tmp_path: Path) -> None:
    rows = ["a.wav,x,train,1", "b.wav,y,train,1", "c.wav,x,test,1"]
    benchmark = csv(tmp_path, *rows, header="path, Label ,split,start")
    assert benchmark.notes[0] == "the columns start of the table are not used"


def test_the_sources_of_own_files_are_their_paths(tmp_path: Path) -> None:
    for label in ("low", "high"):
        touch(*(tmp_path / "f" / label / f"{number}.wav" for number in range(8)))
    folder = read_benchmark("folder", tmp_path / "f")
    assert len({clip.source for clip in folder.clips}) == 16
    assert folder.clips[0].source == "high/0.wav"
    table = csv(tmp_path, "x/0.wav,a,train", "y/0.wav,b,train", "z/0.wav,a,test")
    assert [clip.source for clip in table.clips] == ["x/0.wav", "y/0.wav", "z/0.wav"]


def test_a_folder_uses_files_at_any_depth_and_lists_what_it_cannot_use(tmp_path: Path) -> None:
    for side in ("train", "test"):
        touch(*(tmp_path / side / label / "more" / "x.wma" for label in "ab"))
        touch(*(tmp_path / side / label / name for label in "ab" for name in ("y.mka", "y.txt")))
    touch(
        tmp_path / "test" / "a" / "z.zzz", tmp_path / "loose.wav", tmp_path / "dev" / "b" / "w.wav"
    )
    (tmp_path / "train" / "c").mkdir()
    benchmark = read_benchmark("folder", tmp_path)
    assert sides(benchmark) == [(4, 0, 4)]
    assert benchmark.classes == ("a", "b")
    assert benchmark.gaps == (
        "3 files in its folder are not used: test/a/z.zzz, dev/b/w.wav, loose.wav",
    )
    assert benchmark.notes == ("the folder train/c has no media file",)


def test_a_class_of_a_folder_must_be_trained_on(tmp_path: Path) -> None:
    for path in ("train/low", "train/high", "test/Low", "test/high"):
        touch(tmp_path / path / "x.wav")
    with pytest.raises(BenchmarkError, match=r"'low' \(train/low/x.wav\) and 'Low' \(test/Low"):
        read_benchmark("folder", tmp_path)
    (tmp_path / "test" / "Low").rename(tmp_path / "test" / "deep")
    with pytest.raises(BenchmarkError, match="'deep' is tested in test"):
        read_benchmark("folder", tmp_path)


def test_a_kinetics_row_without_times_is_named(tmp_path: Path) -> None:
    header = "label,youtube_id,time_start,time_end,split\n"
    write(tmp_path / "train.csv", f"{header}a,x,0,10,train\nb,y,,,train\n")
    write(tmp_path / "val.csv", f"{header}a,z,0,10,val\n")
    with pytest.raises(BenchmarkError, match=r"train.csv, line 3: the column time_start is blank"):
        read_benchmark("kinetics", tmp_path)


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_ucf101_clip_in_both_lists_is_refused(tmp_path: Path, side: str) -> None:
    (tmp_path / "videos").mkdir()
    names = {"train": "Archery/v_Archery_g01_c01.avi", "test": "Archery/v_Archery_g02_c01.avi"}
    for split in (1, 2, 3):
        for other, name in names.items():
            extra = names[side] if split == 2 else name
            path = tmp_path / "ucfTrainTestlist" / f"{other}list0{split}.txt"
            write(path, f"{name}\r\n{extra}\r\n")
    with pytest.raises(BenchmarkError, match=r"list02.txt, line \d: v_Archery_g0\d_c01.avi is"):
        read_benchmark("ucf101", tmp_path)
