//! What to do about an operator that is not supported: the nearest form that is.

/// The nearest supported form.
pub(super) fn nearest(operator: &str) -> &'static str {
    match operator {
        "Scan" | "IfThenElse" | "If" | "Loop" => {
            "control flow cannot be laid out on the mesh: export the model with a fixed number of steps, unrolled"
        }
        "LSTM" | "GRU" | "RNN" | "LstmCell" | "GruCell" => {
            "recurrent cells are not supported: unroll them into matrix products, sigmoid and tanh, or use attention or a convolution"
        }
        "NonZero" | "Compress" | "Unique" | "NonMaxSuppression" => {
            "the size of its result depends on the data; keep all elements and a mask (Where, Mul) instead of choosing some"
        }
        "MatMulInteger"
        | "QLinearMatMul"
        | "QLinearConv"
        | "ConvInteger"
        | "DequantizeLinear"
        | "QuantizeLinear"
        | "DynamicQuantizeLinear"
        | "MatMulNBits" => "products of floats are: export the model in float32, not quantised",
        "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike" | "Random" | "Multinomial"
        | "Bernoulli" => {
            "there is no chance on the mesh: export the model in evaluation mode, or give the numbers as an input"
        }
        "Dropout" => "it drops numbers by chance, as in training: call model.eval() and export again",
        "Fft" | "Stft" | "DFT" | "STFT" | "MelWeightMatrix" => {
            "a product with the constant matrix of the transform is: multiply by its cosines and sines"
        }
        "GridSample" | "RoiAlign" => "a resize to a fixed size, or a look-up with Gather, is",
        "LocalResponseNorm" | "LRN" | "Lrn" => "a layer, group, instance or batch norm is",
        "TreeEnsembleClassifier" | "TreeEnsembleRegressor" | "LinearClassifier" | "SVMClassifier" => {
            "only networks are: export the network alone"
        }
        _ => "replace it in the model by elementary operators, or export with another exporter or opset (18 is tested)",
    }
}
