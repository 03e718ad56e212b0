"""Installing the package as users do, without a network: what the tests run with is there, and a wheel is at hand."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def environment(folder: Path) -> dict[str, str]:
    """Variables with which pip finds the package in a folder, and everything else installed but the package.

    ``python`` and ``python3`` are those of a new virtual environment that has nothing but pip.
    """
    overlay, wheels, bare = folder / "overlay", folder / "wheels", folder / "bare"
    overlay.mkdir(parents=True)
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith(("repvgg_onnx", "_repvgg_onnx", "__pycache__")) and entry.suffix != ".pth":
            (overlay / entry.name).symlink_to(entry)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(bare)], check=True)
    kept = {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
    return kept | {
        "PATH": os.pathsep.join((str(bare / "bin"), os.environ["PATH"])),
        "HOME": str(folder),
        "PYTHONPATH": str(overlay),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's own logic: 0 is "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
