"""Makers of images that carry evidence; each function returns bytes."""

import datetime
import io
import json
from functools import cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@cache
def chain() -> tuple[str, str, str]:
    """(PEM of the signer's certificate, of its key (PKCS 8), of the root), made once a process; the root is no public one."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pigment Tests"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
             for name in ("Test Root", "Test Signer")]  # fmt: skip
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for key, name, ca in ((keys[0], names[0], True), (keys[1], names[1], False)):
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True).add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    key = keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return made[1], key, made[0]


def signed(data: bytes, mime: str, *, source_type: str = "trainedAlgorithmicMedia", assertions: tuple[dict, ...] = ()) -> bytes:
    """`data` with a C2PA manifest signed by :func:`chain`. mime: image/jpeg, image/png or image/webp."""
    certificate, key, _ = chain()
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + source_type}
    manifest = {
        "claim_generator_info": [{"name": "Pigment Test Maker", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}, *assertions],
    }
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificate.encode(), key.encode(), None))
    settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}, "verify": {"ocsp_fetch": False}})
    out = io.BytesIO()
    with c2pa.Context(settings) as context, c2pa.Builder(json.dumps(manifest), context=context) as builder, signer:
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()
