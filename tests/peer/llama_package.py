"""llama.cpp v0.5.0 as a prebuilt library: fetches the npm package that carries it, checks it, builds llama_run beside it."""
import base64
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile

from steps import Failure, Skip, run

PACKAGE = "@node-llama-cpp/linux-x64@3.22.1"
ARCHIVE = "node-llama-cpp-linux-x64-3.22.1.tgz"
INTEGRITY = "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="  # npm view PACKAGE dist.integrity
LIBRARIES = "package/bins/linux-x64/"  # inside the archive: libllama, libggml, and libggml-cpu for each kind of CPU
HERE = os.path.dirname(os.path.abspath(__file__))


def check_machine():
    """Skips before anything is fetched when a later step could not work."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Skip(f"{PACKAGE} is for Linux on x86-64, this is {platform.system()} on {platform.machine()}")
    for tool, package in (("npm", "npm"), ("g++", "g++")):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed; Debian has it in the package {package}")


def integrity(path):
    digest = hashlib.sha512()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            digest.update(piece)
    return "sha512-" + base64.b64encode(digest.digest()).decode()


def fetch(work):
    """The archive in `work`, from there when it is there already, and in either case what INTEGRITY says."""
    path = os.path.join(work, ARCHIVE)
    if os.path.exists(path) and integrity(path) == INTEGRITY:
        return path
    command = ["npm", "pack", "--fetch-retries=1", "--loglevel=error", PACKAGE]
    done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0 or not os.path.exists(path):
        first = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise Skip(f"{' '.join(command[:2])} {PACKAGE}: {first.removeprefix('npm error ').removeprefix('npm ERR! ')}; it needs a network and an npm registry")
    found = integrity(path)
    if found != INTEGRITY:
        raise Failure(f"{path} has integrity {found}, expected {INTEGRITY}: not the package that this was written for, so it is not run")
    return path


def unpack(archive, work):
    """The directory with the shared libraries."""
    out = os.path.join(work, "llama")
    os.makedirs(out, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.removeprefix(LIBRARIES)
            if member.isfile() and name.endswith(".so") and name != member.name and "/" not in name:
                with tar.extractfile(member) as source, open(os.path.join(out, name), "wb") as target:
                    shutil.copyfileobj(source, target)
    return out


def build(work):
    """llama_run, compiled again when its sources are newer."""
    program, sources = os.path.join(work, "llama_run"), [os.path.join(HERE, f) for f in ("llama_run.cc", "llama_library.h")]
    if not os.path.exists(program) or os.path.getmtime(program) < max(map(os.path.getmtime, sources)):
        run("compile llama_run.cc", ["g++", "-std=c++20", "-O2", "-o", program, sources[0], "-ldl"])
    return program
