//! A whole program, put together piece by piece.

use super::KernelError;
use crate::code::Code;
use waferloom_fabric::{
    Buffer, BufferKind, Class, Color, ColorRef, ColorRoute, Constant, Coord, Direction, Distribution, Dtype, Extent,
    Machine, Param, ParamValues, Payload, Placement, PortSet, Position, Program, QueueBinding, Readback, Region,
};

/// Id of the task that each class runs.
const MAIN_TASK: u8 = 8;

/// Elements over all PEs that a kernel on its own may have: the host makes them, and what they must become, in one piece.
const MOST_ELEMENTS: u64 = 1 << 25;

/// A program under construction. All classes share one memory map.
#[derive(Clone)]
pub(super) struct Sketch {
    pub(super) program: Program,
    buffers: Vec<Buffer>,
    next_address: u32,
}

impl Sketch {
    /// A program for a grid.
    ///
    /// # Errors
    /// A grid that is larger than the machine: `width` and `height` are the parameters to change.
    pub(super) fn new(
        name: &str,
        machine: &Machine,
        grid: Extent,
        [width, height]: [&'static str; 2],
    ) -> Result<Self, KernelError> {
        let most = machine.fabric;
        for (needed, available, change) in [(grid.width, most.width, width), (grid.height, most.height, height)] {
            if needed > available {
                return Err(KernelError::TooLarge {
                    what: name.into(),
                    needed: needed.into(),
                    unit: "PEs in a line",
                    machine: machine.name.clone(),
                    available: available.into(),
                    change,
                });
            }
        }
        let program = Program {
            name: name.into(),
            machine: machine.clone(),
            grid,
            items: 1,
            params: Vec::new(),
            classes: Vec::new(),
            placements: Vec::new(),
            routes: Vec::new(),
            constants: Vec::new(),
            ports: Vec::new(),
            readbacks: Vec::new(),
            operators: Vec::new(),
            claims: Vec::new(),
        };
        Ok(Self { program, buffers: Vec::new(), next_address: 0 })
    }

    /// Reserves SRAM in every PE; addresses are multiples of 8. Call it before [`Sketch::class`].
    pub(super) fn buffer(&mut self, name: &str, bytes: u32, kind: BufferKind) -> u32 {
        let address = self.next_address;
        let bytes = bytes.next_multiple_of(4);
        self.buffers.push(Buffer { name: name.into(), address, bytes, kind, owner: None, live: None });
        self.next_address = (address + bytes).next_multiple_of(8);
        address
    }

    /// Where the next buffer will lie.
    pub(super) fn next_address(&self) -> u32 {
        self.next_address
    }

    /// A buffer whose address is `phase` modulo 32 (8, 16 or 24, or 0): where it lies in the banks that collide.
    pub(super) fn phased_buffer(&mut self, name: &str, bytes: u32, kind: BufferKind, phase: u32) -> u32 {
        let start = self.buffer(name, bytes + 24, kind);
        start + (phase + 32 - start % 32) % 32
    }

    /// Lets the next buffer start `bytes` (a multiple of 8) behind a multiple of 32: in 32 bytes the banks come around.
    pub(super) fn align(&mut self, bytes: u32) {
        let behind = self.next_address.wrapping_sub(bytes) % 32;
        self.next_address += (32 - behind) % 32;
    }

    /// A parameter with one value a column.
    pub(super) fn by_column(&mut self, name: &str, value: impl Fn(u16) -> i32) -> u32 {
        let values = ParamValues::ByColumn((0..self.program.grid.width).map(value).collect());
        self.program.params.push(Param { name: name.into(), values });
        self.program.params.len() as u32 - 1
    }

    /// A parameter with one value a row.
    pub(super) fn by_row(&mut self, name: &str, value: impl Fn(u16) -> i32) -> u32 {
        let values = ParamValues::ByRow((0..self.program.grid.height).map(value).collect());
        self.program.params.push(Param { name: name.into(), values });
        self.program.params.len() as u32 - 1
    }

    /// A fixed route; regions without PEs are left out.
    pub(super) fn route(&mut self, color: Color, region: Region, position: (&[Direction], &[Direction])) {
        self.switched_route(color, region, &[position]);
    }

    /// A route with several switch positions (from where, to where), which stays at the last.
    pub(super) fn switched_route(&mut self, color: Color, region: Region, positions: &[(&[Direction], &[Direction])]) {
        if region.coords().next().is_some() {
            let position = |(rx, tx): &(&[_], &[_])| Position { rx: PortSet::of(rx), tx: PortSet::of(tx) };
            let positions = positions.iter().map(position).collect();
            self.program.routes.push(ColorRoute { color, region, positions, start: 0, ring: false, filter: None });
        }
    }

    /// A class of PEs that runs `code`; regions without PEs are left out.
    pub(super) fn class(
        &mut self,
        name: &str,
        regions: &[Region],
        inputs: &[(u8, ColorRef)],
        outputs: &[(u8, ColorRef)],
        code: Code,
    ) {
        let placed: Vec<Region> = regions.iter().copied().filter(|r| r.coords().next().is_some()).collect();
        if placed.is_empty() {
            return;
        }
        let bind = |list: &[(u8, ColorRef)]| list.iter().map(|&(queue, color)| QueueBinding { queue, color }).collect();
        let class = self.program.classes.len() as u32;
        self.program.placements.extend(placed.into_iter().map(|region| Placement { region, class }));
        self.program.classes.push(Class {
            name: name.into(),
            input_queues: bind(inputs),
            output_queues: bind(outputs),
            fifos: Vec::new(),
            buffers: self.buffers.clone(),
            tasks: vec![code.into_main_task(MAIN_TASK)],
        });
    }

    /// Floats that lie in SRAM before the first cycle.
    pub(super) fn constant(
        &mut self,
        name: &str,
        dtype: Dtype,
        distribution: Distribution,
        address: u32,
        values: &[f32],
    ) {
        let bits = |value: f32| dtype.narrow(value).unwrap_or_else(|| value.to_bits());
        let is_short = matches!(dtype, Dtype::F16 | Dtype::Bf16 | Dtype::Cb16);
        let mut bytes = vec![0; values.len() * if is_short { 2 } else { 4 }];
        if is_short {
            let slots = bytes.as_chunks_mut().0.iter_mut().zip(values);
            slots.for_each(|(slot, &value)| *slot = (bits(value) as u16).to_le_bytes());
        } else {
            let slots = bytes.as_chunks_mut().0.iter_mut().zip(values);
            slots.for_each(|(slot, &value)| *slot = bits(value).to_le_bytes());
        }
        self.bytes(name, dtype, distribution, address, bytes);
    }

    /// Numbers of any type that lie in SRAM before the first cycle.
    pub(super) fn bytes(&mut self, name: &str, dtype: Dtype, distribution: Distribution, address: u32, bytes: Vec<u8>) {
        self.program.constants.push(Constant {
            name: name.into(),
            dtype,
            distribution,
            origin: Coord { x: 0, y: 0 },
            address,
            payload: Payload::Inline(bytes),
        });
    }

    /// A result that is read from SRAM after the last cycle.
    pub(super) fn result(&mut self, name: &str, dtype: Dtype, distribution: Distribution, origin: Coord, address: u32) {
        self.program.readbacks.push(Readback { name: name.into(), dtype, distribution, origin, address });
    }

    /// Refuses a program that does not fit its PEs, or whose data (`elements` in all, over all PEs) do not fit the host:
    /// `change` is the parameter that makes it smaller. Call it before the data are made.
    pub(super) fn check(&self, elements: u64, change: &'static str) -> Result<(), KernelError> {
        let machine = &self.program.machine;
        let classes = self.program.classes.iter().map(|class| {
            let needed = u64::from(class.data_bytes()) + u64::from(class.code_bytes(machine));
            (format!("a PE of class `{}`", class.name), needed)
        });
        // The code follows later: what has no room for its data alone is refused before it is made.
        let data = ("a PE".to_string(), u64::from(self.next_address));
        for (what, needed) in classes.chain([data]) {
            if needed > u64::from(machine.sram_bytes) {
                return Err(KernelError::TooLarge {
                    what,
                    needed,
                    unit: "bytes of SRAM",
                    machine: machine.name.clone(),
                    available: machine.sram_bytes.into(),
                    change,
                });
            }
        }
        if elements > MOST_ELEMENTS {
            return Err(KernelError::TooLarge {
                what: format!("the data of `{}`", self.program.name),
                needed: elements,
                unit: "elements",
                machine: "the host".into(),
                available: MOST_ELEMENTS,
                change,
            });
        }
        Ok(())
    }

    /// The program, once every class fits its PEs: `change` is the parameter that makes it smaller.
    pub(super) fn finish(self, change: &'static str) -> Result<Program, KernelError> {
        self.check(0, change)?;
        Ok(self.program)
    }
}

/// Every `step`-th PE of row 0 from column `first` on, up to `end` (not included).
pub(super) fn columns(first: u32, end: u32, step: u32) -> Region {
    let width = end.saturating_sub(first) as u16;
    Region { x: first as u16, y: 0, width, height: 1, step_x: step.clamp(1, u32::from(u16::MAX)) as u16, step_y: 1 }
}

/// A row vector a PE: the tensor `[pes, elements]` with row `i` in column `i`.
pub(super) fn row_each(pes: u16, elements: u32) -> Distribution {
    use waferloom_fabric::Split;
    Distribution {
        grid: Extent { width: pes, height: 1 },
        shape: vec![u32::from(pes), elements],
        x: Some(Split { dim: 0, block: 1 }),
        y: None,
    }
}

/// The start of every kernel: the first task starts, and the first vector instruction.
pub(super) fn start_cycles(machine: &Machine) -> u64 {
    crate::cost::start(machine)
}

/// Cycles from a PE's datapath to its neighbour's: ramp, hop, ramp, and the element itself.
pub(super) fn neighbour_cycles(machine: &Machine) -> u64 {
    crate::cost::neighbour(machine)
}
