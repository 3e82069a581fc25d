"""Certificates of a check: a root and one for each gateway, made by openssl."""

import shutil

from ..shell import must

KINDS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "rsa-4096": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"),
    "ecdsa-256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "ecdsa-384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "ed25519": ("-algorithm", "ED25519"),
    # Beside it comes a list of what its root has revoked: nothing.
    "listed": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    # Its names make it long enough that IKE_AUTH needs several fragments.
    "large": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}
DAYS = "2"
REVOKED = "revoked.pem"
AUTHORITY = """[ca]
default_ca = root
[root]
database = {directory}/index
crlnumber = {directory}/number
default_md = sha256
default_crl_days = 2
crl_extensions = list
[list]
authorityKeyIdentifier = keyid:always
"""
# Of a certificate that takes the place of another one.
RENEWED = "Renewed"


def identity(side):
    """The name in a gateway's certificate."""
    return f"gw-{side}.example.net"


def make(kind, directory):
    """`root.pem`, and `a.pem`, `a.key`, `b.pem`, `b.key` (PKCS #8) in `directory`."""
    directory.mkdir()
    root, key = directory / "root.pem", directory / "root.key"
    must("openssl", "genpkey", *KINDS[kind], "-out", key)
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    subject = ("-subj", "/C=CH/O=Interop/CN=Root")
    must("openssl", "req", "-x509", "-new", "-key", key, *subject, *usage, "-days", DAYS, "-out", root)
    for side in ("a", "b"):
        _leaf(kind, directory, side)
    if kind == "listed":
        revoke(directory)
    return directory


def revoke(made, *sides):
    """Writes a list of revocations by the root in `made` that has the certificates of these sides, and of whoever was revoked before."""
    settings, index = made / "authority", made / "index"
    if not index.exists():
        settings.write_text(AUTHORITY.format(directory=made))
        index.touch()
        (made / "number").write_text("01\n")
    authority = ("openssl", "ca", "-config", settings, "-keyfile", made / "root.key", "-cert", made / "root.pem")
    for side in sides:
        must(*authority, "-revoke", made / f"{side}.pem")
    must(*authority, "-gencrl", "-out", made / REVOKED)


def renew(made, side, directory):
    """Another certificate of a side by the root in `made`, with the same name and another key, in `directory`."""
    directory.mkdir()
    for name in ("root.pem", "root.key"):
        shutil.copy(made / name, directory / name)
    _leaf("ecdsa-256", directory, side, RENEWED)
    return directory


def _leaf(kind, directory, side, organisation="Interop"):
    key, request, leaf = (directory / f"{side}.{end}" for end in ("key", "csr", "pem"))
    names = [f"DNS:{identity(side)}"]
    if kind == "large":
        names += [f"DNS:{number}.{'of-many-names.' * 4}{identity(side)}" for number in range(40)]
    extensions = directory / f"{side}.ext"
    extensions.write_text(
        f"subjectAltName={','.join(names)}\nkeyUsage=critical,digitalSignature\n"
        "basicConstraints=critical,CA:FALSE\n"
    )
    must("openssl", "genpkey", *KINDS[kind], "-out", key)
    must("openssl", "req", "-new", "-key", key, "-subj", f"/C=CH/O={organisation}/CN={identity(side)}", "-out", request)
    issuer = ("-CA", directory / "root.pem", "-CAkey", directory / "root.key", "-CAcreateserial")
    must("openssl", "x509", "-req", "-in", request, *issuer, "-days", DAYS, "-extfile", extensions, "-out", leaf)
