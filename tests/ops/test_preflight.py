import errno
import os
import socket
from pathlib import Path

import pytest

from labelapp.ops.preflight import UpError, check_port, check_room, claim, disk_full
from labelapp.ops.server import free_port

ADDRESS = "http://127.0.0.1:8000/"


def test_a_claim_notes_the_process_and_the_address(tmp_path: Path) -> None:
    with claim(tmp_path, ADDRESS):
        assert (tmp_path / "up.lock").read_text().split() == [str(os.getpid()), ADDRESS]


def test_a_second_claim_says_where_the_first_runs(tmp_path: Path) -> None:
    with claim(tmp_path, ADDRESS), pytest.raises(UpError) as refusal:
        claim(tmp_path, "http://127.0.0.1:9/")
    assert f"already running here: {ADDRESS} (process {os.getpid()})" in str(refusal.value)
    assert f"kill {os.getpid()}" in str(refusal.value)


def test_a_claim_can_be_made_again_once_let_go(tmp_path: Path) -> None:
    claim(tmp_path, "a much longer address than the second one").close()
    with claim(tmp_path, ADDRESS):
        assert (tmp_path / "up.lock").read_text().split() == [str(os.getpid()), ADDRESS]


def test_a_free_port_passes() -> None:
    check_port("127.0.0.1", free_port())


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UpError, match=rf"Port {port} of 127\.0\.0\.1 is in use.*") as refusal:
            check_port("127.0.0.1", port)
    assert f"make run PORT={port + 1}" in str(refusal.value)
    assert f"--port {port + 1}" in str(refusal.value)


def test_a_host_that_is_not_ours_is_told() -> None:
    with pytest.raises(UpError, match=r"Nothing can listen on 192\.0\.2\.1.*Correct --host or --port"):
        check_port("192.0.2.1", 8000)


def test_too_little_room_is_told_in_megabytes(tmp_path: Path) -> None:
    check_room(tmp_path, needed=1)
    with pytest.raises(UpError, match=r"has \d+ MB free, and Prefloop needs 1099511627776 MB.*PREFLOOP_VAR"):
        check_room(tmp_path, needed=2**60)


def test_a_full_disk_is_told_plainly(tmp_path: Path) -> None:
    text = disk_full(OSError(errno.ENOSPC, "No space left on device", "/data/file"), tmp_path)
    assert text == "The disk is full (/data/file). Make room on it and start again; nothing is lost."


def test_another_error_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    text = disk_full(OSError(errno.EACCES, "Permission denied", "/data/file"), tmp_path)
    assert "Permission denied: '/data/file'" in text
