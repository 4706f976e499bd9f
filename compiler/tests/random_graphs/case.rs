//! What a random model is made of, and how it is drawn.

use proptest::prelude::*;
use waferloom_fabric::Dtype;
use waferloom_models::graph::UnaryOp;

/// A model, its input's sizes, and the grid.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Of the weights, the inputs' values and the choices without meaning.
    pub(crate) seed: u64,
    pub(crate) grid: (u16, u16),
    pub(crate) dtype: Dtype,
    pub(crate) batch: usize,
    pub(crate) tokens: usize,
    pub(crate) width: usize,
    pub(crate) front: Front,
    pub(crate) positions: Positions,
    pub(crate) mask: Mask,
    pub(crate) blocks: Vec<Block>,
    /// Layers of each block.
    pub(crate) layers: usize,
    pub(crate) ends: Vec<End>,
}

/// How the first hidden states come about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Front {
    /// They are an input.
    States,
    /// A look-up of words.
    Words(usize),
    /// Patches of an image, with a token in front of them.
    Patches { channels: usize, size: usize, overlap: bool },
    /// A convolution along the tokens, by groups of channels.
    Convolution { reach: usize, groups: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Positions {
    None,
    /// Rows of a table, the first ones.
    Learned,
    /// Rows of a table at places that follow from the mask.
    Counted,
    /// Sines and cosines that are computed from the mask.
    Sinusoidal,
    Rotary,
    Linear,
}

/// What the tokens look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sight {
    /// Themselves.
    Tokens,
    /// Themselves and so many earlier ones in a cache.
    Past(usize),
    /// Another sequence of so many tokens.
    Memory(usize),
    /// Those of the same window after a roll.
    Windows { size: usize, shift: usize },
}

/// What becomes of scores whose key is masked by the integer input `attention_mask`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mask {
    None,
    /// The lowest number is added.
    Added,
    /// The lowest number takes their place.
    Replaced,
    /// Minus infinity takes their place, and what is not a number is zero in the end.
    Infinite,
    /// As before, and keys behind the query are masked as well.
    Causal,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) sight: Sight,
    pub(crate) norm_first: bool,
    /// Root mean square instead of layer normalisation.
    pub(crate) rms: bool,
    pub(crate) key_heads: usize,
    /// Queries of a key.
    pub(crate) group: usize,
    pub(crate) head: usize,
    pub(crate) hidden: usize,
    pub(crate) gated: bool,
    /// `None` for gelu written out.
    pub(crate) activation: Option<UnaryOp>,
}

/// What is made of the last hidden states, or of something else, as a further output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    States,
    FirstToken,
    Pooler,
    MaskedMean,
    Max(usize),
    Padded(usize),
    Rotated,
    Picked,
    Logits(usize),
    Sum,
    Input,
    TurnedInput,
    MaskInput,
    MaskCounts,
    Best,
    Small,
    Constant,
    Twice,
}

fn fronts() -> impl Strategy<Value = Front> {
    prop_oneof![
        Just(Front::States),
        (1usize..20).prop_map(Front::Words),
        (1usize..4, 1usize..4, any::<bool>()).prop_map(|(channels, size, overlap)| Front::Patches {
            channels,
            size,
            overlap
        }),
        (1usize..5, 1usize..3).prop_map(|(reach, groups)| Front::Convolution { reach, groups }),
    ]
}

fn positions() -> impl Strategy<Value = Positions> {
    use Positions::{Counted, Learned, Linear, None, Rotary, Sinusoidal};
    prop::sample::select(vec![None, Learned, Counted, Sinusoidal, Rotary, Linear])
}

fn sights() -> impl Strategy<Value = Sight> {
    prop_oneof![
        4 => Just(Sight::Tokens),
        1 => (1usize..6).prop_map(Sight::Past),
        1 => (1usize..8).prop_map(Sight::Memory),
        1 => (1usize..6, 0usize..5).prop_map(|(size, shift)| Sight::Windows { size, shift }),
    ]
}

fn masks() -> impl Strategy<Value = Mask> {
    use Mask::{Added, Causal, Infinite, None, Replaced};
    prop::sample::select(vec![None, Added, Replaced, Infinite, Causal])
}

fn blocks() -> impl Strategy<Value = Block> {
    let activations = [UnaryOp::Silu, UnaryOp::Gelu, UnaryOp::Relu, UnaryOp::Tanh, UnaryOp::Sigmoid];
    let activations = prop::option::of(prop::sample::select(activations.to_vec()));
    let sizes = (1usize..4, 1usize..4, 1usize..8, 1usize..20);
    (any::<[bool; 3]>(), sizes, activations, sights()).prop_map(|(flags, sizes, activation, sight)| Block {
        sight,
        norm_first: flags[0],
        rms: flags[1],
        gated: flags[2],
        key_heads: sizes.0,
        group: sizes.1,
        head: sizes.2,
        hidden: sizes.3,
        activation,
    })
}

fn ends() -> impl Strategy<Value = End> {
    use End::{
        Best, Constant, FirstToken, Input, MaskCounts, MaskInput, MaskedMean, Picked, Pooler, Rotated, Small, States,
        Sum, TurnedInput, Twice,
    };
    let plain = vec![
        States,
        FirstToken,
        Pooler,
        MaskedMean,
        Rotated,
        Picked,
        Sum,
        Input,
        TurnedInput,
        MaskInput,
        MaskCounts,
        Best,
        Small,
        Constant,
        Twice,
    ];
    prop_oneof![
        3 => prop::sample::select(plain),
        1 => (0usize..3).prop_map(End::Max),
        1 => (1usize..4).prop_map(End::Padded),
        1 => (1usize..12).prop_map(End::Logits),
    ]
}

/// Single PEs, lines and rectangles.
pub(crate) fn grids() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![Just((1, 1)), (1u16..7).prop_map(|w| (w, 1)), (1u16..6).prop_map(|h| (1, h)), (2u16..7, 2u16..6)]
}

pub(crate) fn dtypes() -> impl Strategy<Value = Dtype> {
    prop::sample::select(vec![Dtype::F32, Dtype::F16])
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1usize..4, 1usize..14, 1usize..18);
    let parts = (fronts(), positions(), masks());
    let lists = (prop::collection::vec(blocks(), 0..3), prop::collection::vec(ends(), 1..4));
    (any::<u64>(), grids(), dtypes(), sizes, parts, lists).prop_map(
        |(seed, grid, dtype, (batch, tokens, width), (front, positions, mask), (blocks, ends))| Case {
            seed,
            grid,
            dtype,
            batch,
            tokens,
            width,
            front,
            positions,
            mask,
            blocks,
            layers: 1,
            ends,
        },
    )
}

/// Models with layers that are alike, and of which an output is needed.
pub(crate) fn layered() -> impl Strategy<Value = Case> {
    let blocks = prop::collection::vec(blocks(), 1..3);
    (cases(), blocks, 2usize..5).prop_map(|(mut case, blocks, layers)| {
        case.ends.push(End::States);
        Case { blocks, layers, ..case }
    })
}
