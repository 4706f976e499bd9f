//! Operators on each element alone: functions, arithmetic, comparisons, choices and casts.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::math::{IsInf, PowConst};
use tract_onnx::tract_core::ops::nn::LeakyRelu;
use tract_onnx::tract_core::ops::nn::gelu_approximate::GeluApproximate;

use super::functions;
use super::translate::{Site, Translated};
use crate::graph::{BinaryOp, ElementType, Op, UnaryOp};

pub(super) fn translate(site: &mut Site) -> Translated {
    if let Some(op) = site.node.op_as::<ElementWiseOp>() {
        return unary(site, op).map(Some);
    }
    if let Some(op) = site.node.op_as::<TypedBinOp>() {
        return binary(site, op.0.name()).map(Some);
    }
    if site.node.op_is::<Iff>() {
        return site.builder.emit(site.name, Op::Select, site.operands).map(Some);
    }
    if site.node.op_is::<Cast>() {
        return site.builder.cast(site.name, site.operands[0], site.output.element).map(Some);
    }
    if site.node.op_is::<Identity>() {
        return Ok(Some(site.operands[0]));
    }
    Ok(None)
}

fn unary(site: &mut Site, op: &ElementWiseOp) -> Result<NodeIndex, String> {
    let a = site.operands[0];
    if let Some(pow) = op.0.downcast_ref::<PowConst>() {
        return functions::power(site, a, pow.exponent);
    }
    if let Some(op) = op.0.downcast_ref::<IsInf>() {
        return functions::is_infinite(site, op.detect_positive, op.detect_negative);
    }
    if op.0.is::<GeluApproximate>() {
        return gelu_by_tanh(site);
    }
    if let Some(leaky) = op.0.downcast_ref::<LeakyRelu>() {
        return leaky_relu(site, leaky.alpha);
    }
    let name = op.0.name();
    let op = match name.as_str() {
        "Neg" => UnaryOp::Neg,
        "Abs" => UnaryOp::Abs,
        "Exp" => UnaryOp::Exp,
        "Ln" => UnaryOp::Log,
        "Sqrt" => UnaryOp::Sqrt,
        "Rsqrt" => UnaryOp::Rsqrt,
        "Recip" => UnaryOp::Recip,
        "Square" => UnaryOp::Square,
        "Erf" => UnaryOp::Erf,
        "Tanh" => UnaryOp::Tanh,
        "Sigmoid" => UnaryOp::Sigmoid,
        "Silu" => UnaryOp::Silu,
        "GeluExact" => UnaryOp::Gelu,
        "Relu" => UnaryOp::Relu,
        "Sin" => UnaryOp::Sin,
        "Cos" => UnaryOp::Cos,
        "Floor" => UnaryOp::Floor,
        "RoundHalfToEven" => UnaryOp::Round,
        "IsNan" => UnaryOp::IsNan,
        "Not" => UnaryOp::Not,
        _ => {
            return functions::translate(site, &name).unwrap_or_else(|| {
                Err(format!(
                    "the function {name} is not supported; replace it in the model by elementary functions (exp, log, erf, tanh, sqrt, sin, cos, ..)"
                ))
            });
        }
    };
    site.builder.unary(site.name, op, a)
}

/// `max(a, 0) + alpha * min(a, 0)`
fn leaky_relu(site: &mut Site, alpha: f32) -> Result<NodeIndex, String> {
    let (a, name, rank) = (site.operands[0], site.name, site.output.shape.len());
    let b = &mut *site.builder;
    let zero = b.scalar(&format!("{name}.zero"), 0.0, rank);
    let slope = b.scalar(&format!("{name}.slope"), alpha, rank);
    let positive = b.unary(&format!("{name}.positive"), UnaryOp::Relu, a)?;
    let negative = b.binary(&format!("{name}.negative"), BinaryOp::Min, a, zero)?;
    let scaled = b.binary(&format!("{name}.scaled"), BinaryOp::Mul, negative, slope)?;
    b.binary(name, BinaryOp::Add, positive, scaled)
}

/// `a * sigmoid(2 * sqrt(2 / pi) * (a + 0.044715 * a^3))`, which equals the form with `tanh`.
fn gelu_by_tanh(site: &mut Site) -> Result<NodeIndex, String> {
    let (a, name, rank) = (site.operands[0], site.name, site.output.shape.len());
    let b = &mut *site.builder;
    let scale = 2.0 * (2.0 / std::f32::consts::PI).sqrt();
    let linear = b.scalar(&format!("{name}.linear"), scale, rank);
    let cubic = b.scalar(&format!("{name}.cubic"), scale * 0.044_715, rank);
    let square = b.unary(&format!("{name}.square"), UnaryOp::Square, a)?;
    let bent = b.binary(&format!("{name}.bent"), BinaryOp::Mul, square, cubic)?;
    let slope = b.binary(&format!("{name}.slope"), BinaryOp::Add, bent, linear)?;
    let argument = b.binary(&format!("{name}.argument"), BinaryOp::Mul, slope, a)?;
    let gate = b.unary(&format!("{name}.gate"), UnaryOp::Sigmoid, argument)?;
    b.binary(name, BinaryOp::Mul, a, gate)
}

fn binary(site: &mut Site, op: &str) -> Result<NodeIndex, String> {
    let (a, b) = (site.operands[0], site.operands[1]);
    let (op, a, b, negate) = match op {
        "Add" => (BinaryOp::Add, a, b, false),
        "Sub" => (BinaryOp::Sub, a, b, false),
        "SubF" => (BinaryOp::Sub, b, a, false),
        "Mul" => (BinaryOp::Mul, a, b, false),
        "Div" => (BinaryOp::Div, a, b, false),
        "Max" => (BinaryOp::Max, a, b, false),
        "Min" => (BinaryOp::Min, a, b, false),
        "Pow" => {
            let integers = site.output.element == ElementType::Int;
            return if integers { functions::integer_power(site, a, b) } else { functions::general_power(site, a, b) };
        }
        "Rem" => return functions::remainder(site, a, b),
        "ShiftLeft" => return functions::shift_left(site, a, b),
        "And" => (BinaryOp::And, a, b, false),
        "Or" => (BinaryOp::Or, a, b, false),
        "Xor" => (BinaryOp::Xor, a, b, false),
        "Eq" | "CompEq" => (BinaryOp::Eq, a, b, false),
        "NE" | "Ne" | "CompNE" => (BinaryOp::Eq, a, b, true),
        "LT" | "Lt" | "CompLT" => (BinaryOp::Lt, a, b, false),
        "LTE" | "Lte" | "CompLTE" => (BinaryOp::Le, a, b, false),
        "GT" | "Gt" | "CompGT" => (BinaryOp::Lt, b, a, false),
        "GTE" | "Gte" | "CompGTE" => (BinaryOp::Le, b, a, false),
        _ => {
            return Err(format!(
                "the operation {op} on two tensors is not supported; replace it in the model by +, -, *, /, min, max, pow or comparisons"
            ));
        }
    };
    let logic = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
    let (a, b) = if logic { (truth(site, a)?, truth(site, b)?) } else { (a, b) };
    let made = site.builder.binary(site.name, op, a, b)?;
    if negate { site.builder.unary(&format!("{}.not", site.name), UnaryOp::Not, made) } else { Ok(made) }
}

/// ONNX's logic also takes integers as truth values.
fn truth(site: &mut Site, a: NodeIndex) -> Result<NodeIndex, String> {
    site.builder.cast(&format!("{}.truth", site.name), a, ElementType::Bool)
}
