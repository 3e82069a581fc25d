"""The clouds as a strongSwan that plays them: their proposals, their lifetimes, who may begin.

Read from the clouds' public documentation on 2026-11-20: AWS `VPNTunnels.html`, Azure `vpn-gateway-about-vpn-devices` and
`ipsec-ikepolicy`, Google `supported-ike-ciphers`, Cloudflare `tunnels/ipsec`. strongSwan's words for them; combinations of AEAD and
others are proposals of their own (RFC 7296 §3.3.2). Groups that this strongSwan has no word for are left out (22, 23 and 24 stand
as modp1024s160, modp2048s224 and modp2048s256).
"""

import dataclasses

from .tunnel import Tunnel

AWS_GROUPS = "modp2048-modp3072-modp4096-modp6144-modp8192-ecp256-ecp384-ecp521-modp1024-modp2048s256"
AWS_HASHES = "sha256-sha384-sha512-sha1"
AWS_PRFS = "prfsha256-prfsha384-prfsha512-prfsha1"
GCP_GROUPS = "modp2048-modp3072-modp4096-modp8192-ecp256-ecp384-ecp521-x25519-modp1024-modp1536"
GCP_PRFS = "prfsha256-prfsha384-prfsha512-prfsha1"


@dataclasses.dataclass(frozen=True)
class Cloud:
    """What a cloud accepts (`ike`, `esp`), what we offer it, and its lifetimes in seconds."""

    name: str
    ike: str
    esp: str
    our_ike: str
    our_esp: str
    ike_seconds: int
    child_seconds: int
    may_begin: bool = False
    start_on_4500: bool = False

    def tunnel(self, **more):
        """A tunnel to it."""
        return Tunnel(
            profile=self.name,
            ike=self.our_ike,
            esp=self.our_esp,
            peer_ike=self.ike,
            peer_esp=self.esp,
            everything=True,
            start_on_4500=self.start_on_4500,
            **more,
        )


AWS = Cloud(
    name="aws",
    ike=f"aes256gcm16-aes128gcm16-{AWS_PRFS}-{AWS_GROUPS},aes256-aes128-{AWS_HASHES}-{AWS_GROUPS}",
    esp=f"aes256gcm16-aes128gcm16-{AWS_GROUPS},aes256-aes128-{AWS_HASHES}-{AWS_GROUPS}",
    our_ike="aes256gcm16-prfsha384-ecp384",
    our_esp="aes256gcm16-ecp384",
    ike_seconds=28_800,
    child_seconds=3_600,
)
AZURE_DEFAULT = Cloud(
    name="azure-default",
    ike="aes256-sha1-modp1024,aes256-sha256-modp1024,aes128-sha1-modp1024,aes128-sha256-modp1024,3des-sha1-modp1024,3des-sha256-modp1024",
    esp="aes256gcm16,aes256-sha1,3des-sha1,aes256-sha256,aes128-sha1,3des-sha256",
    our_ike="aes256gcm16-prfsha384-ecp384",
    our_esp="aes256gcm16-ecp384",
    ike_seconds=28_800,
    child_seconds=27_000,
)
AZURE_CUSTOM = Cloud(
    name="azure-custom",
    ike="aes256gcm16-prfsha384-ecp384",
    esp="aes256gcm16-ecp384",
    our_ike="aes256gcm16-prfsha384-ecp384",
    our_esp="aes256gcm16-ecp384",
    ike_seconds=28_800,
    child_seconds=27_000,
    may_begin=True,
)
GCP = Cloud(
    name="gcp",
    ike=(
        f"aes128gcm16-aes192gcm16-aes256gcm16-{GCP_PRFS}-{GCP_GROUPS},"
        f"aes128-aes192-aes256-sha256-sha512-sha384-sha1-{GCP_PRFS}-{GCP_GROUPS}"
    ),
    esp=f"aes128gcm16-aes256gcm16-aes192gcm16-{GCP_GROUPS},aes128-aes256-aes192-sha256-sha512-sha1-{GCP_GROUPS}",
    our_ike="aes256gcm16-prfsha256-modp2048",
    our_esp="aes256gcm16-modp2048",
    ike_seconds=36_000,
    child_seconds=10_800,
    may_begin=True,
)
CLOUDFLARE = Cloud(
    name="cloudflare",
    ike=(
        "aes256gcm16-aes128gcm16-prfsha256-prfsha384-prfsha512-ecp384-modp2048-modp1536,"
        "aes256-sha256-prfsha256-prfsha384-prfsha512-ecp384-modp2048-modp1536"
    ),
    esp="aes256gcm16-aes128gcm16-ecp384-modp2048-modp1536,aes256-aes128-sha256-sha1-ecp384-modp2048-modp1536",
    our_ike="aes256gcm16-prfsha256-ecp384",
    our_esp="aes256gcm16-ecp384",
    # Cloudflare names none; these are the values of its examples.
    ike_seconds=28_800,
    child_seconds=14_400,
    start_on_4500=True,
)
# Its ceilings are others, its policy is not.
AWS_LARGE = dataclasses.replace(AWS, name="aws-large")
ACCEPTED = (AWS, AWS_LARGE, AZURE_CUSTOM, GCP, CLOUDFLARE)
