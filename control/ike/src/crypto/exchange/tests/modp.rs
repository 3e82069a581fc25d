//! Agreements in group 14, computed with Python's `pow`. The exponents are SHA-256 of "a0", "a1", "b0", … "c2180", …; the third was
//! looked for until the secret began with a zero byte.

use super::*;
use crate::crypto::tests::{hex, unhex};

/// a.
const A: &str = "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3ef55ff16f66f43360";
/// b.
const B: &str = "c02c0b965e023abee808f2b548d8d5193a8b5229be6f3121a6f16e2d41a449b37dc96f776c8423e5";
/// c.
const C: &str = "d7710a8ba66dc3e016d6ad119c53a0e45459a24e120c93880adcba51b423aec819f37472e66ef119";
/// 2^a mod p.
const POWER_A: &str = "1ec2d3429a66c710fb70ab1ea8983ba5d154709b900e41f57e52dd0bbe27ba0bd831ce0e01633e9dfe9fd919307e9ce4876b\
     b7dfab73ba0fc55a80f8cb1c42e7ec07743fc8a202411937aec725a52cddb568701c32788375aa2470d4cd8e1417b21a6019\
     19be2517e1bb80669aca1317fdfc51530df4eed9a25161416769b80374f5a8fa288ce718cb6f7e58676409418a9a19f171d4\
     8b40c760794a15386b2411a8c1e6d6689ebcd6f1ae35d7d0bfb9e05ef433b9d98f5f494563cedd0fe83eae568c6e6efb8ba8\
     d2168ed42665cb9b4ff0638f34b644f0aaaa436d7ec7808adcfe86e798663a3ede89da7517128cdce54aaa6db60ba76af253\
     06ea295481b3";
/// 2^b mod p.
const POWER_B: &str = "da7dc6df90b9eb40cc4e2a379e08d2bfd2a88fa73bb216154386b3a0db11743f7c91f88cc9e21b72b99d8642111197b1388b\
     d159aa748a29b2d4e03b1c0e864c86a7d7f6516f797336549e624677b07c6434a01011ce341eb748ddb2ceb4640df01c608b\
     48722e6cf48bad1826f9fad3fdccb9b77170bcb49b2709ec4aad4fed2db22dc9a92a63b540892016381b0ed257ad1054f010\
     329b576a18cb87abcf7be6b7d4a091381aaae9d55a724791952c1ab4c3af243bfc885a64fd29a217869b03884db143186c5d\
     164b1ec86cb8ea72678f40e41db6a1b0b4c89f49a39874092f42517123445be2afc55dfd054ad1930dccca74ef80b360d896\
     f1443d4af42f";
/// 2^c mod p.
const POWER_C: &str = "d952deda958e93b4877b7eb0463b2b78b1efa36a544988aa1c6fadf5a488056eb6e01ff534942146d1071309f3d4537f95bb\
     63161b12d5f7c70efccb9f839d0b2afb650ecb2332e2cccf94b133815a503b99e38d1e68f86c107c7c7043864a7e565d5d0e\
     c0a018127c27bb3c1b92837c60665272b6ec889824cdfb864a8394675f3033fd6118b059007693497f7984cd9d771b0018af\
     b1e2e4afca6d1beb24eead152bbe4fd0a3d4d67c47bd1c8b63a2f5533f9be05c51d2c6afdf6e90bc006dcf97a57774c94d6a\
     e6a8dbfeb28f60fe2d2f1673bb734537b5cddb3a55991c4eadcb3389ef4957a457a6047ca4a23c481c2ac41974e2c1adadc5\
     b2f883bdea00";
/// 2^ab mod p.
const POWER_AB: &str = "ac7aaab8f9e9232e78895b205ee41bf5cc8607559004407042ffdb84517f02622021d53c6f828acf94ca151f5f390ec53513\
     dcbb17f3068448c84198342875de4b3d807cb80f5e1f281d861198f107eb57fb58abc5a3241ea7e677124260da8110bd43c7\
     0aa837c6a3c1147d02c5b9751764ba76519fc11f2de8b460bd2ad7ae69bbe18b0a4b604a4b85664ad2052353975631524c1d\
     d01f8b32ac86ed2537ae08cfdb220f2db6533e91592a0aea7086e3bbef2c157a12e0f90df1f75663c590859280ccbff44f93\
     50af4d1acfe91ea4970361a722dcc08273c407e210f00b19f4acc24df4b3f2c51d24ede16d4ef06bff1bf45be75f51d3c9c6\
     b5d1f7fc2659";
/// 2^ac mod p, which begins with zeros.
const POWER_AC: &str = "00c0e0046acd1b767eaaeb5a82ccd8d259f221813051ef0d8aa8f4735d3c6a575e5600a441a2f4f5252404678f3882256fed\
     a61d344c3eb861f4a9ac2a928c998375619de1f228e68a13891ad2be8f5c572a05311b3bf9aa131764949605ff9774648483\
     be444b25ea288af35d1173775178b7c2bebb41ca1781032e7f5bf32884f75dc27e250541f1de889e641c8d334d40fe0eb2f0\
     71474579dc03c4a3d66741f92e83f0df78c4a4379b931ad95b8bd1b4832a9d85744be5ea33e97bb87f3ec3a44906d424814d\
     f2c0b79d8aad03dbd809b37207700f811312ddb0af2080b95b7d140c528a32f7f5df81d1d11696209a3b93d21d0a4ac110ec\
     8062d12a8654";
/// p, from its formula in RFC 3526 §3: 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476).
const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef95\
     19b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb\
     5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3\
     ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603\
     9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffff\
     ffffffffffff";

#[test]
fn agreements_are_those_of_another_program() {
    for (exponent, power) in [(A, POWER_A), (B, POWER_B), (C, POWER_C)] {
        let (_, public) = PrivateValue::generate(Group::Modp2048, &mut Given::new(&unhex(exponent)));
        assert_eq!(hex(&public), hex(&unhex(power)));
    }
    for (exponent, peer, shared) in [
        (A, POWER_B, POWER_AB),
        (B, POWER_A, POWER_AB),
        (A, POWER_C, POWER_AC),
        (C, POWER_A, POWER_AC),
    ] {
        let secret = stored(Group::Modp2048, &unhex(exponent)).agree(&unhex(peer)).unwrap();
        assert_eq!(hex(secret.expose()), hex(&unhex(shared)));
    }
}

/// RFC 6989 §2.1.
#[test]
fn only_values_from_2_to_p_minus_2_are_taken() {
    let private = stored(Group::Modp2048, &unhex(A));
    let with_end = |last: u8| {
        let mut value = unhex(PRIME);
        value[255] = last;
        value
    };
    let small = |last: u8| [&[0; 255][..], &[last]].concat();
    assert_eq!(private.agree(&small(0)), Err(KeError::Weak(Group::Modp2048)));
    assert_eq!(private.agree(&small(1)), Err(KeError::Weak(Group::Modp2048)));
    assert_eq!(hex(private.agree(&small(2)).unwrap().expose()), hex(&unhex(POWER_A)));
    assert!(private.agree(&with_end(0xfd)).is_ok(), "p - 2");
    assert_eq!(
        private.agree(&with_end(0xfe)),
        Err(KeError::Weak(Group::Modp2048)),
        "p - 1"
    );
    assert_eq!(
        private.agree(&with_end(0xff)),
        Err(KeError::NotOfTheGroup(Group::Modp2048)),
        "p"
    );
    assert_eq!(
        private.agree(&[0xff; 256]),
        Err(KeError::NotOfTheGroup(Group::Modp2048))
    );
}
