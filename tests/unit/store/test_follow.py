"""A followed file: every line once, whatever is done to the file."""

import gzip
import random
from pathlib import Path

import pytest

from quada.store.follow import Follower as _Follower
from quada.store.follow import FrameFollower, Position
from quada.telemetry.ingest.dnstap import CONTENT_TYPE, control, frame

_open: list[_Follower] = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while _open:
        _open.pop().close()


def follow(path: Path, position: Position | None = None) -> _Follower:
    made = _Follower(path, position)
    _open.append(made)
    return made


def _all(follower: _Follower) -> list[str]:
    out: list[str] = []
    idle = 0
    while idle < 3:
        lines = follower.take()
        out += lines
        idle = 0 if lines else idle + 1
    return out


def _add(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def test_a_half_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "q.log"
    path.write_text("one\ntw")
    follower = follow(path)
    assert _all(follower) == ["one"]
    assert follower.position.at == 4
    _add(path, "o")
    assert _all(follower) == ["two"]


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("how", ["rename", "gzip", "truncate", "twice"])
def test_rotation_loses_and_doubles_nothing(tmp_path: Path, how: str, is_restarted: bool) -> None:
    path = tmp_path / "q.log"
    _add(path, "1", "2")
    follower = follow(path)
    assert _all(follower) == ["1", "2"]
    position = follower.position
    want = ["3", "4", "5"]
    if how == "truncate":
        path.write_text("")
        want = ["5"]  # what came before the truncation went with it
    else:
        _add(path, "3", "4")
        path.rename(tmp_path / "q.log.1")
    if how == "twice":
        _add(path, "5")
        (tmp_path / "q.log.1").rename(tmp_path / "q.log.2")
        path.rename(tmp_path / "q.log.1")
        path.write_text("")
        want = ["3", "4", "5", "6"]
        _add(path, "6")
    else:
        _add(path, "5")
    if how == "gzip":
        with gzip.open(tmp_path / "q.log.1.gz", "wb") as packed:
            packed.write((tmp_path / "q.log.1").read_bytes())
        (tmp_path / "q.log.1").unlink()
    if is_restarted:
        follower.close()
        follower = follow(path, position)
    assert _all(follower) == want


def test_another_file_with_the_same_inode_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "q.log"
    _add(path, "aaaa", "bbbb")
    follower = follow(path)
    _all(follower)
    position = follower.position
    with path.open("r+") as file:  # same inode, other content, and longer
        file.write("cccc\ndddd\neeee\n")
    assert _all(follow(path, position)) == ["cccc", "dddd", "eeee"]


def test_a_storm_of_rotations_restarts_and_writes_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "q.log"
    chance = random.Random(6)
    path.write_text("")
    follower = follow(path)
    number, rotated, seen = 0, 0, []
    for _ in range(300):
        step = chance.random()
        if step < 0.5:
            _add(path, *(str(n) for n in range(number, number + 5)))
            number += 5
        elif step < 0.6:
            for at in range(rotated, 0, -1):
                (tmp_path / f"q.log.{at}").rename(tmp_path / f"q.log.{at + 1}")
            path.rename(tmp_path / "q.log.1")
            rotated += 1
            _add(path, str(number))
            number += 1
        elif step < 0.7:
            position = follower.position
            follower.close()
            follower = follow(path, position)
        else:
            seen += follower.take()
    while more := _all(follower):
        seen += more
    assert seen == [str(n) for n in range(number)]


def test_a_line_of_ten_megabytes_and_garbage_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "q.log"
    path.write_bytes(b"x" * 10_000_000 + b"\nafter\n" + bytes(range(256)) + b"\nlast\n")
    follower = follow(path)
    lines = _all(follower)
    assert lines[1] == "after"
    assert lines[-1] == "last"
    assert max(map(len, lines)) <= 65_536
    assert follower.cut_count == 1


def test_half_a_frame_waits_for_its_end_also_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    octets = control(2, CONTENT_TYPE) + frame(b"one") + frame(b"two")
    seen: list[bytes] = []
    position = None
    for at in range(len(octets)):
        with path.open("ab") as file:
            file.write(octets[at : at + 1])
        follower = FrameFollower(path, position)
        seen += follower.take()
        position = follower.position
        follower.close()
    assert seen == [b"one", b"two"]
    assert position is not None
    assert position.at == len(octets)


@pytest.mark.parametrize("is_packed", [False, True])
def test_frames_of_a_rotated_file_come_before_those_of_its_successor(
    tmp_path: Path, is_packed: bool
) -> None:
    path = tmp_path / "tap"
    path.write_bytes(control(2, CONTENT_TYPE) + frame(b"one"))
    follower = FrameFollower(path)
    assert follower.take() == [b"one"]
    position = follower.position
    follower.close()
    with path.open("ab") as file:
        file.write(frame(b"two") + control(3))
    if is_packed:
        (tmp_path / "tap.0.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    else:
        path.rename(tmp_path / "tap.0")
    path.write_bytes(control(2, CONTENT_TYPE) + frame(b"three"))
    follower = FrameFollower(path, position)
    assert [one for _ in range(5) for one in follower.take()] == [b"two", b"three"]
    follower.close()


@pytest.mark.parametrize("length", [1, 100_000])
def test_what_is_no_frame_is_told_and_its_successor_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "tap"
    path.write_bytes(control(2, CONTENT_TYPE) + frame(b"one") + b"text, not frames\n" * length)
    follower = FrameFollower(path)
    assert follower.take() == [b"one"]
    assert follower.take() == []
    assert "a frame of" in follower.trouble
    path.rename(tmp_path / "tap.0")
    path.write_bytes(control(2, CONTENT_TYPE) + frame(b"two"))
    assert [one for _ in range(9) for one in follower.take()] == [b"two"]
    assert not follower.trouble
    follower.close()
