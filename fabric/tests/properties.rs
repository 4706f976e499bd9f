//! Any program at all, sensible or not, survives its text form and its file form to the bit.

mod arbitrary;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use waferloom_fabric::{from_bytes, text, to_bytes, verify};

proptest! {
    // The same programs in every run; PROPTEST_CASES asks for more of them.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_text_form_reads_back(program in arbitrary::program()) {
        let printed = text::print(&program);
        let parsed = text::parse(&printed).map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
        prop_assert!(parsed == program, "{printed}");
    }

    #[test]
    fn the_file_form_reads_back(program in arbitrary::program()) {
        let read = from_bytes(&to_bytes(&program)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(read == program);
    }

    #[test]
    fn the_verifier_takes_anything(program in arbitrary::program()) {
        // Findings can be told, and told again the same.
        prop_assert_eq!(verify(&program).to_string(), verify(&program).to_string());
    }
}
