//! A whole program around a kernel: constants in, the kernel, results out of the west edge.

use std::collections::BTreeMap;
use waferloom_fabric::{
    Buffer, BufferKind, Class, Constant, Coord, Direction, Distribution, Dtype, Extent, HostData, HostTensor, Machine,
    Payload, Placement, Port, PortKind, Program, Region, Split, verify,
};
use waferloom_kernels::mesh::EDGE;
use waferloom_kernels::{Code, Mesh, Tile, edge};
use waferloom_simulator::{Claims, Engine, Method, Options, Run, simulate};

/// The machine of all tests.
pub(crate) fn machine() -> Machine {
    Machine::builtin("bench16").expect("a built-in machine")
}

/// A kernel's program under construction.
pub(crate) struct Rig {
    pub(crate) mesh: Mesh,
    pub(crate) code: Code,
    next: u32,
    buffers: Vec<Buffer>,
    constants: Vec<Constant>,
    ports: Vec<Port>,
    inputs: BTreeMap<String, HostTensor>,
}

impl Rig {
    pub(crate) fn new(grid: (u16, u16)) -> Self {
        let grid = Extent { width: grid.0, height: grid.1 };
        Self {
            mesh: Mesh::new(grid),
            code: Code::new(),
            // Not 0, so that a kernel that forgets an address does not hit the right place by chance.
            next: 16,
            buffers: Vec::new(),
            constants: Vec::new(),
            ports: Vec::new(),
            inputs: BTreeMap::new(),
        }
    }

    /// Reserves memory in every PE.
    pub(crate) fn reserve(&mut self, bytes: u32) -> u32 {
        let address = self.next;
        let bytes = bytes.next_multiple_of(4);
        let name = format!("b{}", self.buffers.len());
        self.buffers.push(Buffer { name, address, bytes, kind: BufferKind::Scratch, owner: None, live: None });
        self.next += bytes.next_multiple_of(8) + 8;
        address
    }

    /// A tile that holds garbage.
    pub(crate) fn tile(&mut self, distribution: &Distribution, dtype: Dtype) -> Tile {
        let elements = distribution.tile_elements() as u32;
        let mut tile = Tile { address: 0, elements, dtype };
        tile.address = self.reserve(tile.bytes());
        tile
    }

    /// A tensor that lies in memory from the start. Its padding is NaN (or a large number), which no kernel may let in.
    pub(crate) fn constant(&mut self, distribution: &Distribution, dtype: Dtype, values: &[f32]) -> Tile {
        assert_eq!(values.len(), distribution.elements());
        let tile = self.tile(distribution, dtype);
        let grid = distribution.grid;
        let mut bytes = Vec::new();
        for at in (0..grid.pes()).map(|i| grid.coord(i)) {
            for index in distribution.tile_indices(at.x, at.y) {
                push_element(&mut bytes, dtype, index.map(|i| values[i]));
            }
        }
        let one = |dim| Some(Split { dim, block: 1 });
        let shape = vec![u32::from(grid.height), u32::from(grid.width), tile.elements];
        self.add_constant(Distribution { grid, shape, x: one(1), y: one(0) }, dtype, tile.address, bytes);
        tile
    }

    /// Numbers that lie in memory as they are.
    pub(crate) fn table(&mut self, distribution: &Distribution, numbers: &[u16]) -> u32 {
        let tile = self.tile(distribution, Dtype::U16);
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.add_constant(distribution.clone(), Dtype::U16, tile.address, bytes);
        tile.address
    }

    fn add_constant(&mut self, distribution: Distribution, dtype: Dtype, address: u32, bytes: Vec<u8>) {
        self.constants.push(Constant {
            name: format!("c{}", self.constants.len()),
            dtype,
            distribution,
            origin: Coord { x: 0, y: 0 },
            address,
            payload: Payload::Inline(bytes),
        });
    }

    /// Emits the sending of a tensor to the host.
    pub(crate) fn output(&mut self, name: &str, distribution: &Distribution, tile: Tile) {
        edge::send(&mut self.code, &self.mesh, tile, Direction::West);
        self.port(name, PortKind::Output, distribution, tile.dtype);
    }

    /// Emits the reception of a tensor from the host.
    pub(crate) fn input(&mut self, name: &str, distribution: &Distribution, dtype: Dtype, tensor: HostTensor) -> Tile {
        let tile = self.tile(distribution, dtype);
        edge::receive(&mut self.code, &self.mesh, tile);
        self.port(name, PortKind::Input, distribution, dtype);
        self.inputs.insert(name.into(), tensor);
        tile
    }

    fn port(&mut self, name: &str, kind: PortKind, distribution: &Distribution, dtype: Dtype) {
        self.ports.push(Port {
            name: name.into(),
            kind,
            dtype,
            distribution: distribution.clone(),
            edge: Direction::West,
            at: Coord { x: 0, y: 0 },
            color: if kind == PortKind::Output { self.mesh.color_out() } else { EDGE[0] },
        });
    }

    /// Runs the program. Nothing may be left on the way, and it must fit a PE.
    pub(crate) fn run(self) -> Run {
        let grid = self.mesh.grid;
        let machine = machine();
        assert!(self.code.registers() <= machine.registers, "{} registers", self.code.registers());
        let mut routes = self.mesh.routes();
        routes.extend(self.mesh.routes_out(Direction::West));
        let class = Class {
            name: "pe".into(),
            input_queues: self.mesh.input_queues(),
            output_queues: self.mesh.output_queues(),
            fifos: Vec::new(),
            buffers: self.buffers,
            tasks: vec![self.code.into_main_task(8)],
        };
        let bytes = class.code_bytes(&machine) + class.data_bytes();
        assert!(bytes <= machine.sram_bytes, "{bytes} bytes");
        let (params, claims) = self.mesh.into_parts();
        let program = Program {
            name: "kernel".into(),
            machine,
            grid,
            items: 1,
            params,
            claims,
            classes: vec![class],
            placements: vec![Placement { region: Region::all(grid), class: 0 }],
            routes,
            constants: self.constants,
            readbacks: Vec::new(),
            ports: self.ports,
            operators: Vec::new(),
        };
        let findings = verify(&program);
        assert!(findings.is_empty(), "{findings}");
        let run = simulate(&program, &self.inputs, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(run.leftover_wavelets, 0);
        if !program.claims.is_empty() {
            with_claims(&program, &self.inputs, &run);
        }
        run
    }
}

/// Holds what claims say of a program's numbers against what its PEs compute, and both against the other engine.
fn with_claims(program: &Program, inputs: &BTreeMap<String, HostTensor>, wavelet: &Run) {
    let [ignored, checked] = [Claims::Ignore, Claims::Check].map(|claims| {
        let options = Options { engine: Engine::Stream, claims, ..Options::default() };
        simulate(program, inputs, &options).unwrap_or_else(|e| panic!("{claims:?}: {e}"))
    });
    for name in wavelet.outputs.keys() {
        assert_same(&floats(&ignored, name), &floats(wavelet, name), name);
        assert_same(&floats(&checked, name), &floats(wavelet, name), name);
    }
    let options = Options { engine: Engine::Stream, method: Method::Apart, ..Options::default() };
    let apart = simulate(program, inputs, &options).unwrap_or_else(|e| panic!("apart: {e}"));
    for name in wavelet.outputs.keys() {
        assert_same(&floats(&apart, name), &floats(wavelet, name), name);
    }
    assert_eq!((&ignored.pes, &ignored.links, ignored.cycles), (&checked.pes, &checked.links, checked.cycles));
}

fn push_element(bytes: &mut Vec<u8>, dtype: Dtype, value: Option<f32>) {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 | Dtype::Cb16 => {
            let bits = dtype.narrow(value.unwrap_or(f32::NAN)).expect("a float");
            bytes.extend(&bits.to_le_bytes()[..dtype.bytes() as usize]);
        }
        Dtype::I32 => bytes.extend(value.map_or(i32::MAX, |v| v as i32).to_le_bytes()),
        Dtype::U16 => bytes.extend(value.map_or(u16::MAX, |v| v as u16).to_le_bytes()),
    }
}

/// The layout that the compiler gives every tensor: rows to the rows of the mesh, columns to its columns; in 16 bits the
/// blocks of columns are even.
pub(crate) fn layout(grid: (u16, u16), shape: &[u32], dtype: Dtype) -> Distribution {
    let grid = Extent { width: grid.0, height: grid.1 };
    let rank = shape.len() as u32;
    let split = |dim: u32, pes: u16, multiple: u32| {
        let size = shape[dim as usize];
        let block = size.div_ceil(u32::from(pes)).max(1).next_multiple_of(multiple);
        (size != 1).then_some(Split { dim, block })
    };
    let even = 4 / dtype.bytes();
    let x = (rank >= 1).then(|| split(rank - 1, grid.width, even)).flatten();
    let y = (rank >= 2).then(|| split(rank - 2, grid.height, 1)).flatten();
    Distribution { grid, shape: shape.to_vec(), x, y }
}

/// The floats of an output.
pub(crate) fn floats(run: &Run, name: &str) -> Vec<f32> {
    match &run.outputs[name].data {
        HostData::F32(v) => v.clone(),
        HostData::I64(_) => panic!("`{name}` holds integers"),
    }
}

/// A value as the type would keep it.
pub(crate) fn stored(dtype: Dtype, value: f32) -> f32 {
    dtype.narrow(value).and_then(|bits| dtype.widen(bits)).unwrap_or(value)
}

/// Reproducible numbers in -1..1, as the type would keep them.
pub(crate) fn numbers(seed: u64, count: usize, dtype: Dtype) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            stored(dtype, (state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        })
        .collect()
}

/// Fails with the first place at which two lists differ; NaN equals NaN.
pub(crate) fn assert_same(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(g.to_bits() == e.to_bits() || g.is_nan() && e.is_nan(), "{what}: element {i} is {g}, not {e}");
    }
}

/// The same with a tolerance: absolute, and relative to the expected value.
pub(crate) fn assert_close(got: &[f32], expected: &[f64], absolute: f64, relative: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let near = (f64::from(g) - e).abs() <= absolute + relative * e.abs();
        let same = f64::from(g) == e || g.is_nan() && e.is_nan();
        assert!(near || same, "{what}: element {i} is {g}, not {e}");
    }
}

/// Grids of every kind: one PE, lines, wide, tall, square.
pub(crate) const GRIDS: [(u16, u16); 7] = [(1, 1), (4, 1), (1, 4), (2, 2), (3, 5), (5, 2), (4, 4)];
