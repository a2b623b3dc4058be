"""A certificate authority for a test: it signs what the test asks for, good or bad."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.servers import find_program
from tidings.rpc.tls import TlsFiles


class Authority:
    """Its files lie in `folder`; each certificate is for `name` and for 127.0.0.1."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.cert = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl(
            *("req", "-x509", "-subj", f"/CN={name}", "-days", "2"),
            *self._new_key(self._key),
            *("-out", str(self.cert)),
        )

    def sign(
        self, name: str, *, purposes: str = "serverAuth,clientAuth", expired: bool = False
    ) -> TlsFiles:
        """A pair of files of this authority's; the other side has to be of the same.

        Args:
            purposes: what the certificate may be used for; empty: it does not say.
        """
        cert, key, request, extensions = (
            self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr", "ext")
        )
        extensions.write_text(
            f"subjectAltName=DNS:{name},IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
            + (f"extendedKeyUsage={purposes}\n" if purposes else "")
        )
        self._openssl("req", "-subj", f"/CN={name}", *self._new_key(key), "-out", str(request))
        self._openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.cert), "-CAkey", str(self._key)),
            *(
                "-CAcreateserial",
                "-extfile",
                str(extensions),
                "-days",
                "-1" if expired else "2",
                "-out",
                str(cert),
            ),
        )
        return TlsFiles(cert, key, self.cert)

    def _new_key(self, path: Path) -> tuple[str, ...]:
        return (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            str(path),
        )

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(
            [find_program("openssl"), *arguments], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
