//! A vector of NIST's for SP 800-135 IKEv2 (ACVP server, kdf-components ikev2 1.0, test case 1072: SHA-384, nonces of 64 bits). Of its
//! key material the beginning is compared, as much as an SA takes. Most other cases there have lengths that are no whole bytes.

use super::{hex, unhex};
use crate::crypto::child_keys::child_keys;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::secret::Secret;
use crate::transform::{Encryption, EspSuite, Group, IkeSuite, Prf};

const NONCE_I: &str = "982294aac445cf7b";
const NONCE_R: &str = "adeb0f5d08f6d272";
const SPI_I: u64 = 0x86aa_aa5a_5903_4af7;
const SPI_R: u64 = 0xecc8_511a_9573_5594;
/// g^ir.
const SHARED: &str = "56b0d69596691f96915702ba614c265a61697a0019b4a3f03e186f36e0df26edf96fac67316d4604a1b7bb5f17c124597ebcf6f37e38\
    2203180803dd6ec04e4cb61a7b86a5a516585df9393cb7bbf841f6ddf72e2cdd0774f5520d48c5a3fedaf4721b10031a3676eb22d086\
    ad18552550c8816c9b43bfd22a7ea0dc1b017b2d7fe6550ce1490a774a9272ebaf32f2962f294a40d17dc0497ffc5a0d9281085d0e80\
    b8a0ae844e9a0953ea5b8c3ece858c325d245f89ae388603912fe414ca34eefe2a7eb77fc98d4da9ca7fb6464d112c3e225cb5f75b39\
    fe6f1f77119c44d4d2a0a2d950fbc4ae8f131bbbc2aca8a57ba3cc28e89dd590d87a797b2d58a069648d2c5eecc9b5f8670afa8a8734\
    b377eb4cd0b206a961fffe8fa205f32cb9899ea3ef762393f24b56d2d24a9cd31f7b7f6da8e6e23e0d540350f2df140bcb3a55975ea7\
    af33e49433b2f113fd654ff06eb710bf660e20fd4a9fa9082825fe47e5cfafecc48e33902c0ef4023c57f4ad581a041252b009048323\
    35e3c311a228b52d6bf112a80b73ca63707013a42080826d19ca4db37550c1c295cf01fef39c7e08a75dd8771b72e552c6c801cbc719\
    f336e1b7ad21305c8a43692e1bf0c5902b713bdabd14b66425c7ec7e0fff942bf0b0bfc78f1f0ebae265718fdb4039d1d0d5c895f6b8\
    c9b3fd70d7bbdb12c2fcd2446e54c19666f307329287c7b4d4fc83c890d1fc666f5f05815df51315ed75ed3843b03dbc9961a7c4fc66\
    17ce345b66ead1c988af3416f5ab115af80eb70399aa56fb103be654911881307d650b17db5504cb19861f433454eb24112a7a28f579\
    cc23e60fb16ab5eb4fa7f2696ae1d023847237ac7d65cd3c0bc1a59c40e0c0739ae747db3a60c83b7796ebed80401591c0510b3a9c8f\
    6113fe207079a52d813b9473a9807390758fadd33cde78cc5d7b3a4bc9c11c55e74367ba6cb0f0750eb47464b9ddbb4fdc8a13279083\
    d3c8cd6ad160eeb4e1f6a04e5165d04f1b89b73d570fa746372edb29ffabb8bca338a8370a8739a7b266c31babf00c9778dc36cce333\
    bb7c00d7f20a07a11aa5124b3e5dfc492c51569a71138ba81e2939e3ca1a51ca07e195a58036d98f4123794fc4c919467b43f68797eb\
    155121810ecc9a49c594f4d61558a3778c22d9ed858665ad2a2df6d42d8fae46a11d3a391d0d59b27dc7aadefdeef7101aa8d2a4cd38\
    084f8b3f8f677f18116f72f2c40c68be205ec7a6268dd6f0ecb99475ec3efe20386529a2f73d6b2059a35581cfe9a78b8507e6d1c505\
    9e31f2837cfa87d8bb66f041dc6b98edc5062f8cacc5bfc87369b31c4da8a5ef6214d1c18fbd449bac0569154a42535ba8d2af8bc027\
    1a70f38240c19634de257c3a842fc640bf7492f0b4c635b34bb42a4a502bcd212ae74398024f32d78b60cc9fc995f77ea5f8fe7d";
/// g^ir (new).
const SHARED_NEW: &str = "c344e00cb9cbae4253ce577226f735100b813669fe45151e3e6b3ffd26b67cbb1314e560dc62b122314f5faa929300c5a8d010d6be5e\
    0ba8a4bc6f6aede091b378ea0627bddde01c58f5c709eebadbadd62dddb76af5a5193ba23dbd7e0917f9594e656e40d7f286887acc64\
    77474be27aed7404d9ea02de5846feaf63689724593f51399d559b4b32b6a26cd3fd5f3a52a125152e7038aa8702c3db22243c2ae7a0\
    62d7829d849f03a375119589e11c2120d4a0937ec5bc16d3d621f59feea7c837f6b519815b2642b894f32d4f7e5e24b97a10cc0562dd\
    557c59ddc3c7589896a36013e805d59c31a1a6f55b1a386fb09ae94e37854b294bdebaef1e8cc7e9aeef0e66be2ff90d07b196172fad\
    bc106c776a8bb00788a5091f42e213dd4ec7b9d5a3172aa4e71a269955bf2a54498ec0cdcd6c5480be5207390ba5491fa65d71c06c78\
    3c7dde39e4be0c6f598fde14c58c01ba3bbf88254edf9508decbd93208af4f09680f1ac288082cdda60d319c42e9712352af0cc0cad5\
    8757406641109cb27c8b2c20fd36b05469478053fad636d56f1fdb76e4853a7b2a6646cb16f14fad30a0e36871b1084d993734473cf4\
    3bce22565891bdcd5360f39ed20683498b9e8fbc4736a4582bc7b0994338e52e1afc6cca15a290de6978d788c19d79b8e6dc6f1a7556\
    f1a89837f8e97027452ae8b53c4bbf6a26fab9041339de3c9024b020c18862cee357482b343b9c4ae37db1b5c451c229d9a765d1e958\
    ae39d3cc73953353a4f6dfad06ff7598128ccca25dc172b20903bae373667f427be956bdc447c868ec403f2467ce547c0d4d0de51364\
    4204f698143bfd2094e31b477b5b7c82e52071df079fc6694a1d3eb70408499a89f644d23fa9673948f4e0058eb2eb93341155577f9d\
    5b87d636427c75461474e8a9fa67eeb0943b78f17d62269ca08c9ab3fe187d3243835d3383d3e5e02ac55607a22e3e86473229d38ac3\
    21b8ba5a0a275c9f0b6a7c8ad738ed36e3bd0e02b49e1be1f7abb4f6530982f9bd1bbc4a696691f4e3df6471e999d9f27c9b3caccc48\
    dfde0324c19c1b3f7f70dc6524b12b6ad1206adb4b947d1e06b847cf36d37a5f5fe1cde8b43b87fccf2e73e190ef5121c2b36eb60b2b\
    2aacc6b85f4898eb6df3516c5575d3ee1d40d77607754044d76600e0bba4c6cbccb457a0d6d27b5e72d6a3b425675551017d573582d8\
    e0814d9d8adba60bc111a877d4aac7d46c7476594ee7f78de16241a7eb7cb56f43a15e1e754347f2b8c1bd9a4207ca97f9edfa0da4c6\
    793ea0c2e0d1cd5fcc7facea7f9e42c0c166821b20c8269750c2330f06b7fc6259c240a0df36a9c90dd889e33192cafda600a5f670fe\
    89b9df7ff98a9bdb385663de7d499ce9c1665df219a9820516494dcfea3e0e5f40d70cdd89a09d07bc27820be948dc17cc913fb3";
const SKEYSEED: &str =
    "a7271b58332b3afe2783afcf51c07579c304d82198dc6bd34f249ac522d3026523a68ba33a3a16b3e92aef0611d4af7a";
const DKM: &str = "7fed0a441ba07150457a6d0466e5df91fd627a6bf0785b0b8db4caef95b21837a65472ccc67ca0947942e10a093ef092f3b627feada3\
    21190dd2983a221c8e79c8e3ec43785a7e2fb4b8d882d794b2215e388978b3c51e4750f53b06e04ebf4f04f99c6f6a564d1e9ae92c14\
    e9916d148d79479c2d17959809b61635b5e66845aa79180c54b373dfcd672fce8a46d8377fcdfe66caecb3a2613fc88b3050cf2c3337\
    3b8b22c243b41a2b865b3c07172edd410f64d6e4a25bfe85f9e3dfdb83ce2028c2a06697044c2b2f2857bb36f69ba0b3a05057ba072a";
const DKM_CHILD: &str = "2d02bd4959e7622713c836a1fd5f51797553b63f2219de351e1080cfed171b76e0fa29e0288a0c00a2efd4dcaf52b1bb6bc2a22922e3\
    31770e7851ed481e4d1c36ddcf5f27413483";
const DKM_CHILD_DH: &str = "afee9104a2f26e2613fd837f7c577fb7fe9533f7182f46a582c7e718c696b79882740df6506965817e2e2dd53813677850f6d44aad5a\
    3b7921eff661bdd071f15dce511b58d2d4ed";

#[test]
fn case_1072() {
    let (nonce_i, nonce_r, shared) = (unhex(NONCE_I), unhex(NONCE_R), Secret::new(unhex(SHARED)));
    let public = Public {
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: SPI_I,
        spi_r: SPI_R,
    };
    let (encryption, prf) = (Encryption::AesGcm16(256), Prf::HmacSha384);
    let suite = IkeSuite {
        encryption,
        integrity: None,
        prf,
        group: Group::Modp2048,
        additional: Vec::new(),
    };
    assert_eq!(
        hex(prf
            .mac(&[nonce_i.clone(), nonce_r.clone()].concat(), &[shared.expose()])
            .expose()),
        SKEYSEED
    );

    let keys = IkeKeys::derive(&suite, &shared, public);
    let all = [&keys.d, &keys.ei, &keys.er, &keys.pi, &keys.pr]
        .map(Secret::expose)
        .concat();
    assert_eq!(hex(&all), DKM);

    let esp = EspSuite {
        encryption,
        group: None,
        additional: Vec::new(),
        esn: true,
    };
    for (shared, expected) in [
        (vec![], DKM_CHILD),
        (vec![Secret::new(unhex(SHARED_NEW))], DKM_CHILD_DH),
    ] {
        let keys = child_keys(prf, &keys.d, &shared, &nonce_i, &nonce_r, &esp);
        let (to, from) = (&keys.initiator, &keys.responder);
        assert_eq!(
            hex(&[to.key.expose(), &to.salt, from.key.expose(), &from.salt].concat()),
            expected
        );
    }
}
