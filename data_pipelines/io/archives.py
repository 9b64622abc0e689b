"""Files of a ZIP archive, or of the folder that it was unpacked to, read without unpacking."""

from __future__ import annotations

import os
import pathlib
import zipfile

from data_pipelines.errors import UserError
from data_pipelines.io import files

_HIDDEN = (".", "__MACOSX")
"""Starts of names that programs leave beside the files of an archive."""

# Of other methods zipfile unpacks whole blocks, of any size, before it looks at the count.
_BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """The files of a ZIP archive or of a folder, by their paths in it.

    Nothing is extracted: a file is read into memory, up to a limit. A context manager.

    Args:
        path: a local ZIP archive, or a folder.

    Raises:
        UserError: it is neither, cannot be read, or has a member whose path leads out of it.
    """

    def __init__(self, path: str):
        self.path = files.describe_path(path)
        self._zip = None if files.is_folder(path) else _open_zip(self.path)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *unused) -> None:
        if self._zip is not None:
            self._zip.close()

    def list_files(self, suffix: str) -> list[str]:
        """Lists files, without hidden ones.

        Args:
            suffix: lower-case end of the names, such as ".png"; compared without case.

        Returns:
            Paths in the archive, POSIX, sorted.

        Raises:
            UserError: the folder cannot be read.
        """
        if self._zip is None:
            return files.list_files(self.path, (suffix,))
        return sorted(
            name
            for name in self._zip.namelist()
            if name.lower().endswith(suffix)
            and not any(part.startswith(_HIDDEN) for part in name.split("/"))
        )

    def read_bytes(self, name: str, limit: int) -> bytes:
        """Reads a file.

        Args:
            name: from `list_files`.
            limit: maximum number of bytes.

        Returns:
            The content, at least one byte.

        Raises:
            UserError: the file is damaged, encrypted, empty or larger than `limit`; names no path.
        """
        if self._zip is None:
            return files.read_bytes(files.join_path(self.path, name), limit)
        member = self._zip.getinfo(name)
        if member.file_size > limit:
            raise UserError(f"has {member.file_size} bytes, more than the limit of {limit}")
        if member.compress_type not in _BOUNDED_METHODS:
            raise UserError("is compressed by another method than deflate")
        try:
            # With a count, since the true size may exceed that of the archive's directory.
            with self._zip.open(member) as file:
                data = file.read(limit)
        # zipfile raises many types for damaged and encrypted members.
        except Exception as error:
            raise UserError(f"cannot be unpacked: {error}") from error
        if not data:
            raise UserError("is empty (0 bytes)")
        return data


def _open_zip(path):
    if not os.path.isfile(path):
        raise UserError(f"There is neither a file nor a folder {path}.")
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a ZIP archive: {error}. Download it again, or name the "
            "folder that it was unpacked to."
        ) from error
    for name in archive.namelist():
        # Windows' rules cover those of POSIX, and drives.
        parsed = pathlib.PureWindowsPath(name)
        if parsed.drive or parsed.root or ".." in parsed.parts:
            archive.close()
            raise UserError(
                f"{path} has the member {name!r}, whose path leads out of the archive; get it "
                "from the publisher."
            )
    return archive
