"""Makes a container image, an archive in the OCI form, of local files: without a registry and without a builder.

python3 mkimage.py NAME ARCHIVE [--file SOURCE[:/path]]… [--tree DIRECTORY[:/path]]… [--link TARGET:/path]…
                   [--entry WORD]… [--env NAME=VALUE]… [--user UID]
"""

import argparse
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
DIRECTORIES = ("tmp", "etc", "proc", "sys", "dev")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: Sequence[str], trees: Sequence[str], links: Sequence[str]) -> bytes:
    """All in one layer. All is root's and without times, so that the same files make the same image."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in DIRECTORIES:
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(info)
        for entry in (*files, *trees):
            source, _, target = entry.partition(":")
            otherwise = "/" if entry in trees else "/" + Path(source).name
            tar.add(source, (target or otherwise).lstrip("/") or ".", filter=plain)
        for entry in links:
            target, _, path = entry.partition(":")
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def archive(name: str, plain: bytes, *, entry: Sequence[str], env: Sequence[str], user: str) -> bytes:
    """The image with that one layer."""
    packed = gzip.compress(plain, compresslevel=1, mtime=0)
    program = {"Entrypoint": list(entry), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *env], "User": user}
    config = encode(
        architecture="amd64", os="linux", config=program, rootfs={"type": "layers", "diff_ids": [digest(plain)]}
    )
    manifest = encode(
        schemaVersion=2,
        mediaType=f"{OCI}.manifest.v1+json",
        config=described("config.v1+json", config),
        layers=[described("layer.v1.tar+gzip", packed)],
    )
    named = {**described("manifest.v1+json", manifest), "annotations": {"io.containerd.image.name": name}}
    index = encode(schemaVersion=2, mediaType=f"{OCI}.index.v1+json", manifests=[named])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        blobs = {f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (packed, config, manifest)}
        for path, data in {"oci-layout": encode(imageLayoutVersion="1.0.0"), "index.json": index, **blobs}.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def encode(**content: Any) -> bytes:
    return json.dumps(content).encode()


def described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": f"{OCI}.{kind}", "digest": digest(blob), "size": len(blob)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("archive", type=Path)
    for option in ("--file", "--tree", "--link", "--entry", "--env"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("--user", default="")
    options = parser.parse_args()
    plain = layer(options.file, options.tree, options.link)
    options.archive.write_bytes(archive(options.name, plain, entry=options.entry, env=options.env, user=options.user))


if __name__ == "__main__":
    main()
