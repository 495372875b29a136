"""What is said when a weight file is refused, and what a file that holds no weights looks like."""

from limner.errors import CheckpointError

AGAIN = "download it again, and compare its SHA-256 with the one its publisher gives"
FORMATS = "safetensors, a PyTorch file (.pt, .pth, .bin, .th, .ckpt), a TorchScript archive, or .npz"
PLAINLY = "ask its author for a safetensors file, or for one that holds model.state_dict() alone"

_LOOKS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer: the weights themselves were never fetched",
        "git lfs pull",
    ),
    (b"<", "a web page: a login or error page was saved instead of the file", AGAIN),
    (
        b"PK\x03\x04",
        "a zip archive with no data.pkl of PyTorch in it, and no arrays of NumPy",
        "unzip it and name the weights inside",
    ),
    (b"GGUF", "GGUF", PLAINLY),
    (b"\x89HDF", "HDF5 (Keras)", PLAINLY),
    (b"\x1f\x8b", "a gzip archive", "unpack it (gunzip or tar -xzf) and name the file inside"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and name the file inside"),
    (b"BZh", "a bzip2 archive", "unpack it (bunzip2) and name the file inside"),
    (b"\xfd7zXZ", "an xz archive", "unpack it (unxz) and name the file inside"),
)
_HEAD_BYTES = 512


def damaged(origin: object, problem: str) -> CheckpointError:
    """A file that is not what it says it is: cut short, altered, or made to mislead."""
    return CheckpointError(f"{origin} is damaged: {problem}", wanted="a whole weight file", hint=AGAIN)


def oversized(origin: object, problem: str) -> CheckpointError:
    """A file that would take more memory or time than any weights need."""
    return CheckpointError(
        f"{origin} is refused: {problem}", wanted="a weight file of ordinary make", hint=PLAINLY
    )


def unsafe(origin: object, name: str) -> CheckpointError:
    """A pickle that names something besides tensors and plain values."""
    return CheckpointError(
        f"{origin} asks for {name}, which is no tensor and no plain value; nothing of the file was used",
        wanted="tensors and plain values alone",
        hint="open it with no other library either: what it asks for would run. " + PLAINLY,
    )


def foreign(origin: object, head: bytes) -> CheckpointError:
    """A file that holds no weights limner can read; says what it looks like.

    Args:
        origin: the file.
        head: its first 512 bytes.
    """
    looks, hint = _looks_like(head)
    return CheckpointError(f"{origin} is {looks}", wanted=FORMATS, hint=hint)


def _looks_like(head: bytes) -> tuple[str, str]:
    if not head:
        return "empty", AGAIN
    if not head.strip(b"\0"):
        return "nothing but zeros at its start: a download that was never filled", AGAIN
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for sign, looks, hint in _LOOKS:
        if start.startswith(sign):
            return looks, hint
    if head[257:262] == b"ustar":
        return (
            "a tar archive (PyTorch before 0.1.12, or a packed folder)",
            "unpack it with tar -xf if it packs a folder; " + PLAINLY,
        )
    if head[:1] == b"\x80" or head[:2] in (b"(d", b"(l", b"cc"):
        return "a bare pickle, not a file of torch.save", PLAINLY
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable == len(head):
        return f"a text file that starts with {start[:40].decode('ascii', 'replace')!r}", AGAIN
    return f"no format that is known here: it starts with {head[:8].hex(' ')}", AGAIN
