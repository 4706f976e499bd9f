//! From a program to the state of the fabric before the first cycle. The verifier has found no error in the program.

use super::band::{Band, Link, Span};
use super::decode::{ClassCode, Decoder};
use super::host::{self, Sink, Source};
use super::lent::{Constants, Lent};
use super::operand::Slots;
use super::pe::{FifoState, InputQueue, OutputQueue, Pe, Place};
use super::planes::Planes;
use super::router::{Lane, Router};
use super::steps::Shared;
use super::store::{Parts, Start, Store};
use super::unknown::{self, Unknown};
use crate::{Claims, Engine, Inputs, Options, SimulateError};
use std::collections::BTreeMap;
use std::path::Path;
use waferloom_fabric::{
    ColorRef, Constant, Control, Coord, Direction, HostView, Machine, Port, PortKind, Program, Value,
};

/// Wavelets that a link takes: what the queue at its other end holds, and those under way.
pub(crate) fn link_room(machine: &Machine) -> u16 {
    machine.router_queue_depth.saturating_add(machine.hop_cycles as u16 - 1)
}

/// A program made ready to run.
pub(crate) struct Fabric<'a> {
    pub(crate) program: &'a Program,
    classes: Vec<ClassCode>,
    controls: Vec<Control>,
    inputs: &'a Inputs<'a>,
    base_dir: &'a Path,
    /// Whether the run is for the time alone, on an engine that can do without numbers.
    pub(crate) without_numbers: bool,
    /// Whether the code has steps of claims.
    pub(crate) heeds_claims: bool,
    /// Whether the host gets its tensors.
    pub(crate) gives_outputs: bool,
}

pub(super) fn invalid(message: String) -> SimulateError {
    SimulateError::Invalid { findings: message }
}

/// When constants are put into memory.
#[derive(Clone, Copy)]
pub(crate) enum LayOut<'s> {
    /// Before the first cycle.
    AtOnce,
    /// In each PE when something asks for its memory; the store has to be one that lends.
    WhenNeeded(&'s Constants<'s>),
    /// Not at all: the numbers are elsewhere ([`Fabric::planes`]).
    Never,
}

impl<'a> Fabric<'a> {
    pub(crate) fn new(
        program: &'a Program,
        inputs: &'a Inputs<'a>,
        options: &Options<'a>,
    ) -> Result<Self, SimulateError> {
        let heeds_claims = options.engine == Engine::Stream
            && !options.timing_only
            && options.claims != Claims::Ignore
            && !program.claims.is_empty();
        let mut decoder = Decoder::new(program, heeds_claims);
        let classes: Vec<ClassCode> = program.classes.iter().map(|c| decoder.class(c)).collect();
        let controls = decoder.controls;
        if controls.len() >= usize::from(u16::MAX) {
            return Err(invalid("more than 65534 different control wavelets; use fewer".into()));
        }
        let ports = || program.ports.iter().filter(|p| p.kind == PortKind::Input);
        for port in ports() {
            if !inputs.0.contains_key(port.name.as_str()) {
                return Err(SimulateError::InputMissing { name: port.name.clone() });
            }
        }
        if let Some(name) = inputs.0.keys().find(|name| ports().all(|p| p.name != **name)) {
            let known: Vec<&str> = ports().map(|p| p.name.as_str()).collect();
            return Err(SimulateError::InputUnknown { name: (*name).into(), known: known.join(", ") });
        }
        Ok(Self {
            program,
            classes,
            controls,
            inputs,
            base_dir: options.base_dir.unwrap_or(Path::new(".")),
            without_numbers: options.timing_only && options.engine == Engine::Stream,
            gives_outputs: !options.timing_only,
            heeds_claims,
        })
    }

    /// What all PEs share.
    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared {
            machine: &self.program.machine,
            classes: &self.classes,
            routes: &self.program.routes,
            controls: &self.controls,
            operators: self.program.operators.len(),
            without_numbers: self.without_numbers,
            by_value: unknown::filtered_by_value(&self.program.routes),
        }
    }

    /// Code of a class, for messages.
    pub(crate) fn class(&self, index: u16) -> &ClassCode {
        &self.classes[index as usize]
    }

    /// The link over which a port's stream runs.
    pub(crate) fn link(&self, port: &Port, stream: u16) -> Link {
        let at = port.stream_pe(stream);
        (self.program.grid.index(at) as u32, port.edge as u8, port.color.0)
    }

    /// What the fabric is made of.
    pub(crate) fn store(&self, constants: LayOut<'_>) -> Result<Store, SimulateError> {
        let start = match constants {
            LayOut::Never => Start::Sparse,
            _ if self.without_numbers => Start::Sparse,
            LayOut::WhenNeeded(_) => Start::Anything,
            LayOut::AtOnce => Start::Zeros,
        };
        Store::new(self.program, &self.classes, start)
    }

    /// The constants that a run needs.
    pub(crate) fn constants(&self) -> Result<Constants<'a>, SimulateError> {
        Constants::load(self.program, self.base_dir, self.without_numbers)
    }

    /// The fabric cut into `count` bands of rows, before the first cycle. The store has not been used before. Nothing is marked as unknown.
    pub(crate) fn bands<'s>(
        &self,
        store: &'s mut Store,
        constants: LayOut<'s>,
        count: usize,
    ) -> Result<Vec<Band<'s>>, SimulateError> {
        let grid = self.program.grid;
        let colors = std::mem::take(&mut store.colors);
        let mut parts = store.deal().enumerate();
        let (height, width) = (usize::from(grid.height), usize::from(grid.width));
        let mut bands = Vec::with_capacity(count);
        for band in 0..count {
            let (first, end) = (height * band / count * width, height * (band + 1) / count * width);
            let (mut pes, mut routers) = (Vec::with_capacity(end - first), Vec::with_capacity(end - first));
            for (index, mut parts) in parts.by_ref().take(end - first) {
                let lanes = std::mem::take(&mut parts.lanes);
                let mut pe = self.pe(grid.coord(index), parts, lanes);
                if let LayOut::WhenNeeded(constants) = constants {
                    pe.lent = Some(Lent::new(std::mem::take(&mut pe.memory), constants));
                }
                self.surround(index, lanes, &colors);
                for lane in lanes.iter_mut() {
                    lane.input = listener(&pe, lane.color);
                }
                pes.push(pe);
                routers.push(Router { lanes, sent: [0; 5] });
            }
            bands.push(Band {
                grid,
                first,
                pes,
                routers,
                sources: Vec::new(),
                sinks: Vec::new(),
                source_at: BTreeMap::new(),
                sink_at: BTreeMap::new(),
                spans: vec![Span::default(); self.program.operators.len()],
            });
        }
        if let LayOut::AtOnce = constants {
            self.lay_out(&mut bands)?;
        }
        self.attach_ports(&mut bands)?;
        Ok(bands)
    }

    /// The memories of PEs in rows of the grid with all constants, turned over; some are put there when they are asked for.
    pub(crate) fn planes(&self, pes: &[Pe<'_>]) -> Result<Planes<'a>, SimulateError> {
        let mut planes = Planes::new(pes, self.program.grid.width.into());
        for loaded in Constants::each(self.program, self.base_dir, false) {
            planes.load(loaded?);
        }
        Ok(planes)
    }

    /// Gives the lanes of a router credits for links that have a lane at their other end.
    fn surround(&self, router: usize, lanes: &mut [Lane], colors: &[u64]) {
        let (grid, room) = (self.program.grid, link_room(&self.program.machine));
        for direction in &Direction::ALL[..4] {
            let there = grid.beside(router, *direction).map_or(0, |beside| colors[beside]);
            for lane in lanes.iter_mut().filter(|lane| there >> (lane.color % 64) & 1 == 1) {
                lane.credits[*direction as usize] = room;
            }
        }
    }

    /// A PE with its parts of the store.
    fn pe<'s>(&self, at: Coord, parts: Parts<'s>, lanes: &[Lane]) -> Pe<'s> {
        let program = self.program;
        let machine = &program.machine;
        let Parts { class, memory, slots, inputs, outputs, microthreads, .. } = parts;
        let mut pe = Pe { at: Place(at), class, memory, slots, inputs, outputs, microthreads, ..Pe::default() };
        let Some(index) = class else { return pe };
        let (class, code) = (&program.classes[usize::from(index)], &self.classes[usize::from(index)]);
        let params = pe.slots.iter_mut().skip(1 + usize::from(machine.registers));
        for (slot, param) in params.zip(&program.params) {
            *slot = param.values.at(at, program.grid);
        }
        (pe.activated, pe.blocked) = (code.activated, code.blocked);
        if self.without_numbers {
            pe.unknown = Unknown::new(pe.memory.len());
        }
        pe.fifos =
            class.fifos.iter().map(|f| FifoState { address: f.address, words: f.words, head: 0, filled: 0 }).collect();
        let numbers = Slots::of(program);
        let color = |slots: &[i32], color: ColorRef| match color {
            ColorRef::Fixed(color) => color.0,
            ColorRef::Param(p) => numbers.number(Value::Param(p)).get(slots) as u8,
        };
        let ramp = machine.ramp_cycles;
        for binding in &class.input_queues {
            // The ramp's pipeline holds wavelets beside the queue.
            let capacity = u32::from(machine.input_queue_depths[binding.queue as usize]).saturating_add(ramp);
            let queue = InputQueue { color: color(pe.slots, binding.color), capacity, held: 0 };
            pe.inputs[binding.queue as usize] = Some(queue);
        }
        for binding in &class.output_queues {
            let depth = u32::from(machine.output_queue_depths[binding.queue as usize]);
            let capacity = depth.saturating_add(ramp).saturating_add(1);
            let color = color(pe.slots, binding.color);
            let lane = lanes.iter().position(|lane| lane.color == color).map(|lane| lane as u8);
            pe.outputs[binding.queue as usize] = Some(OutputQueue { color, lane, capacity });
        }
        pe
    }

    /// Puts all constants into memory, one after the other.
    fn lay_out(&self, bands: &mut [Band<'_>]) -> Result<(), SimulateError> {
        for loaded in Constants::each(self.program, self.base_dir, self.without_numbers) {
            let loaded = loaded?;
            self.each_holder(bands, loaded.constant, |pe, tile| loaded.lay_out(tile, pe.memory));
        }
        Ok(())
    }

    /// In a run for the time alone: marks in each PE's memory what floating-point constants would have been there.
    pub(crate) fn mark_constants(&self, band: &mut Band<'_>) {
        for constant in self.program.constants.iter().filter(|constant| constant.dtype.is_float()) {
            let bytes = constant.distribution.tile_elements() * constant.dtype.bytes() as usize;
            let mark = |pe: &mut Pe<'_>, _| pe.unknown.set(constant.address as usize, bytes, true);
            self.each_holder(std::slice::from_mut(band), constant, mark);
        }
    }

    /// Does something to each PE that holds a tile of a constant, row by row.
    fn each_holder(&self, bands: &mut [Band<'_>], constant: &Constant, load: impl Fn(&mut Pe<'_>, Coord)) {
        let (from, size, width) = (constant.origin, constant.distribution.grid, usize::from(self.program.grid.width));
        for band in bands {
            let top = band.first / width;
            for (row, pes) in band.pes.chunks_mut(width).enumerate() {
                let y = (top + row).wrapping_sub(from.y.into());
                if y < usize::from(size.height) {
                    let pes = pes.iter_mut().skip(from.x.into()).take(size.width.into());
                    pes.enumerate().for_each(|(x, pe)| load(pe, Coord { x: x as u16, y: y as u16 }));
                }
            }
        }
    }

    fn attach_ports(&self, bands: &mut [Band<'_>]) -> Result<(), SimulateError> {
        let machine = &self.program.machine;
        let links = |kind| {
            let ports = self.program.ports.iter().filter(move |p| p.kind == kind);
            let all = ports.flat_map(|p| (0..p.streams()).map(move |s| (p, s)));
            all.map(|(p, s)| self.link(p, s)).collect::<std::collections::BTreeSet<Link>>().len()
        };
        let interval = |count: usize| (count as f64 / machine.host_wavelets_per_cycle).ceil().max(1.0) as u64;
        let intervals = [interval(links(PortKind::Input)), interval(links(PortKind::Output))];
        let items = self.program.items;
        let tensor = |port: &Port| match port.kind {
            PortKind::Input => Some(self.inputs.0[port.name.as_str()]),
            PortKind::Output => None,
        };
        for port in &self.program.ports {
            tensor(port).map_or(Ok(()), |tensor| host::check(port, items, tensor))?;
        }
        for item in 0..items as usize {
            for port in &self.program.ports {
                let first = item * port.distribution.elements();
                for stream in 0..port.streams() {
                    self.attach(bands, port, stream, tensor(port).map(|tensor| (tensor, first)), intervals)?;
                }
            }
        }
        for band in bands {
            for source in &mut band.sources {
                source.item_wavelets = (source.data.len() / items as usize).max(1);
            }
            for sink in &mut band.sinks {
                sink.item_wavelets = (sink.expected / items as usize).max(1);
            }
        }
        Ok(())
    }

    /// Makes the host's end of a stream, where it is not there yet, for one more item: of an input the tensor with all items,
    /// and the item's first element.
    fn attach(
        &self,
        bands: &mut [Band<'_>],
        port: &Port,
        stream: u16,
        input: Option<(HostView<'_>, usize)>,
        intervals: [u64; 2],
    ) -> Result<(), SimulateError> {
        let link = self.link(port, stream);
        let index = link.0 as usize;
        let band = bands.iter_mut().find(|b| (b.first..b.first + b.pes.len()).contains(&index));
        let Some(band) = band else { return Ok(()) };
        let local = index - band.first;
        let Some(lane) = band.routers[local].lane_of(port.color.0) else { return Ok(()) };
        if let Some((tensor, first)) = input {
            let source = *band.source_at.entry(link).or_insert_with(|| {
                let credits = self.program.machine.router_queue_depth;
                let (direction, interval) = (port.edge, intervals[0]);
                band.sources.push(Source {
                    local,
                    lane,
                    direction,
                    data: Vec::new(),
                    next: 0,
                    item_wavelets: 1,
                    item_starts: Vec::new(),
                    credits,
                    interval,
                    earliest: 0,
                });
                band.sources.len() - 1
            });
            host::add_stream(&mut band.sources[source].data, port, stream, tensor, first)?;
        } else {
            let sink = *band.sink_at.entry(link).or_insert_with(|| {
                band.routers[local].lanes[lane].credits[port.edge as usize] = 1;
                let (direction, interval) = (port.edge, intervals[1]);
                band.sinks.push(Sink {
                    local,
                    lane,
                    direction,
                    expected: 0,
                    left_out: false,
                    data: Vec::new(),
                    item_wavelets: 1,
                    item_ends: Vec::new(),
                    interval,
                    restore_at: None,
                    last: 0,
                });
                band.sinks.len() - 1
            });
            band.sinks[sink].expected += port.stream_wavelets();
        }
        Ok(())
    }
}

/// The input queue of a PE that listens to a colour.
fn listener(pe: &Pe<'_>, color: u8) -> Option<u8> {
    let listens = |queue: &Option<InputQueue>| queue.as_ref().is_some_and(|queue| queue.color == color);
    pe.inputs.iter().position(listens).map(|queue| queue as u8)
}
