"""`loxo doctor`: what this installation has and can do, as text for an issue or as JSON.

The text contains no name of a user, a computer or a recording, and no path: the home folder is written as ~. A problem
is a sentence with the way out; it makes the exit code 1. A missing extra is no problem.

Failure policy: a check that fails is a problem of that check, and all others are made. Thus packages, also those of the
core, are imported inside the checks.
"""

from __future__ import annotations

import locale
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from io import BytesIO
from pathlib import Path
from typing import Any

import loxo
from loxo.installation import install_extra, install_package, source
from loxo.machine import one_thread, usable_cores, user_cache, user_data

SOUND_S = 600  # of the timed detection, at the sample rate of the model
MIN_FREE_GB = 1.0
RELEASED = datetime(2026, 11, 1, tzinfo=UTC)  # a clock that is behind this date is not set
ZONES = ("Africa/Libreville", "Africa/Brazzaville", "America/Manaus", "Asia/Jakarta")  # of usual deployments
READABLE = {"WAV": ".wav", "RF64": ".rf64", "W64": ".w64", "AIFF": ".aif", "CAF": ".caf", "FLAC": ".flac"}
READABLE |= {"OGG": ".ogg, .opus", "MP3": ".mp3"}
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?(?P<bounds>[^;]*)(;(?P<marker>.*))?")


@dataclass
class Diagnosis:
    """`sections`: for each check its lines, name and value. `str()` is the text of the command."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return _private({"loxo": loxo.__version__, **self.sections, "problems": self.problems})

    def __str__(self) -> str:
        lines = []
        for title, values in self.sections.items():
            lines.append(title)
            lines += [f"  {name:20} {_text(value)}" for name, value in values.items()]
        lines += ["problems", *(f"  {sentence}" for sentence in self.problems or ["none"])]
        return _private("\n".join(lines))


def diagnose(sound_s: float = SOUND_S) -> Diagnosis:
    """Makes all checks. `sound_s`: seconds of noise for the timed detection."""
    found = Diagnosis()
    checks: dict[str, Callable[[list[str]], dict[str, Any]]] = {
        "installation": _installation,
        "packages": _packages,
        "extras": _extras,
        "detection": lambda problems: _detection(problems, sound_s),
        "disk": _disk,
        "clock": _clock,
        "audio": _audio,
        "language": _language,
    }
    for title, check in checks.items():
        try:
            found.sections[title] = check(found.problems)
        except Exception as error:  # a broken package raises anything
            found.sections[title] = {}
            found.problems.append(f"The check {title!r} failed ({type(error).__name__}: {error}). {_again()}")
    return found


def _installation(problems: list[str]) -> dict[str, Any]:
    origin = source()
    if getattr(sys, "frozen", False):
        kind = "program of one file"
    elif origin.folder is None:
        kind = "wheel"
    else:
        kind = "clone, editable" if origin.editable else "clone"
    values: dict[str, Any] = {
        "loxo": f"{loxo.__version__} ({kind})",
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{_system()}, {platform.machine()}",
        "cores": usable_cores(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        values["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if sys.maxsize < 2**32:
        problems.append("This Python has 32 bits, and the packages need 64. Install a Python with 64 bits.")
    return values


def _system() -> str:
    if hasattr(platform, "freedesktop_os_release"):
        try:
            return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.system()} {platform.release()}"
        except (OSError, KeyError):
            pass
    return f"{platform.system()} {platform.release()}"


def _requirements() -> dict[str, list[str]]:
    """The packages of the core (key "") and of each extra, from the metadata of the installed Loxo. None without
    metadata: in the program of one file, or run from a clone with PYTHONPATH."""
    packages: dict[str, list[str]] = {}
    try:
        texts = requires("loxo") or []
    except PackageNotFoundError:
        return {}
    for text in texts:
        if match := REQUIREMENT.fullmatch(text):
            extra = re.search(r"extra == ['\"](\w+)['\"]", match["marker"] or "")
            packages.setdefault(extra[1] if extra else "", []).append(match["name"])
    return packages


def _packages(problems: list[str]) -> dict[str, Any]:
    versions = {name: _version(name) for name in _requirements().get("", [])}
    if missing := [name for name, found in versions.items() if found is None]:
        problems.append(f"Packages that Loxo needs are missing: {', '.join(missing)}. {_again()}")
    return versions


def _extras(problems: list[str]) -> dict[str, Any]:
    extras = {}
    for extra, names in _requirements().items():
        if extra in ("", "dev"):
            continue
        versions = {name: _version(name) for name in names}
        if not all(versions.values()):
            extras[extra] = f"not installed: {install_extra(extra)}"
        else:
            extras[extra] = ", ".join(f"{name} {found}" for name, found in versions.items())
    return extras


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _again() -> str:
    origin = source().folder
    target = "loxo" if origin is None else f'"{origin}"'
    return f"Install Loxo again: {install_package(f'--force-reinstall {target}')}"


def _detection(problems: list[str], sound_s: float) -> dict[str, Any]:
    """The time that one core takes for noise, which has the same cost as any other sound."""
    import numpy as np

    from loxo.detection.detect import detect
    from loxo.engine.engine import RUNTIMES, is_installed, load_engine

    begin = time.perf_counter()
    engine = load_engine("default", start=True)
    start_s = time.perf_counter() - begin
    rate = engine.config.sample_rate
    sound = np.random.default_rng(0).standard_normal(round(sound_s * rate)).astype(np.float32) * 0.01
    with one_thread():
        detect(sound[: rate * 30], engine, sample_rate=rate)  # the first windows cost more
        begin = time.process_time()  # another program may use the core, too
        detect(sound, engine, sample_rate=rate)
        took_s = time.process_time() - begin
    installed = [name for name in RUNTIMES if name != "auto" and is_installed(name)]
    speed = sound_s / took_s
    if speed < 10:
        problems.append(
            f"Detection is slow here: {speed:.1f} times real time on one core. Close other programs, and use a disk of "
            "this computer."
        )
    return {
        "runtimes": ", ".join(installed),
        "used": " ".join(f"{value}" for value in engine.describe().values()),
        "model": f"default, {engine.sha256[:12]}" if hasattr(engine, "sha256") else "default",
        "start_s": round(start_s, 2),
        "times_real_time": round(speed),
        "hours_for_a_month": round(30 * 24 / speed / usable_cores(), 2),
    }


def _disk(problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    places = {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir()), "data": user_data(), "cache": user_cache()}
    for name, place in places.items():
        existing = next(folder for folder in (place, *place.parents) if folder.is_dir())
        free = shutil.disk_usage(existing).free / 1e9
        home = place.is_relative_to(Path.home()) and name in ("data", "cache")
        where = f" ({place})" if home else ""
        values[name] = f"{free:.1f} GB free{where}"
        if free < MIN_FREE_GB:
            problems.append(f"The disk of the folder {name!r} is nearly full: {free:.1f} GB free. Delete files there.")
        if name != "here" and not os.access(existing, os.W_OK):
            way = {"temporary": "TMPDIR", "data": "LOXO_HOME", "cache": "XDG_CACHE_HOME"}[name]
            problems.append(f"The folder {name!r} is not writable. Name another one with {way}.")
    return values


def _clock(problems: list[str]) -> dict[str, Any]:
    now = datetime.now(UTC)
    here = now.astimezone()
    known = zoneinfo.available_timezones()
    if now < RELEASED:
        problems.append(f"The clock of this computer says {now:%Y-%m-%d}. Set it, or times in alerts will be wrong.")
    if lost := [name for name in ZONES if name not in known]:
        problems.append(f"There is no time zone data for {lost[0]}. Install it: {install_package('tzdata')}")
    return {
        "utc": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "zone": f"{here.tzname()} (UTC{here:%z})",
        "zones": f"{len(known)} known, tzdata {_version('tzdata') or 'of the system'}",
    }


def _audio(problems: list[str]) -> dict[str, Any]:
    import numpy as np
    import soundfile

    written = []
    known = soundfile.available_formats()
    for name, suffixes in READABLE.items():
        if name in known and _survives(np.zeros(4000, np.float32), name):
            written.append(suffixes)
    if lost := [name for name in READABLE if name not in known]:
        problems.append(
            f"libsndfile {soundfile.__libsndfile_version__} cannot read {', '.join(lost)}. Install a newer one: "
            f"{install_package('--upgrade soundfile')}"
        )
    from loxo.audio.finding import FOREIGN_SUFFIXES

    foreign = ", ".join(FOREIGN_SUFFIXES) if _version("av") else f"none: {install_extra('formats')}"
    return {"libsndfile": soundfile.__libsndfile_version__, "reads": ", ".join(written), "with PyAV": foreign}


def _survives(sound: Any, name: str) -> bool:
    import soundfile

    buffer = BytesIO()
    try:
        soundfile.write(buffer, sound, 8000, format=name)
        buffer.seek(0)
        return len(soundfile.read(buffer)[0]) > 0
    except (soundfile.SoundFileError, ValueError, TypeError):
        return False


def _language(problems: list[str]) -> dict[str, Any]:
    from loxo.languages import languages

    code = locale.getlocale()[0] or "not set"
    encoding = sys.stdout.encoding or "unknown"
    if not encoding.lower().replace("-", "").startswith("utf8"):
        problems.append(f"This terminal writes {encoding}. Set PYTHONUTF8=1 for names with accents.")
    return {"system": code, "terminal": encoding, "pages": ", ".join(["en", *languages()])}


def _text(value: Any) -> str:
    return "missing" if value is None else str(value)


def _private(value: Any) -> Any:
    """The value without the home folder and the name of the user."""
    if isinstance(value, dict):
        return {name: _private(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_private(item) for item in value]
    if not isinstance(value, str):
        return value
    home = Path.home()
    value = value.replace(str(home), "~")
    if len(home.name) > 1 and home.parent != home:
        value = re.sub(rf"(?<![\w-]){re.escape(home.name)}(?![\w-])", "USER", value)
    return value
