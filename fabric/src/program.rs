//! A [`Program`]: everything that the machine runs, and nothing else.
//!
//! All PEs of a class share one body of code; what differs from PE to PE is given by parameters, routes by regions and
//! data by distributions, so that a program's size does not grow with the number of PEs.

use crate::claim::Claim;
use crate::code::Task;
use crate::geometry::{Coord, Direction, Extent, PortSet, Region};
use crate::machine::Machine;
use crate::tensor::{Distribution, Dtype};
use serde::{Deserialize, Serialize};

/// A routable colour: a virtual channel of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Color(pub u8);

/// A program for a rectangle of PEs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// What the program computes, for people.
    pub name: String,
    /// The machine it was made for.
    pub machine: Machine,
    /// The PEs that it uses.
    pub grid: Extent,
    /// How many tensors each port carries, one item after another: within an item the ports follow each other in their order.
    /// With more than one, the host's tensors have a leading dimension of that size.
    pub items: u32,
    /// Numbers that differ from PE to PE.
    pub params: Vec<Param>,
    /// Code and memory map, one per kind of PE.
    pub classes: Vec<Class>,
    /// Which PEs are of which class (index into `classes`). A PE that no entry names runs nothing but its router.
    pub placements: Vec<Placement>,
    /// The routers' configuration.
    pub routes: Vec<ColorRoute>,
    /// Tensors that lie in SRAM before the first cycle.
    pub constants: Vec<Constant>,
    /// Tensors that the host sends and receives while the program runs.
    pub ports: Vec<Port>,
    /// Tensors that the host reads from SRAM after the last cycle.
    pub readbacks: Vec<Readback>,
    /// What the marks in the code stand for, for the report.
    pub operators: Vec<Operator>,
    /// What stretches of the code compute; they change no result.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// The PEs of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The PEs.
    pub region: Region,
    /// Index into [`Program::classes`].
    pub class: u32,
}

/// A number that code may use and that differs from PE to PE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Name in the text form, after a `$`.
    pub name: String,
    /// Its values.
    pub values: ParamValues,
}

/// The values of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamValues {
    /// One value per column of the grid.
    ByColumn(Vec<i32>),
    /// One value per row of the grid.
    ByRow(Vec<i32>),
    /// One value per PE, row by row.
    PerPe(Vec<i32>),
}

impl ParamValues {
    /// The value at a PE; 0 where the list is too short, which the verifier refuses.
    pub fn at(&self, pe: Coord, grid: Extent) -> i32 {
        let (list, index) = match self {
            ParamValues::ByColumn(list) => (list, pe.x as usize),
            ParamValues::ByRow(list) => (list, pe.y as usize),
            ParamValues::PerPe(list) => (list, grid.index(pe)),
        };
        list.get(index).copied().unwrap_or(0)
    }
}

/// The code and memory map that PEs of one kind share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Name, for people.
    pub name: String,
    /// Colour that each input queue listens to, as (queue id, colour).
    pub input_queues: Vec<QueueBinding>,
    /// Colour that each output queue sends on.
    pub output_queues: Vec<QueueBinding>,
    /// Circular buffers in SRAM.
    pub fifos: Vec<Fifo>,
    /// The memory map.
    pub buffers: Vec<Buffer>,
    /// The code.
    pub tasks: Vec<Task>,
}

impl Class {
    /// Bytes of SRAM that the code takes on a machine. Code lies at the top of SRAM.
    pub fn code_bytes(&self, machine: &Machine) -> u32 {
        self.tasks.iter().map(|task| crate::code::code_bytes(&task.body, machine)).fold(0, u32::saturating_add)
    }

    /// Bytes of SRAM up to the end of the highest buffer.
    pub fn data_bytes(&self) -> u32 {
        self.buffers.iter().map(|b| b.address.saturating_add(b.bytes)).max().unwrap_or(0)
    }
}

/// A queue between the ramp and the datapath, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueBinding {
    /// Queue id; its depth is in the machine file.
    pub queue: u8,
    /// The colour.
    pub color: ColorRef,
}

/// A colour, given outright or by a parameter (a checkerboard's two colours, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColorRef {
    /// This colour.
    Fixed(Color),
    /// The colour whose id is the parameter's value (index into [`Program::params`]).
    Param(u32),
}

/// A circular buffer of 32-bit words in SRAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fifo {
    /// Its first byte.
    pub address: u32,
    /// Words that it holds, at least 1.
    pub words: u32,
}

/// What a range of SRAM is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BufferKind {
    /// Constants of the model.
    Weight,
    /// Results of operators, inputs and outputs.
    Activation,
    /// Working memory of one operator.
    Scratch,
    /// Descriptors and index lists that steer data movement.
    Table,
}

/// A named range of SRAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Name, unique in its class.
    pub name: String,
    /// First byte; a multiple of 4.
    pub address: u32,
    /// Length in bytes.
    pub bytes: u32,
    /// What it is for.
    pub kind: BufferKind,
    /// The operator (index into [`Program::operators`]) that it is counted for: the first that uses it; `None` for no one in
    /// particular.
    pub owner: Option<u32>,
    /// First and last operator (index into [`Program::operators`]) between which it holds something; `None` for always.
    /// Two buffers may share bytes only when their lives do not meet.
    pub live: Option<(u32, u32)>,
}

/// One position of a router's switch for one colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Ports from which wavelets are taken.
    pub rx: PortSet,
    /// Ports to which every wavelet is copied.
    pub tx: PortSet,
}

/// How the routers of a region treat one colour. At most one entry may name a colour at a PE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColorRoute {
    /// The colour.
    pub color: Color,
    /// The routers.
    pub region: Region,
    /// Up to four switch positions.
    pub positions: Vec<Position>,
    /// Position in force at the first cycle and after a reset.
    pub start: u8,
    /// Whether an advance at the last position goes back to position 0; without, it stays.
    pub ring: bool,
    /// Which wavelets may go down the ramp; `None` lets all through.
    pub filter: Option<Filter>,
}

/// Decides which data wavelets go down the ramp; it does not touch what goes on to the neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// Wavelets whose upper 16 bits lie in `low..=high`.
    Range {
        /// Lowest index let through.
        low: u16,
        /// Highest index let through.
        high: u16,
    },
    /// Of every `period` wavelets, those numbered `first..first + pass` (counted from 0).
    Count {
        /// First wavelet of a period let through.
        first: u32,
        /// How many are let through.
        pass: u32,
        /// Length of a period, at least 1.
        period: u32,
    },
}

/// Elements of a constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// The elements as little-endian bytes, in the constant's dtype.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The bytes lie in a file, so that the program stays small.
    File {
        /// Path, relative to the program's file.
        path: String,
        /// First byte.
        offset: u64,
        /// SHA-256 of the bytes, as lower-case hexadecimal digits.
        sha256: String,
    },
}

/// A tensor that lies in SRAM before the first cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Name, for people.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How it is dealt to the PEs.
    pub distribution: Distribution,
    /// The PE that holds tile (0, 0).
    pub origin: Coord,
    /// Address of the tile, the same in each PE. Padding is zero.
    pub address: u32,
    /// The whole tensor, row-major.
    pub payload: Payload,
}

/// A tensor that the host reads from SRAM when everything is done. It takes no cycles, as [`Constant`]s take none before the
/// first: what is timed is what runs in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readback {
    /// Name of the tensor.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How it is dealt to the PEs. What is replicated is read from the westernmost column or the northernmost row.
    pub distribution: Distribution,
    /// The PE that holds tile (0, 0).
    pub origin: Coord,
    /// Address of the tile, the same in each PE.
    pub address: u32,
}

/// Which way a port carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortKind {
    /// From the host.
    Input,
    /// To the host.
    Output,
}

/// A tensor that crosses the fabric's edge.
///
/// One stream per row of the distribution's grid (per column, when the edge is north or south) runs over the link between
/// the host and a PE at the edge. It carries the row's tiles one after another, from column 0 up, each padded to whole
/// wavelets; 16-bit elements travel two a wavelet, the first in the low half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Name of the tensor.
    pub name: String,
    /// Which way.
    pub kind: PortKind,
    /// Type of the elements on the link. Host floats are rounded to it, host integers must fit.
    pub dtype: Dtype,
    /// How the tensor is dealt; rows (or columns) are streams.
    pub distribution: Distribution,
    /// The edge: any direction but the ramp.
    pub edge: Direction,
    /// The PE at which stream 0 crosses; the others follow to the south (or east).
    pub at: Coord,
    /// Colour of the wavelets.
    pub color: Color,
}

impl Port {
    /// Number of streams.
    pub fn streams(&self) -> u16 {
        match self.edge {
            Direction::North | Direction::South => self.distribution.grid.width,
            _ => self.distribution.grid.height,
        }
    }

    /// The PE at which a stream crosses the edge.
    pub fn stream_pe(&self, stream: u16) -> Coord {
        match self.edge {
            Direction::North | Direction::South => Coord { x: self.at.x + stream, y: self.at.y },
            _ => Coord { x: self.at.x, y: self.at.y + stream },
        }
    }

    /// Wavelets of one tile.
    pub fn tile_wavelets(&self) -> usize {
        (self.distribution.tile_elements() * self.dtype.bytes() as usize).div_ceil(4)
    }

    /// Wavelets of one stream.
    pub fn stream_wavelets(&self) -> usize {
        let tiles = match self.edge {
            Direction::North | Direction::South => self.distribution.grid.height,
            _ => self.distribution.grid.width,
        };
        tiles as usize * self.tile_wavelets()
    }
}

/// One operator of the model, as the report lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Name, unique where possible.
    pub name: String,
    /// What it does: `matmul`, `softmax`, …
    pub kind: String,
    /// Where it runs.
    pub region: Region,
    /// Useful floating-point operations of the whole operator (a multiply-add counts two).
    pub flops: u64,
    /// Bytes of its operands and results in SRAM, over all PEs.
    pub bytes: u64,
}
